"""Loads a data set and shows its download: a bar on a terminal, elsewhere one line per file."""

import os
import sys
from typing import Self

from tqdm import tqdm

import ann
from ann.cli.output import warn


def load_dataset(folder_or_name: str | os.PathLike[str]) -> ann.Dataset:
    """``ann.load_dataset``, with the progress of a download on standard error."""
    with DownloadBar() as bar:
        return ann.load_dataset(folder_or_name, bar.update)


class DownloadBar:
    """The bar of one file at a time; see ``update``."""

    def __init__(self) -> None:
        self._name, self._bar = "", tqdm(disable=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def update(self, name: str, done: int, size: int) -> None:
        """Show that ``done`` of ``size`` bytes of a file are there."""
        if name != self._name:
            self._bar.close()
            self._name = name
            terminal = sys.stderr.isatty()
            if not terminal:
                warn(f"downloading {name}, {size / 1e6:.1f} MB")
            self._bar = tqdm(
                desc=name,
                total=size,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                leave=False,
                disable=not terminal,
            )
        self._bar.update(done - self._bar.n)
