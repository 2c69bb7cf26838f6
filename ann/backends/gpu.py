"""Finds an NVIDIA GPU that computes."""

import importlib
import importlib.util
import re
from typing import Any

from ann.backends.base import Backend
from ann.backends.gpu_recorder import INSTALL, GpuBackend, first_line
from ann.errors import DeviceError

# The first with reshape(copy=); keep in step with pyproject.toml
OLDEST = {"numpy": "2.1", "cupy": "14.2"}


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
        raise DeviceError(f"CuPy is not installed: {INSTALL}")
    try:
        cupy = importlib.import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount() < 1:
            raise RuntimeError("no device")
    except Exception as error:  # CuPy's types cannot be named before its import
        raise DeviceError(
            f"CuPy finds no usable NVIDIA GPU: {first_line(error)}; check that nvidia-smi lists a "
            f"GPU, then install the CuPy that fits its driver: {INSTALL}"
        ) from error
    if too_old(cupy):
        raise DeviceError(
            f"CuPy {cupy.__version__} is too old; {OLDEST['cupy']} or later is needed: {INSTALL}"
        )
    try:
        ones = cupy.ones((16, 16), dtype=cupy.float32)
        total = float(cupy.sum(cupy.tanh(ones @ ones)))  # float() waits for the result
        if not abs(total - 256.0) <= 1e-3:  # NaN fails, too
            raise RuntimeError(f"a test product gave {total}, expected 256")
    except Exception as error:
        raise DeviceError(
            f"the GPU is there but does not compute: {first_line(error)}; "
            f"the CUDA libraries may be absent or older than the card: {INSTALL}"
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
