"""Measure training beside other libraries: the same network, data, order and start for each, in turns."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cli
import numpy as np
from peers import CONTENDERS, Task, Weights

import ann
from ann.files import check_writable, write_atomically
from ann.validation import check_count

EXAMPLES = """\
  python scripts/benchmark.py
  python scripts/benchmark.py --quick
  python scripts/benchmark.py --only classroom --repetitions 11 --output figures.json"""

TASKS = (
    Task("classroom", (784, 128, 32, 10), "sigmoid", 100, "sgd", 0.1, 60_000),
    Task("small batches", (784, 128, 32, 10), "sigmoid", 10, "sgd", 0.01, 20_000),
    Task("wide", (784, 1024, 1024, 10), "relu", 256, "adam", 0.001, 12_800),
)
TOLERANCE = 1e-3  # by which the mean losses of the checked epoch may differ, relatively


def main() -> None:
    """Check each contender, time them in turns, print and save."""
    flags = parse_flags()
    with cli.one_line_errors():
        if flags.output:
            check_writable(flags.output)
        dataset = ann.load_dataset(flags.data)
        images = dataset.train_images.reshape(len(dataset.train_images), -1)
        results: dict[str, Any] = {"machine": machine(), "tasks": {}}
        cli.say(results["machine"])
        for task in TASKS:
            if flags.only in (None, task.name):
                repetitions = 1 if flags.quick else flags.repetitions
                results["tasks"][task.name] = measure(task, images, dataset.train_labels, repetitions, flags.quick)
        if flags.output:
            write_atomically(flags.output, json.dumps(results, indent=1).encode())
            cli.say(f"figures: {flags.output}")


def measure(task: Task, images: np.ndarray, labels: np.ndarray, repetitions: int, quick: bool) -> dict[str, Any]:
    """Microseconds a step for every contender, and for the limits, from epochs that take turns (A B C A B C ...)."""
    shape = "-".join(map(str, task.widths))
    cli.say(
        f"\n{task.name}: {shape} {task.activation}, batch {task.batch}, {task.optimizer}, {task.steps} steps an epoch"
    )
    count = min(task.count, 20 * task.batch) if quick else task.count
    random = np.random.default_rng(0)
    weights = starting_weights(task, random)
    check_order = random.permutation(task.count)[: 20 * task.batch]
    epochs: dict[str, Callable[[], object]] = {}
    expected = None
    for name, kind in CONTENDERS.items():
        try:
            found = kind(Task(**{**vars(task), "count": len(check_order)}), images, labels, weights).epoch(check_order)
        except ImportError as error:
            cli.say(f"  {name:16} left out: {error}")
            continue
        expected = found if expected is None else expected
        if not abs(found - expected) <= TOLERANCE * expected:
            raise ValueError(
                f"{name}: mean loss {found:.6f} after 20 steps, ann has {expected:.6f}: not the same training"
            )
        contender = kind(Task(**{**vars(task), "count": count}), images, labels, weights)
        epochs[name] = lambda contender=contender: contender.epoch(random.permutation(task.count)[:count])  # type: ignore[misc]
    epochs["its products alone"] = products_alone(task, count // task.batch)
    for run in epochs.values():
        run()  # compiling, first touches of memory
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    peaks = []
    for _ in range(repetitions):
        for name, run in epochs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
        peaks.append(gflops_of_a_square_product())
    micros = {name: [1e6 * value * task.batch / count for value in values] for name, values in seconds.items()}
    micros["its FLOPs at the peak"] = [task.flops / peak / 1e3 for peak in peaks]
    ours = statistics.median(micros["ann"])
    cli.say(f"  {'':22} {'us a step':>10} {'least':>8} {'most':>8}   times ours")
    for name, values in micros.items():
        median = statistics.median(values)
        cli.say(f"  {name:22} {median:10.0f} {min(values):8.0f} {max(values):8.0f} {median / ours:12.2f}")
    return {"microseconds_a_step": micros, "loss_of_the_check": expected}


def starting_weights(task: Task, random: np.random.Generator) -> Weights:
    """The same for all: small random weights, no biases."""
    pairs = zip(task.widths, task.widths[1:], strict=False)
    return [
        ((random.standard_normal(pair) * (2 / sum(pair)) ** 0.5).astype(np.float32), np.zeros(pair[1], np.float32))
        for pair in pairs
    ]


def products_alone(task: Task, steps: int) -> Callable[[], None]:
    """The matrix products of so many steps, with nothing between them: the least that this BLAS can take."""
    random = np.random.default_rng(1)
    y = [random.random((task.batch, width), dtype=np.float32) for width in task.widths]
    w = [random.random(pair, dtype=np.float32) for pair in zip(task.widths, task.widths[1:], strict=False)]
    z, dw, dy = (
        [np.empty_like(part) for part in y],
        [np.empty_like(part) for part in w],
        [np.empty_like(part) for part in y],
    )

    def run() -> None:
        for _ in range(steps):
            for layer, weight in enumerate(w):
                np.matmul(y[layer], weight, out=z[layer + 1])
            for layer in reversed(range(len(w))):
                np.matmul(y[layer].T, z[layer + 1], out=dw[layer])
                if layer:
                    np.matmul(z[layer + 1], w[layer].T, out=dy[layer])

    return run


def gflops_of_a_square_product(size: int = 2048) -> float:
    """What a large product reaches, the better of two: the most that this machine can do."""
    a = np.ones((size, size), dtype=np.float32)
    out = np.empty_like(a)
    times = []
    for _ in range(2):
        started = time.perf_counter()
        np.matmul(a, a, out=out)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times) / 1e9


def machine() -> str:
    """Python and the libraries that are compared, with their versions."""
    found = [f"Python {platform.python_version()}"]
    for name in ("numpy", "torch", "jax", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = cli.Parser("Measure training on the CPU beside other libraries (the extra bench installs them).", EXAMPLES)
    parser.add_common(device=False)
    count = cli.checked(partial(check_count, "", at_least=1), int, "a whole number of at least 1")
    parser.add_argument(
        "--repetitions", type=count, default=7, metavar="N", help="measured epochs of each (default: 7)"
    )
    parser.add_argument("--only", choices=[task.name for task in TASKS], help="one task")
    parser.add_argument("--quick", action="store_true", help="20 steps, once: shows that it runs, not how fast")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
