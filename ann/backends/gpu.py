"""NVIDIA GPUs: CuPy, with training steps as CUDA graphs."""

import importlib
import importlib.util
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ann.backends.base import Array, Backend, Formula
from ann.backends.gpu_kernels import Kernels, add_windows, copy_all
from ann.backends.gpu_recorder import GpuRecorder, first_line, warn_of_eager_steps
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
        outs = out if isinstance(out, tuple) else (out,)
        fallback = partial(super().elementwise, function, *arrays, out=out)
        work = self.kernels.elementwise(function, arrays, outs, fallback)
        if work:
            self.kernels.run([[work]])
        else:
            fallback()

    def recorder(self) -> Backend:
        try:
            return GpuRecorder(self, self.kernels, self.precision)
        except Exception as error:  # types of nvmath and CuPy cannot be named before their import
            name = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
            absent = name.startswith("nvmath")
            reason = "nvmath-python is not installed" if absent else first_line(error)
            reason = f"{reason}; {_INSTALL}"
            if self.precision != "float32":
                raise DeviceError(f"precision {self.precision} cannot be used: {reason}") from None
            warn_of_eager_steps(reason)
            return self


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
            f"CuPy finds no usable NVIDIA GPU: {first_line(error)}; check that nvidia-smi lists a "
            f"GPU, then install the CuPy that fits its driver: {_INSTALL}"
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
            f"the GPU is there but does not compute: {first_line(error)}; "
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
