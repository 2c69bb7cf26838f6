"""What the benchmark measures: training, prediction and start-up. Distortion has its own file."""

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ann.backends.base import Backend
from ann.cli.bootstrap import ROOT
from ann.cli.output import echo
from ann.data.datasets import Dataset
from benchmarking.contenders import CONTENDERS, admit
from benchmarking.roofline import matrix_products, peak_gflops
from benchmarking.tasks import Contender, Task, starting_weights
from benchmarking.timing import in_turns, print_table

CHECKED_STEPS = 20
_DIFFERENT_LABELS = 20  # of images with two nearly equal outputs, where rounding decides
PRODUCTS = "its matrix products alone"
START_UP = {
    "import ann": "import ann; ann.fit",  # names are imported when they are first used
    "import numpy": "import numpy",
    "import ann, load MNIST": "import ann; ann.load_dataset('mnist')",
    "import torch": "import torch",
    "import jax": "import jax",
    "import sklearn": "import sklearn.neural_network",
}


def measure_training(
    task: Task,
    backend: Backend,
    dataset: Dataset,
    repetitions: int,
    quick: bool,
) -> dict[str, Any]:
    """Microseconds a step for each contender, for the matrix products alone and at peak speed."""
    images, labels = dataset.train_images, dataset.train_labels
    images = images.reshape(len(images), -1)
    echo(f"\n{task}, batch {task.batch}, {task.optimizer}")
    random = np.random.default_rng(0)
    weights = starting_weights(task)
    checked = min(task.count, CHECKED_STEPS * task.batch)
    short_task = dataclasses.replace(task, count=checked)
    order = random.permutation(checked)
    data = images[:checked], labels[:checked], weights
    contenders, loss = admit(short_task, *data, order)
    count = checked if quick else task.count
    if not quick:
        data = images[:count], labels[:count], weights
        contenders = {name: CONTENDERS[name](task, *data) for name in contenders}
    runs: dict[str, Callable[[], object]] = {}
    for name, contender in contenders.items():
        runs[name] = partial(_epoch, contender, count, random)
    runs[PRODUCTS] = matrix_products(task, backend, count // task.batch)
    peaks: list[float] = []
    seconds = in_turns(runs, repetitions, lambda: peaks.append(peak_gflops(backend)))
    steps = count / task.batch
    micros = {name: [1e6 * value / steps for value in values] for name, values in seconds.items()}
    micros["its FLOPs at peak speed"] = [task.flops / peak / 1e3 for peak in peaks]
    print_table(micros, "us a step")
    products, ours = (statistics.median(micros[name]) for name in (PRODUCTS, "ann"))
    if backend.name == "cpu" and products > ours:
        reason = "another program kept the machine busy; measure again"
        echo(f"  the products alone took longer than whole steps: {reason}")
    return {"microseconds_a_step": micros, "loss_of_the_check": loss}


def _epoch(contender: Contender, count: int, random: np.random.Generator) -> None:
    contender.epoch(random.permutation(count))


def measure_predicting(
    task: Task,
    dataset: Dataset,
    repetitions: int,
) -> dict[str, Any]:
    """Milliseconds to classify the test images, from uint8 pixels to labels on the host."""
    count = len(dataset.test_images) // task.batch * task.batch
    task = dataclasses.replace(task, name="predict", count=count)
    images, labels = dataset.test_images[:count].reshape(count, -1), dataset.test_labels[:count]
    echo(f"\n{task}, {count:,} images")
    random = np.random.default_rng(0)
    weights = starting_weights(task)
    contenders, _ = admit(task, images, labels, weights, random.permutation(task.count))
    expected = contenders["ann"].predict()
    for name, contender in contenders.items():
        if (contender.predict() != expected).sum() > _DIFFERENT_LABELS:
            raise ValueError(f"{name}: labels the images differently from ann")
    runs = {name: contender.predict for name, contender in contenders.items()}
    seconds = in_turns(runs, 3 * repetitions)
    millis = {name: [1e3 * value for value in values] for name, values in seconds.items()}
    print_table(millis, "ms", digits=1)
    return {"milliseconds": millis}


def measure_start_up(data: Path, repetitions: int) -> dict[str, Any]:
    """Seconds for whole processes."""
    echo("\nstart-up: whole processes of this Python")
    with tempfile.TemporaryDirectory() as folder:
        commands = {name: [sys.executable, "-c", program] for name, program in START_UP.items()}
        train = [sys.executable, str(ROOT / "scripts/train.py"), "--device", "cpu"]
        train += ["--data", str(data), "--epochs", "1", "--output", os.path.join(folder, "model")]
        commands["train.py, one epoch, save"] = train
        # With bytecode, as when a user starts it a second time
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "env": environment}
        runs: dict[str, Callable[[], object]] = {}
        for name, command in commands.items():
            if subprocess.run(command, **options, check=False).returncode:
                echo(f"  {name:25} left out: it is not installed, or does not run here")
            else:
                runs[name] = partial(subprocess.run, command, **options, check=True)
        seconds = in_turns(runs, repetitions)
    print_table(seconds, "seconds", digits=3)
    return {"seconds": seconds}
