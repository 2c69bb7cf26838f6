"""Limits that no contender can beat by much: a step's matrix products, and the device's speed."""

import itertools
import time
from collections.abc import Callable

import numpy as np

from ann.backends.base import Backend
from benchmarking.tasks import Task


def matrix_products(task: Task, backend: Backend) -> Callable[[], None]:
    """A function that computes the matrix products of an epoch, and nothing else."""
    random, xp = np.random.default_rng(1), backend.xp
    shapes = list(itertools.pairwise(task.widths))
    rows = [(task.batch, width) for width in task.widths]
    y = [backend.from_host(random.random(shape, dtype=np.float32)) for shape in rows]
    w = [backend.from_host(random.random(shape, dtype=np.float32)) for shape in shapes]
    z, dw, dy = ([xp.empty_like(array) for array in arrays] for arrays in (y, w, y))

    def run() -> None:
        for _ in range(task.steps):
            for layer, weight in enumerate(w):
                xp.matmul(y[layer], weight, out=z[layer + 1])
            for layer in reversed(range(len(w))):
                xp.matmul(y[layer].T, z[layer + 1], out=dw[layer])
                if layer:
                    xp.matmul(z[layer + 1], w[layer].T, out=dy[layer])
        backend.synchronize()

    return run


def peak_gflops(backend: Backend) -> float:
    """The speed of a large matrix product, the better of two."""
    size = 2048 if backend.name == "cpu" else 8192
    a = backend.from_host(np.ones((size, size), dtype=np.float32))
    out = backend.xp.empty_like(a)
    times = []
    for _ in range(2):
        backend.synchronize()
        started = time.perf_counter()
        backend.xp.matmul(a, a, out=out)
        backend.synchronize()
        times.append(time.perf_counter() - started)
    return float(2 * size**3 / min(times) / 1e9)
