"""Errors that a user can cause end a program with one line.

If output cannot be written, for example on a full disk, the program continues, because a training
is worth more than its progress lines. At the end it reports on standard error that output was lost,
and its exit code is 1. If a reader such as ``head`` closes its pipe, the rest is dropped silently.
"""

import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ann.cli.output import warn
from ann.cli.signals import Terminated, exit_with, handle_signals
from ann.errors import AnnError


@contextmanager
def one_line_errors(
    kept: Callable[[], str] = lambda: "", names: Collection[str] = ()
) -> Iterator[None]:
    """Turn errors that a user can cause into one line on standard error and exit code 1.

    Ctrl-C exits with 130, SIGTERM with 143.

    Args:
        kept: returns what an interruption leaves of the work.
        names: Python arguments that errors may begin with, and that users know as flags.
    """
    try:
        with handle_signals():
            yield
    except SystemExit as end:
        _check_output(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise
    except (AnnError, ValueError, ImportError) as error:
        name, colon, rest = str(error).partition(": ")
        is_flag = colon and name in names
        _end(f"--{name.replace('_', '-')}: {rest}" if is_flag else str(error))
    except (OSError, MemoryError) as error:
        _end(describe_error(error))
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 turns a signal that comes while a class is defined into a RuntimeError
        cause = error.__cause__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, KeyboardInterrupt):
            raise
        number = signal.SIGTERM if isinstance(cause, Terminated) else signal.SIGINT
        exit_with(number, f"interrupted: {kept()}".rstrip(": "))
    else:
        _check_output()


def describe_error(error: BaseException) -> str:
    """What is wrong, where and, if the system's own message does not say so, what to do."""
    if isinstance(error, MemoryError):
        return "not enough memory; try a smaller network or batch size"
    if not isinstance(error, OSError):
        return " ".join(str(error).split())
    if isinstance(error, FileNotFoundError) and error.errno and not error.filename:
        return "the current folder no longer exists; change to one that does"
    is_in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))  # of a folder
    advice = "; name another folder" if is_in_the_way else ""
    return f"{error.filename or 'system'}: {error.strerror or error}{advice}"


def _end(problem: str, code: int = 1) -> NoReturn:
    warn(f"error: {problem}")
    sys.exit(code)


def _check_output(code: int = 0) -> None:
    """If output was lost, report it and end with this exit code, or with 1 if it is 0."""
    for name, stream in (("standard output", sys.stdout), ("standard error", sys.stderr)):
        stream.flush()
        if error := getattr(stream, "error", None):
            done = "" if code else "; everything else was done"
            _end(f"cannot write to {name}: {error.strerror}{done}", code or 1)
