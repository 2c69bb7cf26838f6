"""Measure training, prediction and start-up beside other libraries: the same network, data, order and start for
each, in turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import distributed_speed
import numpy as np
from limits import gflops_of_a_square_product, products_alone
from peers import CONTENDERS, GPU_ONLY
from peers_distort import DISTORTING, Distorting
from tasks import TASKS, Contender, Task, Weights, starting_weights

import ann
from ann.backends.base import Backend
from ann.cli.bootstrap import ROOT
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser, checked
from ann.files.atomic import check_writable, write_atomically
from ann.training.named_recipes import RECIPES
from ann.validation import check_count

REPETITIONS = 7
EXAMPLES = """\
  python scripts/benchmark.py
  python scripts/benchmark.py --quick
  python scripts/benchmark.py --distributed
  python scripts/benchmark.py --only classroom --repetitions 11 --output figures.json"""

NAMES = (*(task.name for task in TASKS), "predict", "distort", "start-up")
CHECKED_STEPS = 20
TOLERANCE = 1e-3  # by which the mean losses of the checked steps may differ, relatively
DISTORTED_BATCH, DISTORTED_BATCHES = 256, 40

START_UP = {
    "import ann": "import ann",
    "import numpy": "import numpy",
    "import ann, load MNIST": "import ann; ann.load_dataset('mnist')",
    "import torch": "import torch",
    "import jax": "import jax",
    "import sklearn": "import sklearn.neural_network",
}


def main() -> None:
    """Check each contender, time them in turns, print and save."""
    flags = parse_flags()
    with one_line_errors():
        if flags.output:
            check_writable(flags.output)
        backend = ann.get_backend(flags.device)
        dataset = ann.load_dataset(flags.data)
        images, labels = dataset.train_images.reshape(len(dataset.train_images), -1), dataset.train_labels
        results: dict[str, Any] = {"machine": machine(backend), "date": time.strftime("%Y-%m-%d"), "tasks": {}}

        def keep(name: str, figures: dict[str, Any]) -> None:
            results["tasks"][name] = figures
            if flags.output:
                write_atomically(flags.output, json.dumps(results, indent=1).encode())

        def leave(*signal_and_frame: object) -> NoReturn:
            """At once: scikit-learn would take Ctrl-C for the end of its training, and others crash when unwound."""
            kept = (
                f"figures so far are in {flags.output}" if flags.output and results["tasks"] else "nothing was written"
            )
            print(f"interrupted: {kept}", file=sys.stderr, flush=True)
            os._exit(130)

        signal.signal(signal.SIGINT, leave)
        echo(results["machine"])
        repetitions = flags.repetitions or (1 if flags.quick else REPETITIONS)
        if flags.distributed:
            for name, figures in distributed_speed.measure(repetitions, flags.quick, flags.only).items():
                keep(f"{name}, distributed", figures)
            return
        for task in TASKS:
            if flags.only in (None, task.name):
                task = dataclasses.replace(task, device=backend.name)
                keep(task.name, measure(task, backend, images, labels, repetitions, flags.quick))
        if flags.only in (None, "predict"):
            count = len(dataset.test_images) // TASKS[0].batch * TASKS[0].batch
            task = dataclasses.replace(TASKS[0], name="predict", device=backend.name, count=count)
            pixels = dataset.test_images[:count].reshape(count, -1)
            keep("predict", measure_predicting(task, pixels, dataset.test_labels[:count], repetitions))
        if flags.only in (None, "distort"):
            keep("distort", measure_distorting(dataset.train_images, backend, repetitions, flags.quick))
        if flags.only in (None, "start-up"):
            keep("start-up", measure_start_up(flags.data, repetitions))
        if flags.output:
            echo(f"figures: {flags.output}")


def measure(
    task: Task, backend: Backend, images: np.ndarray, labels: np.ndarray, repetitions: int, quick: bool
) -> dict[str, Any]:
    """Microseconds a step for every contender, and for the limits, from epochs that take turns (A B C A B C ...)."""
    shape = "-".join(map(str, task.widths))
    echo(f"\n{task.name}: {shape} {task.activation}, batch {task.batch}, {task.optimizer}")
    random = np.random.default_rng(0)
    weights = starting_weights(task, random)
    checked = min(task.count, CHECKED_STEPS * task.batch)
    contenders, loss = admitted(
        dataclasses.replace(task, count=checked),
        images[:checked],
        labels[:checked],
        weights,
        random.permutation(checked),
    )
    if not quick:
        contenders = {
            name: CONTENDERS[name](task, images[: task.count], labels[: task.count], weights) for name in contenders
        }
    count = checked if quick else task.count
    runs: dict[str, Callable[[], object]] = {
        name: lambda contender=contender: contender.epoch(random.permutation(count))  # type: ignore[misc]
        for name, contender in contenders.items()
    }
    runs["its products alone"] = products_alone(task, backend, count // task.batch)
    peaks: list[float] = []
    seconds = in_turns(runs, repetitions, lambda: peaks.append(gflops_of_a_square_product(backend)))
    micros = {name: [1e6 * value * task.batch / count for value in values] for name, values in seconds.items()}
    micros["its FLOPs at the peak"] = [task.flops / peak / 1e3 for peak in peaks]
    show(micros, "us a step")
    least = "its products alone"
    if backend.name == "cpu" and statistics.median(micros[least]) > statistics.median(micros["ann"]):
        echo(
            "  the products alone took longer than the whole step: something else kept the machine busy; measure again"
        )
    return {"microseconds_a_step": micros, "loss_of_the_check": loss}


def measure_predicting(task: Task, images: np.ndarray, labels: np.ndarray, repetitions: int) -> dict[str, Any]:
    """Milliseconds to label the test images, from uint8 pixels to labels on the host."""
    echo(f"\npredict: {len(images):,} images, {'-'.join(map(str, task.widths))} {task.activation}")
    random = np.random.default_rng(0)
    weights = starting_weights(task, random)
    contenders, _ = admitted(task, images, labels, weights, random.permutation(task.count))
    expected = contenders["ann"].predict()
    for name, contender in contenders.items():
        if (contender.predict() != expected).sum() > 20:  # where two outputs are all but equal, rounding decides
            raise ValueError(f"{name}: labels the images differently from ann")
    seconds = in_turns({name: contender.predict for name, contender in contenders.items()}, 3 * repetitions)
    millis = {name: [1e3 * value for value in values] for name, values in seconds.items()}
    show(millis, "ms", digits=1)
    return {"milliseconds": millis}


def measure_distorting(images: np.ndarray, backend: Backend, repetitions: int, quick: bool) -> dict[str, Any]:
    """Milliseconds for a batch of distorted images, as strong as the recipe "quick" has them."""
    echo(f"\ndistort: batches of {DISTORTED_BATCH} images, turned, scaled, leant, shifted and bent")
    strengths, batches = RECIPES["quick"].recipe.strengths, 2 if quick else DISTORTED_BATCHES
    found: dict[str, Distorting] = {}
    for name, kind in DISTORTING.items():
        try:
            found[name] = kind(backend.name, images[:DISTORTED_BATCH], strengths, DISTORTED_BATCH)
        except Exception as error:  # of a peer, which need not work here
            if name == "ann":
                raise
            echo(f"  {name:25} left out: {' '.join(str(error).split())[:200]}{cure_of(error)}")
    plain = images[:DISTORTED_BATCH] / 255.0
    changes = {name: float(np.abs(distorting.distort(1) - plain).mean()) for name, distorting in found.items()}
    for name, change in changes.items():
        if not abs(change / changes["ann"] - 1.0) < 0.1:  # they draw other numbers, so how far they go is compared
            raise ValueError(f"{name}: pixels change by {change:.3f} in the mean, by ann's {changes['ann']:.3f}")
    runs = {name: partial(distorting.distort, batches) for name, distorting in found.items()}
    seconds = in_turns(runs, repetitions)
    millis = {name: [1e3 * value / batches for value in values] for name, values in seconds.items()}
    show(millis, "ms a batch", digits=2)
    return {"milliseconds_a_batch": millis}


def measure_start_up(data: Path, repetitions: int) -> dict[str, Any]:
    """Seconds for whole processes."""
    echo("\nstart-up: whole processes of this Python")
    with tempfile.TemporaryDirectory() as folder:
        train = [sys.executable, str(ROOT / "scripts/train.py"), "--device", "cpu", "--data", str(data)]
        commands = {name: [sys.executable, "-c", program] for name, program in START_UP.items()}
        commands["train.py, one epoch, save"] = [*train, "--epochs", "1", "--output", os.path.join(folder, "model")]
        runs: dict[str, Callable[[], object]] = {}
        for name, command in commands.items():
            # As for anyone who starts it a second time, with bytecode
            here = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            environment = {**here, "PYTHONPYCACHEPREFIX": folder}
            options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "env": environment}
            if subprocess.run(command, **options, check=False).returncode:
                echo(f"  {name:25} left out: it is not installed, or does not run here")
                continue
            runs[name] = partial(subprocess.run, command, **options, check=True)
        seconds = in_turns(runs, repetitions)
    show(seconds, "seconds", digits=3)
    return {"seconds": seconds}


def cure_of(error: Exception) -> str:
    """How to install what is missing."""
    return ": pip install -e '.[bench]'" if isinstance(error, ModuleNotFoundError) else ""


def admitted(
    task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights, order: np.ndarray
) -> tuple[dict[str, Contender], float]:
    """The contenders that are here and whose epoch gives the loss that ours gives, and that loss."""
    contenders: dict[str, Contender] = {}
    losses: dict[str, float] = {}
    for name, kind in CONTENDERS.items():
        if task.device == "cpu" and name in GPU_ONLY:
            continue
        try:
            contenders[name] = kind(task, images, labels, weights)
            losses[name] = contenders[name].epoch(order)
        except Exception as error:  # of a peer, which need not work here
            if name == "ann":
                raise
            contenders.pop(name, None)
            echo(f"  {name:25} left out: {' '.join(str(error).split())[:200]}{cure_of(error)}")
            continue
        expected = losses["ann"]
        tolerance = 10 * TOLERANCE if "TF32" in name else TOLERANCE
        if not abs(losses[name] - expected) <= tolerance * expected:
            raise ValueError(
                f"{name}: mean loss {losses[name]:.6f} over {task.steps} steps, ann has {expected:.6f}: "
                "not the same training"
            )
    return contenders, losses["ann"]


def in_turns(
    runs: Mapping[str, Callable[[], object]], repetitions: int, between: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each run, one after the other, again and again, after a first that does not count."""
    for run in runs.values():
        run()  # compiling, first touches of memory
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
        between()
    return seconds


