"""The CPU: NumPy, and how a step of training is done again without Python's part in it. A step calls some forty
functions on arrays of a few kilobytes, and finding the function, its arguments and their views takes as long as the
arithmetic; so the first step is recorded as a list of calls, ready to be made, and the others play it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ann.backends.base import Array, Backend
from ann.backends.blas import Call, prepare_axpby, prepare_matmul, processors

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

SHARED = 500_000  # from this size on, elementwise work is shared among processors; handing it over takes 0.1 ms

_LONG = 16  # rows for each processor: one more or less for one of them makes no difference

_BY_NAME = (np.maximum, np.minimum)  # where NumPy wants out by name

_NEW = ("empty", "empty_like", "zeros", "zeros_like", "ones", "ones_like", "asarray", "reshape")


class CpuBackend(Backend):
    """NumPy."""

    def __init__(self, xp: Any, description: str) -> None:
        super().__init__("cpu", xp, description)

    def copyto(self, array: Array, out: Array) -> None:
        """See ``Backend``."""
        np.copyto(out, array, casting="unsafe")

    def recorder(self) -> Backend:
        """See ``Backend``."""
        return CpuRecorder(_Namespace(), self.description)


class CpuRecorder(CpuBackend):
    """Keeps the calls that were made, with their arrays, and makes them again. Not for several threads at a time."""

    def compile(self, function: Callable[[], None]) -> Call:
        """See ``Backend``."""
        with self.xp.recording() as calls:
            function()
        return partial(_play, tuple(calls))

    def fused(self, function: Callable[..., None], *arrays: Array) -> None:
        """See ``Backend``."""
        self.fused_each([(function, arrays)])

    def fused_each(self, jobs: Sequence[tuple[Callable[..., None], tuple[Array, ...]]]) -> None:
        """See ``Backend``."""
        if sum(arrays[0].size for _, arrays in jobs) < SHARED:
            for function, arrays in jobs:
                function(self, *arrays)
            return
        shares: list[list[Call]] = [[] for _ in range(processors())]
        for function, arrays in jobs:
            for share, piece in zip(shares, _divided(arrays, len(shares)), strict=True):
                with self.xp.recording() as calls:
                    function(self, *piece)
                share += calls
        self.xp.keep(partial(_play_together, *shares))

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        """See ``Backend``."""
        calls = prepare_matmul(a, b, out, alpha, beta)
        if calls is None:
            super().matmul(a, b, out, alpha, beta)
        else:
            self.xp.run(*calls)

    def axpby(self, x: Array, out: Array, alpha: Any, beta: Any = 1.0) -> None:
        """See ``Backend``."""
        calls = prepare_axpby(x, out, alpha, beta)
        if calls is None:
            super().axpby(x, out, alpha, beta)
        else:
            self.xp.run(*calls)

    def copyto(self, array: Array, out: Array) -> None:
        """See ``Backend``."""
        self.xp.run(partial(np.copyto, out, array, casting="unsafe"))

    def call(self, function: Callable[[], None]) -> None:
        """See ``Backend``."""
        self.xp.run(function)

    def evaluate(self, function: Callable[[Any, Array], Array], array: Array, out: Array) -> None:
        """See ``Backend``."""
        self.xp.run(partial(_evaluate, function, array, out))

    def elementwise(self, function: Callable[..., Any], *arrays: Array, out: Array | tuple[Array, ...]) -> None:
        """See ``Backend``."""
        self.xp.run(partial(Backend("cpu", np).elementwise, function, *arrays, out=out))


def _evaluate(function: Callable[[Any, Array], Array], array: Array, out: Array) -> None:
    np.copyto(out, function(np, array))


class _Namespace:
    """NumPy, with a list of the calls made of it while it is ``recording``."""

    def __init__(self) -> None:
        self._calls: list[Call] | None = None

    @contextmanager
    def recording(self) -> Iterator[list[Call]]:
        outer, self._calls = self._calls, []
        try:
            yield self._calls
        finally:
            self._calls = outer

    def keep(self, call: Call) -> None:
        if self._calls is not None:
            self._calls.append(call)

    def run(self, *calls: Call) -> None:
        for call in calls:
            call()
            self.keep(call)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(np, name)
        if self._calls is None or not callable(attribute) or isinstance(attribute, type) or name in _NEW:
            return attribute
        return partial(self._call, attribute)

    def _call(self, function: Callable[..., Any], *arguments: Any, out: Any = None, **options: Any) -> Any:
        """Call it and keep a call that writes its result to the same place."""
        out = function(*arguments, **options) if out is None else out
        if not isinstance(out, np.ndarray):
            raise TypeError(f"{function.__name__} gives a {type(out).__name__}: only arrays last, and can be recorded")
        if function is np.take:  # with "raise", NumPy would work in a copy of out
            call = partial(arguments[0].take, *arguments[1:], **options, out=out, mode="clip")
        elif isinstance(function, np.ufunc) and not options and out.dtype.kind == "f" and function not in _BY_NAME:
            # By position, and numbers as arrays, which NumPy would otherwise make of them in each call: for small
            # arrays both are a good part of the time.
            call = partial(
                function,
                *(np.asarray(value, dtype=None if isinstance(value, np.ndarray) else out.dtype) for value in arguments),
                out,
            )
        else:
            call = partial(function, *arguments, **options, out=out)
        self.run(call)
        return out


def _play(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


def _play_together(first: Sequence[Call], *others: Sequence[Call]) -> None:
    """Each in a thread of its own; NumPy lets others run while it computes."""
    helpers = [_pool().submit(copy_context().run, _play, calls) for calls in others]
    try:
        _play(first)
    finally:  # they write to arrays of the caller
        for helper in helpers:
            helper.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(processors(), "ann")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # whose threads a child process has not got


def _divided(arrays: Sequence[Array], parts: int) -> list[tuple[Array, ...]]:
    """The arrays in so many pieces, some of which may be empty, along the axis that lies outermost in memory, or along
    the next where that is short, as one of members is, and does not divide.
    """
    first = arrays[0]
    axes = sorted(range(first.ndim), key=lambda index: -first.strides[index])
    fair = (axis for axis in axes if first.shape[axis] % parts == 0 or first.shape[axis] >= _LONG * parts)
    axis = next(fair, axes[0])
    edges = np.linspace(0, first.shape[axis], parts + 1).astype(int).tolist()
    pieces = []
    for start, stop in pairwise(edges):
        place = (*(slice(None),) * axis, slice(start, stop))
        pieces.append(tuple(array[place] if array.shape == first.shape else array for array in arrays))
    return pieces
