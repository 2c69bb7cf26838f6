"""CuPy on an NVIDIA GPU. A training step becomes a CUDA graph with as few kernels as possible.

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
from ann.backends.gpu_kernels import Kernels, add_windows, copy_all
from ann.backends.gpu_queue import Queue
from ann.backends.namespace import Namespace, copied
from ann.errors import DeviceError
from ann.installation import install_command

INSTALL = f"{install_command('gpu')} (CUDA 13) or {install_command('gpu-cuda12')}"


class GpuBackend(Backend):
    """CuPy."""

    def __init__(self, xp: Any, description: str, precision: str = "float32") -> None:
        super().__init__("gpu", xp, description)
        self.precision = precision
        self.kernels = Kernels(xp)

    def from_host(self, array: np.ndarray) -> Array:
        return self.xp.asarray(array)

    def to_host(self, array: Array) -> np.ndarray:
        host: np.ndarray = self.xp.asnumpy(array)
        return host

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def copyto(self, array: Array, out: Array) -> None:
        self.xp.copyto(out, array, casting="unsafe")

    def copy_all(self, pairs: Sequence[tuple[Array, Array]]) -> None:
        copy_all(self.xp, pairs)

    def add_windows(self, windows: Array, stride: int, out: Array) -> None:
        add_windows(self.xp, windows, stride, out)

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        fallback = partial(super().elementwise, function, *arrays, out=out)
        work = self.kernels.elementwise(function, arrays, out, fallback)
        if work:
            self.kernels.run([[work]])
        else:
            fallback()

    def recorder(self) -> Backend:
        try:
            return GpuRecorder(self)
        except Exception as error:  # types of nvmath and CuPy cannot be named before their import
            name = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
            absent = name.startswith("nvmath")
            reason = "nvmath-python is not installed" if absent else first_line(error)
            reason = f"{reason}; {INSTALL}"
            if self.precision != "float32":
                raise DeviceError(f"precision {self.precision} cannot be used: {reason}") from None
            _warn_of_eager_steps(reason)
            return self


class GpuRecorder(GpuBackend):
    """Captures a step as a CUDA graph, which is launched as a whole.

    CuPy refuses matrix products in a graph, because they may allocate memory. So this class makes
    them, with a cuBLAS handle that has its own workspace. CuPy's memory pool would give the arrays
    of a step to others after capture, while the graph still writes to them. So they come from a
    pool that lives as long as the graph.
    """

    _WORKSPACE = 32 * 2**20  # bytes, as NVIDIA recommends for Hopper cards
    _REAL32, _REAL64 = 0, 1  # cudaDataType

    def __init__(self, gpu: GpuBackend) -> None:
        self._queue = Queue(gpu, gpu.kernels)
        super().__init__(Namespace(gpu.xp, self._queue), gpu.description, gpu.precision)
        self._gpu, self._cupy, self.kernels = gpu, gpu.xp, gpu.kernels
        self._cublas = importlib.import_module("nvmath.bindings.cublas")
        self._pool = self._cupy.cuda.MemoryPool()
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._workspace = self._cupy.empty(self._WORKSPACE, dtype=self._cupy.uint8)
        self._handle = self._cublas.create()
        weakref.finalize(self, self._cublas.destroy, self._handle)
        self._warned = False

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
        if self._queue.running:
            name = getattr(self._queue.running, "__name__", repr(self._queue.running))
            reason = f"the formula {name} cannot be captured ({reason})"
            advice = "use functions of xp, such as xp.where; no float(), y[z > 1] or NumPy arrays"
        _warn_of_eager_steps(f"{reason}; {advice}")

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        self._queue.elementwise(function, arrays, out)

    def copyto(self, array: Array, out: Array) -> None:
        self._queue.elementwise(copied, (array,), out)

    def copy_all(self, pairs: Sequence[tuple[Array, Array]]) -> None:
        self._gpu.copy_all(pairs)

    def call(self, function: Callable[[], None]) -> None:
        self._queue.call(function)

    def add_windows(self, windows: Array, stride: int, out: Array) -> None:
        call = partial(self._gpu.add_windows, windows, stride, out)
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


def _member_step(array: Array) -> int:
    """The distance between members' matrices in memory, in numbers; 0 if all share one."""
    return int(array.strides[0] // array.itemsize) if array.ndim == 3 else 0


def _warn_of_eager_steps(reason: str) -> None:
    """Warn that steps are not captured."""
    warnings.warn(
        f"training steps run without CUDA graphs, so small networks train more slowly: {reason}",
        RuntimeWarning,
        stacklevel=2,
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
