"""How the benchmark takes times and prints them."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from ann.backends.base import Backend
from ann.installation import install_command, localized

T = TypeVar("T")


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    repetitions: int,
    unit: float = 1.0,
    between: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Times of each run, in units of this many seconds.

    The runs alternate (A B C A B C ...), and the first round is not timed. ``between`` is called
    after each timed round.
    """
    for run in runs.values():
        run()  # compiles, and touches memory for the first time
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) / unit)
        between()
    return times


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
            reason = " ".join(str(error).split())[:200]
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
