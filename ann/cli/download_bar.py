"""Loads a data set and shows the progress: a bar on a terminal, elsewhere a line per download."""

import os
import sys
from contextlib import ExitStack

from tqdm import tqdm

import ann
from ann.cli.output import warn


def load_dataset(source: str | os.PathLike[str]) -> ann.Dataset:
    """``ann.load_dataset``, with the progress of downloading or reading on standard error."""
    terminal = sys.stderr.isatty()
    bars: dict[str, tqdm] = {}

    def update(name: str, done: int, size: int, unit: str) -> None:
        """Show that ``done`` of ``size`` units are read: bytes of a file, or pictures."""
        if name not in bars:
            if not terminal and unit == "B":
                warn(f"downloading {name}, {size / 1e6:.1f} MB")
            options = {"unit": unit, "unit_scale": True, "leave": False, "disable": not terminal}
            shown.close()  # the bar of the file before
            bars[name] = shown.enter_context(
                tqdm(desc=name, total=size, file=sys.stderr, **options)
            )
        bars[name].update(done - bars[name].n)

    with ExitStack() as shown:
        return ann.load_dataset(source, update)
