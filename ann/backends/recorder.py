"""Replays a training step on the CPU without Python's overhead. A step calls some forty functions
on arrays of a few kilobytes, and looking up the function, its arguments and their views takes as
long as the arithmetic. So the first step is recorded as a list of prepared calls. They run at the
end of the recording, and again in each later step.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ann.backends.bands import Bands, Pass
from ann.backends.base import Array, Backend, Formula
from ann.backends.blas import Call, divide_product, equal_parts, prepare_matmul
from ann.backends.convolution import convolution, input_gradient, row_product, weight_gradient
from ann.backends.elementwise import divide, prepare
from ann.backends.namespace import Namespace, copied
from ann.backends.phases import Part, Task, play, schedule
from ann.backends.tracer import trace


class CpuRecorder(Backend):
    """Records calls with their arrays, and replays them. Not thread-safe."""

    def __init__(self, description: str) -> None:
        self._recording = _Recording()
        super().__init__("cpu", Namespace(np, self._recording), description)

    def compile(self, function: Callable[[], None]) -> Call:
        return self._recording.run(function)

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        pictures = self._recording.bands.pictures(b)
        if pictures is not None and a.shape[-2] == 1:
            self._recording.add_passes(row_product(a, pictures, out, alpha, beta))
            return
        whole = Part(prepare_matmul(a, b, out, alpha, beta), (a, b, out), (out,))

        def divide(threads: int) -> list[Part]:
            pieces = divide_product(a, b, out, threads)
            return [
                Part(prepare_matmul(*piece, alpha, beta, one_thread=True), piece, piece[2:])
                for piece in pieces
            ]

        self._recording.add_task(Task(divide, whole, multiplications=out.size * a.shape[-1]))

    def copyto(self, array: Array, out: Array) -> None:
        self._recording.add_formula(copied, (array,), (out,))

    def convolve(self, pictures: Array, weight: Array, stride: int, out: Array) -> None:
        self._recording.add_passes(convolution(pictures, weight, stride, out))

    def convolution_weights(
        self, pictures: Array, dy: Array, stride: int, out: Array, beta: float = 0.0
    ) -> None:
        self._recording.add_passes(weight_gradient(pictures, dy, stride, out, beta))

    def convolution_inputs(self, weight: Array, dy: Array, stride: int, out: Array) -> None:
        self._recording.add_passes(input_gradient(weight, dy, stride, out))

    def call(self, function: Callable[[], None]) -> None:
        self._recording.call(function)

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        if self._recording.is_recording:
            self._recording.elementwise(function, arrays, out)
        else:
            super().elementwise(function, *arrays, out=out)


class _Recording:
    """The ``Recording`` of a step on a CPU.

    Work is first collected as tasks. Passes over pictures are collected in ``bands``, and become
    tasks when anything else is added.
    """

    captures = False

    def __init__(self) -> None:
        self.is_recording = False
        self.bands = Bands()
        self._calls: list[Call] = []
        self._tasks: list[Task] = []

    def run(self, function: Callable[[], None]) -> Call:
        """Call the function, which adds work, and do this work; returns a call that repeats it."""
        self.is_recording = True
        try:
            function()
            self.flush()
            calls = self._calls
            return calls[0] if len(calls) == 1 else partial(play, calls)
        finally:
            self.is_recording = False
            self.bands, self._calls, self._tasks = Bands(), [], []

    def add_task(self, task: Task) -> None:
        """Collect this task; outside of a recording, do it at once."""
        self._finish_bands()
        self._tasks.append(task)
        if not self.is_recording:
            self.flush()

    def flush(self) -> None:
        """Do the collected tasks, and record them as one call."""
        self._finish_bands()
        tasks, self._tasks = self._tasks, []
        if tasks:
            call = schedule(tasks, own_threads=self.bands.are_used)
            call()
            if self.is_recording:
                self._calls.append(call)

    def add_passes(self, passes: Iterable[Pass]) -> None:
        """Run these passes over pictures, if possible together with those before and after."""
        for one in passes:
            if not self.bands.add(one):
                self._finish_bands()
                self.bands.add(one)
        if not self.is_recording:
            self.flush()

    def elementwise(self, function: Formula, arrays: Any, out: Any) -> None:
        """See ``Backend.elementwise``; pictures are processed in bands.

        If it cannot be traced, it is called again in each replay.
        """
        outs = out if isinstance(out, tuple) else (out,)
        one = self.bands.elementwise(function, arrays, outs)
        if one:
            self.add_passes([one])
            return
        try:
            self.add_formula(function, arrays, outs)
        except Exception:  # if the function is wrong, the call raises its error
            self.call(partial(Backend("cpu", np).elementwise, function, *arrays, out=out))

    def add_formula(self, function: Formula, arrays: Any, outs: Any) -> None:
        """Run an elementwise function. Raises an exception if it cannot be traced."""
        count = len(trace(function, *arrays)[0])

        def divided(threads: int) -> list[Part]:
            parts = []
            for some, to in divide(function, arrays, outs, threads):
                read = [array for array in some if isinstance(array, np.ndarray)]
                parts.append(Part(prepare(function, some, to), read, to))
            return parts

        self.add_task(Task(divided, numbers=count * max(out.size for out in outs)))

    def call(self, function: Callable[[], object]) -> None:
        """Make a call that may read and write any array."""
        self.add_calls([function])

    def add_calls(self, *lists: Sequence[Call]) -> None:
        """Make the calls of all lists at the same time, after everything before them."""
        self.add_task(Task(lambda _: [*map(Part, lists)]))

    def _finish_bands(self) -> None:
        """Turn the collected passes into tasks."""
        if self.bands:
            lists, last = self.bands.take()
            self.add_calls(*lists)
            self.add_calls(last)

    def take(self, array: Array, indices: Any, axis: int | None = None, *, out: Array) -> None:
        """See ``numpy.take``."""

        def divide(threads: int) -> list[Part]:
            pieces = [(indices, out)]
            if axis == 0 and isinstance(indices, np.ndarray) and indices.ndim == 1:
                places = equal_parts(len(indices), threads)
                pieces = [(indices[place], out[place]) for place in places]
            return [  # with mode="raise", NumPy would write to a copy of out
                Part(
                    [partial(array.take, some, axis=axis, out=to, mode="clip")], [array, some], [to]
                )
                for some, to in pieces
            ]

        self.add_task(Task(divide, numbers=out.size))
