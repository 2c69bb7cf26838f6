"""The exceptions of this package, and what makes text safe to quote in their messages.

Each message is one line that says what is wrong, where, and what to do. Wrong arguments raise plain
``ValueError``. Errors about files are subclasses of ``ValueError`` too, like
``json.JSONDecodeError``. An optional library that is not installed is an ``ImportError``.
"""

import importlib
import os
from typing import Any

from ann.installation import install_command


class AnnError(Exception):
    """The base class of the exceptions below."""


class DeviceError(AnnError):
    """The requested device is missing or does not work."""


class DataFileError(AnnError, ValueError):
    """A data file is missing, unreadable or not in its format."""


class ModelFileError(AnnError, ValueError):
    """A model file is missing, unreadable or not a valid model."""


class CheckpointError(AnnError, ValueError):
    """A checkpoint is missing, unreadable or belongs to another run."""


class DivergenceError(AnnError):
    """The loss or a parameter is no longer finite."""


class TrainingWarning(UserWarning):
    """Something about a training run looks wrong; the text says what to try. Training continues."""


def printable_text(text: object, most: int = 80) -> str:
    """Text from outside on one line, shortened to ``most`` characters, without terminal codes."""
    line = " ".join(str(text).split())
    line = line if line.isprintable() else ascii(line)
    return line if len(line) <= most else f"{line[:most]}..."


def printable(value: object) -> str:
    """The ``repr`` of a value from a user or a file, as printable text of at most 60 characters."""
    if isinstance(value, int) and abs(value) >= 2**64:
        return "a huge integer"
    try:
        return printable_text(repr(value), 60)
    except Exception:  # it contains an int of more than 4300 digits, or has a faulty __repr__
        return f"a {type(value).__name__} that cannot be printed"


def printable_path(path: str | os.PathLike[str]) -> str:
    """A path of any length on one line, without terminal codes."""
    text = str(os.fspath(path))
    return text if text.isprintable() else ascii(text)


def require(module: str, extra: str, use: str) -> Any:
    """Import a module of an optional library, which an extra of this project installs.

    Raises ImportError without it, with a message that begins with ``use``, such as "figures need
    matplotlib".
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ImportError(f"{use}: {install_command(extra)}") from None


class OptionalModule:
    """A module of an optional library, imported by ``require`` when one of its names is used."""

    def __init__(self, module: str, extra: str, use: str) -> None:
        self._required = module, extra, use

    def __getattr__(self, name: str) -> Any:
        return getattr(require(*self._required), name)
