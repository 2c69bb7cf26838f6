"""The exceptions of this package, so that a program can tell a bad file or device from a bug of its own.

Each carries one line that says what is wrong, where, and what to do. Bad arguments raise plain ``ValueError``.
Errors about files are subclasses of ``ValueError`` too, like ``json.JSONDecodeError``. An optional library that is not
installed is an ``ImportError``.
"""

import importlib
from typing import Any


class AnnError(Exception):
    """The base of the exceptions below."""


class DeviceError(AnnError):
    """The asked device is absent or does not compute."""


class DataFileError(AnnError, ValueError):
    """A data set is missing, unreadable or not what its format promises."""


class ModelFileError(AnnError, ValueError):
    """A model file is missing, unreadable or not a model of this format."""


class CheckpointError(AnnError, ValueError):
    """A checkpoint is missing, unreadable, or another run's."""


class DivergenceError(AnnError):
    """Training left the finite numbers."""


class TrainingWarning(UserWarning):
    """Training goes on, but something about it looks wrong; the text says what to try."""


def require(module: str, extra: str, use: str) -> Any:
    """Import a module of an optional library.

    Args:
        module: its full name.
        extra: the extra of this project that installs it.
        use: what needs it, such as "figures need matplotlib": the error message begins with it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ImportError(f"{use}: pip install -e '.[{extra}]'") from None
