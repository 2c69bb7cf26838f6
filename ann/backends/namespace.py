"""NumPy or CuPy, whose calls become part of a recording."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Protocol

import numpy as np

from ann.backends.base import Array, Formula

_CREATION = ("empty", "zeros", "ones", "full", "arange", "broadcast_to")  # and empty_like, ...


class Recording(Protocol):
    """Collects the work of a step.

    Attributes:
        is_recording: whether calls are recorded now.
        captures: whether the recording contains every call anyway, like a CUDA graph.
    """

    is_recording: bool
    captures: bool

    def flush(self) -> None:
        """Do all work that is still waiting."""

    def elementwise(self, function: Formula, arrays: Any, out: Any) -> None:
        """See ``Backend.elementwise``."""

    def take(self, array: Array, indices: Any, axis: int | None = None, *, out: Array) -> None:
        """See ``numpy.take``."""

    def call(self, function: Callable[[], object]) -> None:
        """Call a function that may read and write any array."""


class Namespace:
    """The library; in a recording, its functions become work of the recording."""

    def __init__(self, library: Any, recording: Recording) -> None:
        self._library, self._recording = library, recording

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._library, name)
        plain = not callable(attribute) or isinstance(attribute, type)
        if plain or not self._recording.is_recording or name.removesuffix("_like") in _CREATION:
            return attribute
        return partial(self._call, name, attribute)

    def _call(
        self, name: str, function: Any, *arguments: Any, out: Any = None, **options: Any
    ) -> Any:
        """Call the function. A recorded call always writes its result to the same array."""
        recording, is_view = self._recording, name in ("asarray", "reshape")
        if out is None:
            if options.get("copy") is not False:  # it may read what waiting work will write
                recording.flush()
            out = function(*arguments, **options)
            if is_view or recording.captures:
                return out
            if not isinstance(out, np.ndarray):
                raise TypeError(
                    f"{name} returns a {type(out).__name__}: only functions that return arrays "
                    "can be recorded"
                )
        if isinstance(getattr(np, name, None), np.ufunc) and not options:
            recording.elementwise(ufunc(name), arguments, out)
        elif name == "take":
            recording.take(*arguments, **options, out=out)
        else:
            recording.call(partial(function, *arguments, **options, out=out))
        return out


@cache
def ufunc(name: str) -> Formula:
    """The formula that calls this function of ``xp``."""

    def formula(xp: Any, *arrays: Any) -> Any:
        return getattr(xp, name)(*arrays)

    formula.__name__ = name
    return formula


def copied(xp: Any, array: Array) -> Array:
    """The formula of a copy."""
    return array
