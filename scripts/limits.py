"""What no contender of the benchmark can beat by much: the matrix products of a step alone, and the speed of a large
product.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from tasks import Task

from ann.backends.base import Backend


def products_alone(task: Task, backend: Backend, steps: int) -> Callable[[], None]:
    """The matrix products of so many steps, with nothing between them: the least that this library can take."""
    random, xp = np.random.default_rng(1), backend.xp
    pairs = list(zip(task.widths, task.widths[1:], strict=False))
    y = [backend.from_host(random.random((task.batch, width), dtype=np.float32)) for width in task.widths]
    w = [backend.from_host(random.random(pair, dtype=np.float32)) for pair in pairs]
    z, dw, dy = ([xp.empty_like(part) for part in parts] for parts in (y, w, y))

    def run() -> None:
        for _ in range(steps):
            for layer, weight in enumerate(w):
                xp.matmul(y[layer], weight, out=z[layer + 1])
            for layer in reversed(range(len(w))):
                xp.matmul(y[layer].T, z[layer + 1], out=dw[layer])
                if layer:
                    xp.matmul(z[layer + 1], w[layer].T, out=dy[layer])
        backend.synchronize()

    return run


def gflops_of_a_square_product(backend: Backend) -> float:
    """What a large product reaches, the better of two: the most that this device can do."""
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
