"""NVIDIA GPUs: CuPy, with training steps as CUDA graphs."""

import functools
import importlib
import importlib.util
import re
import warnings
import weakref
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from ann.backends.base import Array, Backend, Formula, windows_of
from ann.backends.blas import by_columns, row_step
from ann.errors import DeviceError
from ann.installation import install_command

# The first with reshape(copy=); keep in step with pyproject.toml
OLDEST = {"numpy": "2.1", "cupy": "14.2"}
_INSTALL = f"{install_command('gpu')} (CUDA 13) or {install_command('gpu-cuda12')}"


class GpuBackend(Backend):
    """CuPy on an NVIDIA GPU."""

    def __init__(self, xp: Any, description: str, precision: str = "float32") -> None:
        super().__init__("gpu", xp, description)
        self.precision = precision
        self._kernels: dict[Any, Callable[..., None] | None] = {}

    def from_host(self, array: np.ndarray) -> Array:
        return self.xp.asarray(array)

    def to_host(self, array: Array) -> np.ndarray:
        host: np.ndarray = self.xp.asnumpy(array)
        return host

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def copyto(self, array: Array, out: Array) -> None:
        self.xp.copyto(out, array, casting="unsafe")

    def copy_windows(self, pictures: Array, stride: int, out: Array) -> None:
        self.copyto(windows_of(self.xp, pictures, stride, like=out), out=out)

    def add_windows(self, windows: Array, stride: int, out: Array) -> None:
        *_, height, width, count = out.shape
        sizes = (*windows.shape[-4:-1], height, width, count, stride)
        _add_windows(self.xp)(windows, *sizes, out)

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        """See ``Backend``. It is one kernel, or several if CuPy cannot fuse the formula into one.

        The kernel is kept for later calls with the same function and numbers. Numbers are compiled
        into it: as arguments of a kernel, CuPy would round them to float16 (0.9 to 0.8999).
        """
        outs = out if isinstance(out, tuple) else (out,)
        numbers = tuple(value if isinstance(value, int | float) else None for value in arrays)
        key = (_function_key(function), numbers)
        if key not in self._kernels:
            self._kernels[key] = _kernel(self.xp, function, numbers)
        kernel = self._kernels[key]
        if kernel is not None:
            try:
                kernel(*outs, *(array for array in arrays if not isinstance(array, int | float)))
                return
            except Exception:  # if the function is wrong, the call below raises its error
                self._kernels[key] = None
        super().elementwise(function, *arrays, out=out)

    def recorder(self) -> Backend:
        try:
            return GpuRecorder(self)
        except Exception as error:  # types of nvmath and CuPy cannot be named before their import
            name = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
            absent = name.startswith("nvmath")
            reason = "nvmath-python is not installed" if absent else _line(error)
            reason = f"{reason}; {_INSTALL}"
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

    def __init__(self, backend: GpuBackend) -> None:
        super().__init__(backend.xp, backend.description, backend.precision)
        self._kernels = backend._kernels
        self._cublas = importlib.import_module("nvmath.bindings.cublas")
        self._pool = self.xp.cuda.MemoryPool()
        self._stream = self.xp.cuda.Stream(non_blocking=True)
        self._workspace = self.xp.empty(self._WORKSPACE, dtype=self.xp.uint8)
        self._handle = self._cublas.create()
        weakref.finalize(self, self._cublas.destroy, self._handle)
        self._running: Callable[[Any, Array], Array] | None = None  # the formula that runs now
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
                    launch = function
            launch()

        with self.xp.cuda.using_allocator(self._pool.malloc):
            function()
        return play

    def _capture(self, function: Callable[[], None]) -> Any:
        with self.xp.cuda.using_allocator(self._pool.malloc), self._stream:
            self._stream.begin_capture()
            try:
                function()
            finally:
                graph = self._stream.end_capture()
        return graph

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        self._running = function
        super().elementwise(function, *arrays, out=out)
        self._running = None

    def _warn(self, error: Exception) -> None:
        """Warn once that steps cannot be captured: the reason, and what to do."""
        if self._warned:
            return
        self._warned = True
        reason, advice = _line(error), "a newer NVIDIA driver or CuPy may help"
        if self._running:
            name = getattr(self._running, "__name__", repr(self._running))
            reason = f"the formula {name} cannot be captured ({reason})"
            advice = "use functions of xp, such as xp.where; no float(), y[z > 1] or NumPy arrays"
        _warn_of_eager_steps(f"{reason}; {advice}")

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        cublas, handle = self._cublas, self._handle
        cublas.set_stream(handle, self.xp.cuda.get_current_stream().ptr)  # resets the workspace
        cublas.set_workspace(handle, self._workspace.data.ptr, self._WORKSPACE)
        if out.dtype == self.xp.float64:
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


@functools.cache
def _add_windows(xp: Any) -> Any:
    """The kernel of ``Backend.add_windows``: a thread adds what one pixel gets from its windows."""
    return xp.ElementwiseKernel(
        "raw T windows, int32 k, int32 rows, int32 columns, "
        "int32 height, int32 width, int32 count, int32 stride",
        "T out",
        """
        long long n = i % count, right = i / count % width, rest = i / count / width;
        long long down = rest % height, picture = rest / height;
        T sum = 0;
        for (int a = 0; a < k && a <= down; a++)
            for (int b = 0; b < k && b <= right; b++) {
                long long row = (down - a) / stride, column = (right - b) / stride;
                if (row * stride + a == down && column * stride + b == right
                        && row < rows && column < columns)
                    sum += windows[
                        ((((picture * k + a) * k + b) * rows + row) * columns + column) * count + n
                    ];
            }
        out = sum;
        """,
        "ann_add_windows",
    )


