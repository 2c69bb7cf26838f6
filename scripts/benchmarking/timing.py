"""How the benchmark takes times and prints them."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import numpy as np

from ann.backends.base import Backend
from ann.errors import printable_text
from ann.installation import install_command, localized

K = TypeVar("K")
T = TypeVar("T")


def in_turns(
    runs: Mapping[K, Callable[[], object]],
    repetitions: int,
    *,
    unit: float = 1.0,
    seconds: float = 0.0,
    before: Callable[[], object] = lambda: None,
) -> dict[K, list[float]]:
    """Times of each run, in units of this many seconds.

    The runs alternate (A B C A B C ...), in this many rounds or more, until ``seconds`` are over.
    ``before`` is called before each round. The first round is not timed: it compiles, and touches
    memory for the first time.
    """
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) <= repetitions or time.perf_counter() < end:
        before()
        clock = [time.perf_counter()]
        for run in runs.values():
            run()
            clock.append(time.perf_counter())
        rounds.append([seconds / unit for seconds in np.diff(clock).tolist()])
    return dict(zip(runs, map(list, zip(*rounds[1:], strict=True)), strict=True))


def large_product(backend: Backend) -> tuple[Callable[[], None], int]:
    """A function that computes a large matrix product at full speed, and its FLOPs."""
    size = 2048 if backend.name == "cpu" else 8192
    a = backend.from_host(np.ones((size, size), dtype=np.float32))
    out = backend.xp.empty_like(a)

    def product() -> None:
        backend.xp.matmul(a, a, out=out)
        backend.synchronize()

    return product, 2 * size**3


def print_table(figures: Mapping[str, list[float]], unit: str, digits: int = 0) -> None:
    """A table of medians, extremes, and ratios to the first row."""
    ours = statistics.median(next(iter(figures.values())))
    print(f"  {'':25} {unit:>10} {'least':>8} {'most':>8}   times the first")
    for name, values in figures.items():
        median = statistics.median(values)
        numbers = f"{median:10.{digits}f} {min(values):8.{digits}f} {max(values):8.{digits}f}"
        print(f"  {name:25} {numbers} {median / ours:12.2f}")


def working(attempts: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """The results of the attempts. If a library other than ann fails, a line says why."""
    results: dict[str, T] = {}
    for name, attempt in attempts.items():
        try:
            results[name] = attempt()
        except Exception as error:
            if name == "ann":
                raise
            fix = f": {install_command('bench')}" if isinstance(error, ModuleNotFoundError) else ""
            reason = printable_text(error, 200)
            print(localized(f"  {name:25} left out: {reason}{fix}"))
    return results


def describe_machine(backend: Backend) -> str:
    """The device, Python and the versions of the libraries that are compared."""
    processors = f"{os.cpu_count()} processors"
    found = [backend.description, processors, f"Python {platform.python_version()}"]
    for name in ("numpy", "torch", "jax", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
