"""Limits that no contender can beat by much: a step's matrix products, and the device's speed."""

import time
from collections.abc import Callable

import numpy as np

from ann.backends.base import Array, Backend
from benchmarking.tasks import Task


def matrix_products(task: Task, backend: Backend) -> Callable[[], None]:
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
