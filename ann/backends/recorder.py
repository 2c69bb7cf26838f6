"""Replays a training step on the CPU without Python's overhead. A step calls some forty functions
on arrays of a few kilobytes, and looking up the function, its arguments and their views takes as
long as the arithmetic. So the first step is recorded as a list of prepared calls, and later steps
replay it.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ann.backends.base import Array, Backend
from ann.backends.blas import Call, prepare_axpby, prepare_matmul, processors
from ann.backends.elementwise import BY_NAME, prepare
from ann.backends.windows import windows_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Elementwise work on this many elements or more is split among processors; handing it over takes
# 0.1 ms
SHARED = 500_000

_NEW = (
    "empty",
    "empty_like",
    "zeros",
    "zeros_like",
    "ones",
    "ones_like",
    "arange",
    "asarray",
    "reshape",
)


class CpuRecorder(Backend):
    """Records calls with their arrays, and replays them. Not thread-safe."""

    def __init__(self, description: str) -> None:
        super().__init__("cpu", _Namespace(), description)

    def compile(self, function: Callable[[], None]) -> Call:
        with self.xp.recording() as calls:
            function()
        return partial(_play, tuple(calls))

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        calls = prepare_matmul(a, b, out, alpha, beta)
        if calls is None:
            super().matmul(a, b, out, alpha, beta)
        else:
            self.xp.run(*calls)

    def axpby(self, x: Array, out: Array, alpha: Any, beta: Any = 1.0) -> None:
        calls = prepare_axpby(x, out, alpha, beta)
        if calls is None:
            super().axpby(x, out, alpha, beta)
        else:
            self.xp.run(*calls)

    def copyto(self, array: Array, out: Array) -> None:
        self.xp.run(partial(np.copyto, out, array, casting="unsafe"))

    def copy_windows(self, pictures: Array, stride: int, out: Array) -> None:
        self.copyto(windows_of(np, pictures, stride, like=out), out=out)

    def call(self, function: Callable[[], None]) -> None:
        self.xp.run(function)

    def elementwise(
        self,
        function: Callable[..., Any],
        *arrays: Any,
        out: Array | tuple[Array, ...],
        spare: tuple[Array, ...] = (),
    ) -> None:
        """See ``Backend``. A function that cannot be traced is called again in each replay."""
        if not self.xp.is_recording:
            super().elementwise(function, *arrays, out=out)
            return
        outs = out if isinstance(out, tuple) else (out,)
        parts = processors() if outs[0].size >= SHARED else 1
        try:
            shares = prepare(function, arrays, outs, spare, parts)
        except Exception:  # if the function is wrong, the call below raises its error
            self.xp.run(partial(Backend("cpu", np).elementwise, function, *arrays, out=out))
            return
        if len(shares) == 1:
            self.xp.run(*shares[0])
        else:
            self.xp.run(partial(_play_together, *shares))


class _Namespace:
    """NumPy, with a list of the calls made while it is ``recording``."""

    def __init__(self) -> None:
        self._calls: list[Call] | None = None

    @property
    def is_recording(self) -> bool:
        return self._calls is not None

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
        if (
            self._calls is None
            or not callable(attribute)
            or isinstance(attribute, type)
            or name in _NEW
        ):
            return attribute
        return partial(self._call, attribute)

    def _call(
        self, function: Callable[..., Any], *arguments: Any, out: Any = None, **options: Any
    ) -> Any:
        """Call the function, and record a call that writes its result to the same array."""
        out = function(*arguments, **options) if out is None else out
        if not isinstance(out, np.ndarray):
            raise TypeError(
                f"{function.__name__} returns a {type(out).__name__}: only functions that return arrays can be recorded"
            )
        if function is np.take:  # with mode="raise", NumPy would write to a copy of out
            call = partial(arguments[0].take, *arguments[1:], **options, out=out, mode="clip")
        elif (
            isinstance(function, np.ufunc)
            and not options
            and out.dtype.kind == "f"
            and function not in BY_NAME
        ):
            # By position, and with numbers as arrays, which NumPy would otherwise convert in each
            # call: for small arrays both save much of the time
            call = partial(
                function,
                *(
                    np.asarray(value, dtype=None if isinstance(value, np.ndarray) else out.dtype)
                    for value in arguments
                ),
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
    """Run each in its own thread; NumPy releases the GIL while it computes."""
    helpers = [_pool().submit(copy_context().run, _play, calls) for calls in others]
    try:
        _play(first)
    finally:  # wait: they write to the caller's arrays
        for helper in helpers:
            helper.result()


@functools.cache
def _pool() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(processors(), "ann")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        after_in_child=_pool.cache_clear
    )  # a child process does not have the threads
