"""Shows a download: a bar on a terminal, elsewhere one line per file."""

from __future__ import annotations

import sys

from tqdm import tqdm


class DownloadBar:
    """The bar of one file at a time; see ``update``."""

    def __init__(self) -> None:
        self._name, self._bar = "", tqdm(disable=True)

    def __enter__(self) -> DownloadBar:
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
                print(f"downloading {name}, {size / 1e6:.1f} MB", file=sys.stderr, flush=True)
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