def show(figures: Mapping[str, list[float]], unit: str, digits: int = 0) -> None:
    """A table of medians, extremes, and ratios to the first row."""
    ours = statistics.median(next(iter(figures.values())))
    echo(f"  {'':25} {unit:>10} {'least':>8} {'most':>8}   times the first")
    for name, values in figures.items():
        median, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
        echo(f"  {name:25} {median:>10} {least:>8} {most:>8} {statistics.median(values) / ours:12.2f}")


def machine(backend: Backend) -> str:
    """The device, Python and the libraries that are compared, with their versions."""
    found = [backend.description, f"{os.cpu_count()} processors", f"Python {platform.python_version()}"]
    for name in ("numpy", "torch", "jax", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        "Measure beside other libraries (the extra bench installs them), for 6 minutes on a quiet machine; any other"
        " work spoils the figures.",
        EXAMPLES,
    )
    parser.add_common(device=False)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="default: cpu")
    count = checked(partial(check_count, "", at_least=1), int, "a whole number of at least 1")
    parser.add_argument(
        "--repetitions",
        type=count,
        metavar="N",
        help=f"measured epochs of each (default: {REPETITIONS}, and 1 with --quick)",
    )
    parser.add_argument("--only", choices=NAMES, metavar="TASK", help=f"one of: {', '.join(map(repr, NAMES))}")
    parser.add_argument("--quick", action="store_true", help="a few steps: shows that it runs, not how fast")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="measure one and two processes instead, beside PyTorch's DistributedDataParallel (extras bench, mpi)",
    )
    flags = parser.parse_args()
    if flags.distributed and (flags.device != "cpu" or flags.only not in (None, *distributed_speed.MEASURED)):
        parser.error(f"--distributed measures on the CPU, and --only {' or '.join(distributed_speed.MEASURED)}")
    return flags


if __name__ == "__main__":
    main()
