"""Measures training, prediction and start-up. Training is compared with limits that no contender
can beat by much. Distortion has its own file.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import ann
from ann.backends.base import Array, Backend
from ann.installation import ROOT
from ann.nn.layer_list import build_layers
from benchmarking.contenders import admit
from benchmarking.tasks import Contender, Task, product_of
from benchmarking.timing import in_turns, large_product, print_table

QUICK_STEPS = 20
_DIFFERENT_LABELS = 20  # of images with two nearly equal outputs, where rounding decides
PRODUCTS, PEAK = "its matrix products alone", "its FLOPs at peak speed"
START_UP = {
    "import ann": "import ann; ann.fit",  # names are imported when they are first used
    "import numpy": "import numpy",
    "import ann, load MNIST": "import ann; ann.load_dataset('mnist')",
    "import torch": "import torch",
    "import jax": "import jax",
    "import sklearn": "import sklearn.neural_network",
}


def measure_training(
    task: Task, backend: Backend, dataset: ann.Dataset, repetitions: int, quick: bool
) -> dict[str, Any]:
    """Microseconds per step for each contender, for its products alone, and at peak speed."""
    if quick:
        task = replace(task, count=QUICK_STEPS * task.recipe.batch_size)
    print(f"\n{task}")
    random = np.random.default_rng(0)
    data = task.data(dataset.train_images, dataset.train_labels)
    contenders, loss = admit(task, data, random.permutation(task.count))

    def epoch(contender: Contender) -> None:
        contender.epoch(random.permutation(task.count))

    runs: dict[str, Callable[[], None]] = {
        name: partial(epoch, contender) for name, contender in contenders.items()
    }
    layers = [layer for layer in build_layers(task.layers) if layer.parameters]
    products = [product_of(layer, task.recipe.batch_size) for layer in layers]
    runs[PRODUCTS] = _matrix_products(products, task.steps, backend)
    runs[PEAK], flops = large_product(backend)
    micros = in_turns(runs, repetitions, unit=1e-6 * task.steps)
    sizes = [n * i * o for n, i, o in products]
    of_a_step = 2 * (3 * sum(sizes) - sizes[0])  # without the gradient of the images
    micros[PEAK] = [each * task.steps * of_a_step / flops for each in micros[PEAK]]
    print_table(micros, "us a step")
    alone, ours = (statistics.median(micros[name]) for name in (PRODUCTS, "ann"))
    if backend.name == "cpu" and alone > ours:
        reason = "another program kept the machine busy; measure again"
        print(f"  the products alone took longer than whole steps: {reason}")
    return {"microseconds_a_step": micros, "loss_of_the_check": loss}


def _matrix_products(
    products: list[tuple[int, int, int]], steps: int, backend: Backend
) -> Callable[[], None]:
    """A function that computes the matrix products of an epoch, and nothing else."""
    random, matmul = np.random.default_rng(1), backend.xp.matmul

    def matrix(*shape: int) -> Array:
        return backend.from_host(random.random(shape, dtype=np.float32))

    layers = [
        (matrix(n, i), matrix(i, o), matrix(n, o), matrix(i, o), matrix(n, i))
        for n, i, o in products
    ]

    def run() -> None:
        for _ in range(steps):
            for x, weight, z, _, _ in layers:
                matmul(x, weight, out=z)
            for x, weight, z, gradient, dx in reversed(layers):
                matmul(x.T, z, out=gradient)
                if x is not layers[0][0]:
                    matmul(z, weight.T, out=dx)
        backend.synchronize()

    return run


def measure_predicting(task: Task, dataset: ann.Dataset, repetitions: int) -> dict[str, Any]:
    """Milliseconds to classify the test images, from uint8 pixels to labels on the host."""
    batch = task.recipe.batch_size
    task = replace(task, name="predict", count=len(dataset.test_images) // batch * batch)
    print(f"\n{task}, {task.count:,} images")
    data = task.data(dataset.test_images, dataset.test_labels)
    contenders, _ = admit(task, data, np.random.default_rng(0).permutation(task.count))
    expected = contenders["ann"].predict()
    for name, contender in contenders.items():
        if (contender.predict() != expected).sum() > _DIFFERENT_LABELS:
            raise ValueError(f"{name}: labels the images differently from ann")
    runs = {name: contender.predict for name, contender in contenders.items()}
    millis = in_turns(runs, 3 * repetitions, unit=1e-3)
    print_table(millis, "ms", digits=1)
    return {"milliseconds": millis}


def measure_start_up(data: str | Path, repetitions: int) -> dict[str, Any]:
    """Seconds for whole processes."""
    print("\nstart-up: whole processes of this Python")
    with tempfile.TemporaryDirectory() as folder:
        commands = {name: ["-c", program] for name, program in START_UP.items()}
        place = str(data.absolute()) if isinstance(data, Path) else data
        train = [str(ROOT / "scripts/train.py"), "--device", "cpu", "--data", place]
        train += ["--epochs", "1", "--output", os.path.join(folder, "model")]
        commands["train.py, one epoch, save"] = train
        # With bytecode, as when a user starts it a second time
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "env": environment}
        runs: dict[str, Callable[[], object]] = {}
        for name, words in commands.items():
            run = partial(subprocess.run, [sys.executable, *words], check=True, **options)
            try:
                run()
            except subprocess.CalledProcessError:
                print(f"  {name:25} left out: it is not installed, or does not run here")
            else:
                runs[name] = run
        seconds = in_turns(runs, repetitions)
    print_table(seconds, "seconds", digits=3)
    return {"seconds": seconds}
