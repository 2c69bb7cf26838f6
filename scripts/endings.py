"""How a program ends: by a signal, which a training notes and heeds after its step, or over what a user can cause, in
one line. Exit codes are those that shells have.

If output cannot be written, for example on a full disk, the program continues, because a training is worth more than
its progress lines. At the end it reports on standard error that output was lost, and its exit code is 1. If a reader
such as ``head`` closes its pipe, it has what it wanted: the rest of the output is dropped without a message.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

from startup import HEEDS_CTRL_C, complain

import ann


class Interruption:
    """Within it, Ctrl-C and SIGTERM are noted, so that training can end with the step that it is making.

    A second Ctrl-C, if it comes some time after the first, is a KeyboardInterrupt at once: the step does not end.

    Attributes:
        signal: the number of the one that came, or 0.
    """

    signal = 0
    _PATIENCE = 2.0  # seconds: a shaky finger, or a program that passes on what the terminal has sent, means one

    def __enter__(self) -> Interruption:
        self._before = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._note)}
        if HEEDS_CTRL_C:
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.signal:
            self.signal, self._noted = number, now
        elif number == signal.SIGINT and now - self._noted > self._PATIENCE:
            raise KeyboardInterrupt


def leave(number: int, text: str) -> NoReturn:
    """End after a signal: exit code 130 for Ctrl-C, 143 for SIGTERM, as shells have it."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)  # once is enough
    _end(128 + number, text)


@contextmanager
def one_line_errors(kept: Callable[[], str] = lambda: "", names: Collection[str] = ()) -> Iterator[None]:
    """Turn what users can cause into one line on standard error and exit code 1, or 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        kept: says what remains of the work, for these two.
        names: arguments of Python that errors may begin with, and that users know as flags.
    """
    try:
        if HEEDS_CTRL_C:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _terminate)
        yield
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # all is done, and nothing left to interrupt
    except SystemExit as end:
        _check_output(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise
    except (ann.AnnError, ValueError, ImportError) as error:
        name, colon, rest = str(error).partition(": ")
        _end(1, f"error: --{name.replace('_', '-')}: {rest}" if colon and name in names else f"error: {error}")
    except OSError as error:
        _end(1, f"error: {error.filename or 'system'}: {error.strerror or error}")
    except MemoryError:
        _end(1, "error: not enough memory; try a smaller network or batch size")
    except KeyboardInterrupt:
        leave(signal.SIGINT, f"interrupted: {kept()}".rstrip(": "))
    except _Terminated:
        leave(signal.SIGTERM, f"interrupted: {kept()}".rstrip(": "))
    else:
        _check_output()


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminate(*signal_and_frame: object) -> NoReturn:
    raise _Terminated


def _end(code: int, line: str) -> NoReturn:
    complain(" ".join(line.split()))
    sys.exit(code)


def _check_output(code: int = 0) -> None:
    """If any output could not be written, say so and end with this exit code, or with 1 if it is 0."""
    for name, stream in (("standard output", sys.stdout), ("standard error", sys.stderr)):
        stream.flush()
        if error := getattr(stream, "error", None):
            done = "" if code else "; everything else was done"
            _end(code or 1, f"error: cannot write to {name}: {error.strerror}{done}")
