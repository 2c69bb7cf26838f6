"""Loads a data set and shows its download: a bar on a terminal, elsewhere one line per file."""

import os
import sys
from contextlib import ExitStack

from tqdm import tqdm

import ann
from ann.cli.output import warn


def load_dataset(folder_or_name: str | os.PathLike[str]) -> ann.Dataset:
    """``ann.load_dataset``, with the progress of a download on standard error."""
    terminal = sys.stderr.isatty()
    bars: dict[str, tqdm] = {}

    def update(name: str, done: int, size: int) -> None:
        """Show that ``done`` of ``size`` bytes of a file are there."""
        if name not in bars:
            if not terminal:
                warn(f"downloading {name}, {size / 1e6:.1f} MB")
            options = {"unit": "B", "unit_scale": True, "leave": False, "disable": not terminal}
            shown.close()  # the bar of the file before
            bars[name] = shown.enter_context(
                tqdm(desc=name, total=size, file=sys.stderr, **options)
            )
        bars[name].update(done - bars[name].n)

    with ExitStack() as shown:
        return ann.load_dataset(folder_or_name, update)
