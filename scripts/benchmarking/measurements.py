"""Measures training, prediction and start-up. Training is compared with limits that no contender
can beat by much. Distortion has its own file.
"""

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

from ann.backends.base import Array, Backend
from ann.data.datasets import Dataset
from ann.installation import ROOT
from benchmarking.contenders import CONTENDERS, admit
from benchmarking.tasks import Contender, Task
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
    task: Task, backend: Backend, dataset: Dataset, repetitions: int, quick: bool
) -> dict[str, Any]:
    """Microseconds per step for each contender, for its products alone, and at peak speed."""
    images_and_labels = dataset.train_images, dataset.train_labels
    print(f"\n{task}, batch {task.batch}, {task.optimizer}")
    random = np.random.default_rng(0)
    checked = min(task.count, CHECKED_STEPS * task.batch)
    short_task = dataclasses.replace(task, count=checked)
    order = random.permutation(checked)
    contenders, loss = admit(short_task, short_task.data(*images_and_labels), order)
    if quick:
        task = short_task
    else:
        data = task.data(*images_and_labels)
        contenders = {name: CONTENDERS[name](task, data) for name in contenders}
    runs: dict[str, Callable[[], object]] = {}
    for name, contender in contenders.items():
        runs[name] = partial(_epoch, contender, task.count, random)
    runs[PRODUCTS] = _matrix_products(task, backend)
    peaks: list[float] = []
    micros = in_turns(
        runs, repetitions, 1e-6 * task.steps, lambda: peaks.append(peak_gflops(backend))
    )
    micros["its FLOPs at peak speed"] = [task.flops / peak / 1e3 for peak in peaks]
    print_table(micros, "us a step")
    products, ours = (statistics.median(micros[name]) for name in (PRODUCTS, "ann"))
    if backend.name == "cpu" and products > ours:
        reason = "another program kept the machine busy; measure again"
        print(f"  the products alone took longer than whole steps: {reason}")
    return {"microseconds_a_step": micros, "loss_of_the_check": loss}


def _matrix_products(task: Task, backend: Backend) -> Callable[[], None]:
    """A function that computes the matrix products of an epoch, and nothing else."""
    random, xp = np.random.default_rng(1), backend.xp

    def arrays(a: int, b: int) -> list[Array]:
        """A random matrix for each product, whose sides are two of (N, I, O)."""
        shapes = [(product[a], product[b]) for product in task.products]
        return [backend.from_host(random.random(shape, dtype=np.float32)) for shape in shapes]

    x, w, z = arrays(0, 1), arrays(1, 2), arrays(0, 2)
    dw, dx = ([xp.empty_like(array) for array in of] for of in (w, x))

    def run() -> None:
        for _ in range(task.steps):
            for layer, weight in enumerate(w):
                xp.matmul(x[layer], weight, out=z[layer])
            for layer in reversed(range(len(w))):
                xp.matmul(x[layer].T, z[layer], out=dw[layer])
                if layer:
                    xp.matmul(z[layer], w[layer].T, out=dx[layer])
        backend.synchronize()

    return run


def peak_gflops(backend: Backend, trials: int = 2) -> float:
    """The highest speed of a large matrix product in some trials."""
    size = 2048 if backend.name == "cpu" else 8192
    a = backend.from_host(np.ones((size, size), dtype=np.float32))
    out = backend.xp.empty_like(a)

    def product() -> None:
        backend.xp.matmul(a, a, out=out)
        backend.synchronize()

    (seconds,) = in_turns({"product": product}, trials).values()
    return 2 * size**3 / min(seconds) / 1e9


def _epoch(contender: Contender, count: int, random: np.random.Generator) -> None:
    contender.epoch(random.permutation(count))


def measure_predicting(task: Task, dataset: Dataset, repetitions: int) -> dict[str, Any]:
    """Milliseconds to classify the test images, from uint8 pixels to labels on the host."""
    count = len(dataset.test_images) // task.batch * task.batch
    task = dataclasses.replace(task, name="predict", count=count)
    data = task.data(dataset.test_images, dataset.test_labels)
    print(f"\n{task}, {count:,} images")
    random = np.random.default_rng(0)
    contenders, _ = admit(task, data, random.permutation(count))
    expected = contenders["ann"].predict()
    for name, contender in contenders.items():
        if (contender.predict() != expected).sum() > _DIFFERENT_LABELS:
            raise ValueError(f"{name}: labels the images differently from ann")
    runs = {name: contender.predict for name, contender in contenders.items()}
    millis = in_turns(runs, 3 * repetitions, 1e-3)
    print_table(millis, "ms", digits=1)
    return {"milliseconds": millis}


def measure_start_up(data: Path, repetitions: int) -> dict[str, Any]:
    """Seconds for whole processes."""
    print("\nstart-up: whole processes of this Python")
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
                print(f"  {name:25} left out: it is not installed, or does not run here")
            else:
                runs[name] = partial(subprocess.run, command, **options, check=True)
        seconds = in_turns(runs, repetitions)
    print_table(seconds, "seconds", digits=3)
    return {"seconds": seconds}