class _Fusing:
    """CuPy inside ``cupy.fuse``, whose placeholders for arrays ``cupy.astype`` does not accept."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy, name)

    def astype(self, array: Array, dtype: Any) -> Array:
        return array.astype(dtype)


def _kernel(xp: Any, function: Formula, numbers: Sequence[float | None]) -> Callable[..., None]:
    """A function of a formula's outs and arrays, which CuPy compiles when it is first called.

    numbers: the formula's arguments, with None for each array.
    """
    inputs = list(numbers).count(None)

    def kernel(*parameters: Array) -> None:
        count = len(parameters) - inputs
        outs, arrays = parameters[:count], iter(parameters[count:])
        arguments = (next(arrays) if value is None else value for value in numbers)
        results = function(_Fusing(xp), *arguments)
        results = results if isinstance(results, tuple) else (results,)
        pairs = list(zip(results, outs, strict=True))
        # all are copied before the first is written, because a result may be an argument
        copies = [one.astype(out.dtype) if hasattr(one, "astype") else one for one, out in pairs]
        for copy, out in zip(copies, outs, strict=True):
            xp.copyto(out, copy)

    name = re.sub(r"\W", "_", getattr(function, "__name__", "formula"))
    fused: Callable[..., None] = xp.fuse(kernel_name=f"ann_{name}")(kernel)
    return fused


def _function_key(function: Formula) -> Any:
    """The function, or a key that functions made by one line from the same numbers share."""
    if isinstance(function, FunctionType) and not function.__kwdefaults__:
        values = [cell.cell_contents for cell in function.__closure__ or ()]
        values += function.__defaults__ or ()
        if all(isinstance(value, int | float) for value in values):
            return (function.__code__, id(function.__globals__), *values)
    return function


def _member_step(array: Array) -> int:
    """The distance between members' matrices in memory, in numbers; 0 if all share one."""
    return int(array.strides[0] // array.itemsize) if array.ndim == 3 else 0


def _warn_of_eager_steps(reason: str) -> None:
    warnings.warn(
        f"training steps run without CUDA graphs, so small networks train more slowly: {reason}",
        RuntimeWarning,
        stacklevel=2,
    )


def too_old(library: Any) -> bool:
    """Whether NumPy or CuPy is older than this package needs."""
    found, oldest = (
        [int(number) for number in re.findall(r"\d+", version)[:2]]
        for version in (library.__version__, OLDEST[library.__name__])
    )
    return found < oldest


def open_gpu(precision: str) -> Backend:
    """Import CuPy and compute a product on the GPU: a successful import alone proves nothing."""
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError(f"CuPy is not installed: {_INSTALL}")
    try:
        cupy = importlib.import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount() < 1:
            raise RuntimeError("no device")
    except Exception as error:  # CuPy's types cannot be named before its import
        raise DeviceError(
            f"CuPy finds no usable NVIDIA GPU: {_line(error)}; check that nvidia-smi lists a GPU, "
            f"then install the CuPy that fits its driver: {_INSTALL}"
        ) from error
    if too_old(cupy):
        raise DeviceError(
            f"CuPy {cupy.__version__} is too old; {OLDEST['cupy']} or later is needed: {_INSTALL}"
        )
    try:
        ones = cupy.ones((16, 16), dtype=cupy.float32)
        total = float(cupy.sum(cupy.tanh(ones @ ones)))  # float() waits for the result
        if not abs(total - 256.0) <= 1e-3:  # NaN fails, too
            raise RuntimeError(f"a test product gave {total}, expected 256")
    except Exception as error:
        raise DeviceError(
            f"the GPU is there but does not compute: {_line(error)}; "
            f"the CUDA libraries may be absent or older than the card: {_INSTALL}"
        ) from error
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    device = f"{properties['name'].decode()}, CuPy {cupy.__version__}"
    return GpuBackend(cupy, f"{device}, which computed a test product", precision)


def check_tf32(backend: Backend) -> None:
    """Raise DeviceError if the GPU would silently compute products in float32 instead."""
    if int(backend.xp.cuda.Device().compute_capability) < 80:
        name = backend.description.split(",")[0]
        raise DeviceError(f"precision tf32 needs a GPU from 2020 or later; this is {name}")
    backend.recorder()  # raises an error without nvmath-python


def _line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def cuda_versions() -> tuple[str, int, int] | None:
    """The versions of CuPy, CUDA (12040 is 12.4) and the driver (0: none), if CuPy works."""
    if importlib.util.find_spec("cupy") is None:
        return None
    try:
        cupy: Any = importlib.import_module("cupy")
        runtime = cupy.cuda.runtime
        return cupy.__version__, int(runtime.runtimeGetVersion()), int(runtime.driverGetVersion())
    except Exception:  # of CuPy's types; get_backend reports the reason
        return None
