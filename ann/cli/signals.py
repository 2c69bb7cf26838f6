"""Ctrl-C and SIGTERM. A training finishes its step first; exit codes are those of shells."""

import atexit
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self

from ann.cli.bootstrap import HEEDS_CTRL_C
from ann.cli.output import warn
from ann.training.callback import Callback


class Interruption(Callback):
    """Notes Ctrl-C and SIGTERM within ``with``: training finishes its step, and then stops.

    A second Ctrl-C, some time after the first, raises KeyboardInterrupt at once.

    Attributes:
        signal: the number of the signal that came, or 0.
    """

    signal = 0
    # Seconds in which a second signal belongs to the same Ctrl-C: a key may bounce, and some
    # programs pass on the signal that the terminal sends anyway
    _PATIENCE = 2.0

    def __enter__(self) -> Self:
        self._handling = handle_signals(self._note)
        self._handling.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._handling.__exit__(*exception)

    def after_step(self, images: int) -> bool:
        return self.signal != 0

    def _note(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.signal:
            self.signal = number
            self._noted = now
        elif number == signal.SIGINT and now - self._noted > self._PATIENCE:
            raise KeyboardInterrupt


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which ends a program as Ctrl-C does."""


def _raise(number: int, frame: object) -> NoReturn:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def handle_signals(handler: Any = _raise) -> Iterator[None]:
    """Within ``with``, this function handles SIGTERM and Ctrl-C.

    By default it raises ``Terminated`` or KeyboardInterrupt.
    """
    numbers = [signal.SIGTERM, signal.SIGINT] if HEEDS_CTRL_C else [signal.SIGTERM]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@atexit.register
def ignore_signals() -> None:
    """Ignore both, once nothing is left to interrupt."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def exit_with(number: int, text: str) -> NoReturn:
    """End after a signal: exit code 130 for Ctrl-C, 143 for SIGTERM."""
    ignore_signals()  # once is enough
    warn(text)
    sys.exit(128 + number)
