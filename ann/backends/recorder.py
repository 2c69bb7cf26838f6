"""Replays a training step on the CPU without Python's overhead. A step calls some forty functions
on arrays of a few kilobytes, and looking up the function, its arguments and their views takes as
long as the arithmetic. So the first step is recorded as a list of prepared calls, and later steps
replay it.
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import numpy as np

from ann.backends.bands import SHARED, Bands, Pass
from ann.backends.base import Array, Backend, Formula
from ann.backends.blas import Call, available, one_thread, prepare_matmul, processors
from ann.backends.convolution import convolution, input_gradient, row_product, weight_gradient
from ann.backends.elementwise import BY_NAME, prepare

_CREATION = ("empty", "zeros", "ones", "arange", "asarray", "reshape")  # and empty_like, ...


class CpuRecorder(Backend):
    """Records calls with their arrays, and replays them. Not thread-safe."""

    def __init__(self, description: str) -> None:
        super().__init__("cpu", _Namespace(), description)

    def compile(self, function: Callable[[], None]) -> Call:
        self.xp.calls = []
        try:
            function()
            self.xp.finish_bands()
            play = _play_with_own_threads if self.xp.bands.are_used else _play
            return partial(play, tuple(self.xp.calls))
        finally:
            self.xp.calls = None
            self.xp.bands.clear()

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        pictures = self.xp.bands.pictures(b)
        if pictures is not None and a.shape[-2] == 1:
            self.xp.add_pass(row_product(a, pictures, out, alpha, beta))
            return
        calls = prepare_matmul(a, b, out, alpha, beta)
        if calls is None:
            super().matmul(a, b, out, alpha, beta)
        self.xp.run(*calls or ())

    def copyto(self, array: Array, out: Array) -> None:
        self.xp.run(partial(np.copyto, out, array, casting="unsafe"))

    def convolve(self, pictures: Array, weight: Array, stride: int, out: Array) -> None:
        if available():
            self.xp.add_pass(convolution(pictures, weight, stride, out))
        else:
            super().convolve(pictures, weight, stride, out)

    def convolution_weights(
        self, pictures: Array, dy: Array, stride: int, out: Array, beta: float = 0.0
    ) -> None:
        if available():
            self.xp.add_pass(weight_gradient(pictures, dy, stride, out, beta))
        else:
            super().convolution_weights(pictures, dy, stride, out, beta)

    def convolution_inputs(self, weight: Array, dy: Array, stride: int, out: Array) -> None:
        if available():
            self.xp.add_pass(input_gradient(weight, dy, stride, out))
        else:
            super().convolution_inputs(weight, dy, stride, out)

    def call(self, function: Callable[[], None]) -> None:
        self.xp.run(function)

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        """See ``Backend``. A function that cannot be traced is called again in each replay."""
        if self.xp.calls is None:
            super().elementwise(function, *arrays, out=out)
            return
        outs = out if isinstance(out, tuple) else (out,)
        if self.xp.add_elementwise(function, arrays, outs):
            return
        size = outs[0].size
        if self.xp.bands.are_used:  # then no thread of OpenBLAS is in their way
            read = [array.size for array in arrays if isinstance(array, np.ndarray)]
            size = max(sum(read), sum(one.size for one in outs))
        parts = processors() if size >= SHARED else 1
        try:
            shares = prepare(function, arrays, outs, parts)
        except Exception:  # if the function is wrong, the call below raises its error
            shares = [[partial(Backend("cpu", np).elementwise, function, *arrays, out=out)]]
        self.xp.run_together(shares)


class _Namespace:
    """NumPy. If ``calls`` is a list, all calls that fill arrays are added to it.

    Passes over pictures are collected in ``bands``, until anything else is called.
    """

    def __init__(self) -> None:
        self.calls: list[Call] | None = None
        self.bands = Bands()

    def run(self, *calls: Call) -> None:
        self.finish_bands()
        for call in calls:
            call()
        if self.calls is not None:
            self.calls += calls

    def run_together(self, parts: list[list[Call]]) -> None:
        """Run lists of calls, each in its own thread."""
        self.run(*parts[0] if len(parts) == 1 else [partial(_play_together, *parts)])

    def add_pass(self, one: Pass) -> None:
        """Run this pass over pictures, if possible together with those before and after it."""
        if not self.bands.add(one):
            self.finish_bands()
            self.bands.add(one)
        if self.calls is None:
            self.finish_bands()

    def add_elementwise(self, function: Formula, arrays: Any, outs: Any) -> bool:
        """Run an elementwise function with ``add_pass``; False if it is not one over pictures."""
        if self.calls is None:
            return False
        one = self.bands.elementwise(function, arrays, outs)
        if one:
            self.add_pass(one)
        return one is not None

    def finish_bands(self) -> None:
        """Run the collected passes."""
        if self.bands:
            parts, last = self.bands.take()
            self.run_together(parts)
            self.run(*last)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(np, name)
        plain = not callable(attribute) or isinstance(attribute, type)
        if self.calls is None or plain or name.removesuffix("_like") in _CREATION:
            if name == "asarray":  # it may copy what a collected pass will write
                self.finish_bands()
            return attribute
        return partial(self._call, attribute)

    def _call(self, function: Any, *arguments: Any, out: Any = None, **options: Any) -> Any:
        """Call the function, and record a call that writes its result to the same array."""
        if isinstance(function, np.ufunc) and isinstance(out, np.ndarray) and not options:
            formula = partial(_call_ufunc, function)
            if self.add_elementwise(formula, arguments, (out,)):
                return out
        self.finish_bands()
        out = function(*arguments, **options) if out is None else out
        if not isinstance(out, np.ndarray):
            raise TypeError(
                f"{function.__name__} returns a {type(out).__name__}: only functions that return "
                "arrays can be recorded"
            )
        by_position = isinstance(function, np.ufunc) and function not in BY_NAME and not options
        if function is np.take:  # with mode="raise", NumPy would write to a copy of out
            call = partial(arguments[0].take, *arguments[1:], **options, out=out, mode="clip")
        elif by_position and out.dtype.kind == "f":
            # By position, and with numbers as arrays, which NumPy would otherwise convert in each
            # call: for small arrays both save much of the time
            arrays = (
                value if isinstance(value, np.ndarray) else np.asarray(value, dtype=out.dtype)
                for value in arguments
            )
            call = partial(function, *arrays, out)
        else:
            call = partial(function, *arguments, **options, out=out)
        self.run(call)
        return out


def _call_ufunc(function: np.ufunc, xp: Any, *arrays: Any) -> Any:
    return function(*arrays)


def _play(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


def _play_with_own_threads(calls: Sequence[Call]) -> None:
    with one_thread():
        _play(calls)


def _play_together(first: Sequence[Call], *others: Sequence[Call]) -> None:
    """Run each in its own thread; NumPy releases the GIL while it computes."""
    helpers = [_pool().submit(copy_context().run, _play, calls) for calls in others]
    try:
        _play(first)
    finally:  # wait: they write to the caller's arrays
        for helper in helpers:
            helper.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors(), "ann")


if hasattr(os, "register_at_fork"):  # not on Windows; a child process does not have the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
