"""Captures a training step as a CUDA graph, with as few kernels as possible.

While a step is recorded, each call only adds work to a queue. When the queue runs, one kernel does
all work on the same elements, and work that is independent of it.
"""

import importlib
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ann.backends.base import Array, Backend, Formula
from ann.backends.blas import by_columns, row_step
from ann.backends.gpu_kernels import Kernels, add_windows, copied, ufunc
from ann.backends.gpu_queue import Queue

_CREATION = ("empty", "zeros", "ones", "full", "arange", "broadcast_to")  # and empty_like, ...


class GpuRecorder(Backend):
    """Captures a step as a CUDA graph, which is launched as a whole.

    CuPy refuses matrix products in a graph, because they may allocate memory. So this class makes
    them, with a cuBLAS handle that has its own workspace. CuPy's memory pool would give the arrays
    of a step to others after capture, while the graph still writes to them. So they come from a
    pool that lives as long as the graph.

    Args:
        gpu: a backend with CuPy and ``kernels``.
        precision: float32 or tf32.
    """

    _WORKSPACE = 32 * 2**20  # bytes, as NVIDIA recommends for Hopper cards
    _REAL32, _REAL64 = 0, 1  # cudaDataType

    def __init__(self, gpu: Backend, kernels: Kernels, precision: str) -> None:
        self._queue = Queue(kernels)
        super().__init__("gpu", _Namespace(gpu.xp, self._queue), gpu.description)
        self.precision = precision
        self._gpu, self._cupy, self._kernels = gpu, gpu.xp, kernels
        self._cublas = importlib.import_module("nvmath.bindings.cublas")
        self._pool = self._cupy.cuda.MemoryPool()
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._workspace = self._cupy.empty(self._WORKSPACE, dtype=self._cupy.uint8)
        self._handle = self._cublas.create()
        weakref.finalize(self, self._cublas.destroy, self._handle)
        self._running: Formula | None = None  # the formula that runs now, outside of kernels
        self._warned = False

    def from_host(self, array: np.ndarray) -> Array:
        return self._gpu.from_host(array)

    def to_host(self, array: Array) -> np.ndarray:
        return self._gpu.to_host(array)

    def synchronize(self) -> None:
        self._gpu.synchronize()

    def compile(self, function: Callable[[], None]) -> Callable[[], object]:
        """See ``Backend``. This call compiles and allocates; the next one captures the graph."""
        launch: Callable[[], object] | None = None

        def play() -> None:
            nonlocal launch
            if launch is None:
                try:
                    launch = self._capture(function).launch
                except Exception as error:
                    self._warn(error)
                    launch = partial(self._queue.run, function)
            launch()

        with self._cupy.cuda.using_allocator(self._pool.malloc):
            self._queue.run(function)
        return play

    def _capture(self, function: Callable[[], None]) -> Any:
        with self._cupy.cuda.using_allocator(self._pool.malloc), self._stream:
            self._stream.begin_capture()
            try:
                self._queue.run(function)
            finally:
                graph = self._stream.end_capture()
        return graph

    def _warn(self, error: Exception) -> None:
        """Warn once that steps cannot be captured: the reason, and what to do."""
        if self._warned:
            return
        self._warned = True
        reason, advice = first_line(error), "a newer NVIDIA driver or CuPy may help"
        if self._running:
            name = getattr(self._running, "__name__", repr(self._running))
            reason = f"the formula {name} cannot be captured ({reason})"
            advice = "use functions of xp, such as xp.where; no float(), y[z > 1] or NumPy arrays"
        warn_of_eager_steps(f"{reason}; {advice}")

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        outs = out if isinstance(out, tuple) else (out,)
        fallback = partial(self._gpu.elementwise, function, *arrays, out=out)
        work = self._kernels.elementwise(function, arrays, outs, fallback)
        if work:
            self._queue.add(work)
        else:
            self._running = function
            self._queue.call(fallback)
            self._running = None

    def copyto(self, array: Array, out: Array) -> None:
        fallback = partial(self._gpu.copyto, array, out=out)
        work = self._kernels.elementwise(copied, (array,), (out,), fallback)
        if work:
            self._queue.add(work)
        else:
            self._queue.call(fallback)

    def copy_all(self, pairs: Sequence[tuple[Array, Array]]) -> None:
        self._gpu.copy_all(pairs)

    def call(self, function: Callable[[], None]) -> None:
        self._queue.call(function)

    def add_windows(self, windows: Array, stride: int, out: Array) -> None:
        call = partial(add_windows, self._cupy, windows, stride, out)
        self._queue.add_call(call, reads=[windows], writes=[out])

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        call = partial(self._multiply, a, b, out, alpha, beta)
        self._queue.add_call(call, reads=[a, b], writes=[out])

    def _multiply(self, a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
        cublas, handle = self._cublas, self._handle
        cublas.set_stream(handle, self._cupy.cuda.get_current_stream().ptr)  # resets the workspace
        cublas.set_workspace(handle, self._workspace.data.ptr, self._WORKSPACE)
        if out.dtype == np.float64:
            kind, precision = self._REAL64, cublas.ComputeType.COMPUTE_64F
        elif self.precision == "tf32":
            kind, precision = self._REAL32, cublas.ComputeType.COMPUTE_32F_FAST_TF32
        else:
            kind, precision = self._REAL32, cublas.ComputeType.COMPUTE_32F
        factors = np.array([alpha, beta], dtype=out.dtype)  # on the host
        # cuBLAS stores by columns: its C = B A is our C^T = A^T B^T
        if by_columns(out):
            a, b, out = b.mT, a.mT, out.mT
        members = out.shape[:-2]  # one call makes the products of all
        (rows, inner), columns = a.shape[-2:], b.shape[-1]
        orders = (cublas.Operation.N, cublas.Operation.T)
        operations = (orders[by_columns(array)] for array in (b, a))

        def described(array: Array) -> tuple[int, ...]:
            steps = (row_step(array), *([_member_step(array)] if members else []))
            return (array.data.ptr, kind, *steps)

        gemm = cublas.gemm_strided_batched_ex if members else cublas.gemm_ex
        gemm(
            *(handle, *operations, columns, rows, inner),
            *(factors.ctypes.data, *described(b), *described(a)),
            *(factors[1:].ctypes.data, *described(out)),
            *(*members, precision, cublas.GemmAlgo.DFALT),
        )


class _Namespace:
    """CuPy. In a recording, functions that write to an array are added to the queue."""

    def __init__(self, cupy: Any, queue: Queue) -> None:
        self._cupy, self._queue = cupy, queue

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._cupy, name)
        plain = not callable(attribute) or isinstance(attribute, type)
        if not self._queue.is_recording or plain or name.removesuffix("_like") in _CREATION:
            return attribute
        return partial(self._call, name, attribute)

    def _call(
        self, name: str, function: Any, *arguments: Any, out: Any = None, **options: Any
    ) -> Any:
        """Call the function; its work is added to the queue if it is elementwise or ``take``."""
        if out is None:
            if options.get("copy") is not False:  # it may read what the queue will write
                self._queue.flush()
            return function(*arguments, **options)
        fallback = partial(function, *arguments, **options, out=out)
        work = None
        if isinstance(getattr(np, name, None), np.ufunc) and not options:
            work = self._queue.kernels.elementwise(ufunc(name), arguments, (out,), fallback)
        elif name == "take" and options == {"axis": 0}:
            source, indices = arguments
            work = self._queue.kernels.take(source, indices, out, fallback)
        if work:
            self._queue.add(work)
        else:
            self._queue.call(fallback)
        return out


def _member_step(array: Array) -> int:
    """The distance between members' matrices in memory, in numbers; 0 if all share one."""
    return int(array.strides[0] // array.itemsize) if array.ndim == 3 else 0


def warn_of_eager_steps(reason: str) -> None:
    """Warn that steps are not captured."""
    warnings.warn(
        f"training steps run without CUDA graphs, so small networks train more slowly: {reason}",
        RuntimeWarning,
        stacklevel=2,
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
