"""Which array library computes, and how arrays get in and out of it. The rest of the package is handed a
``Backend`` and computes with its ``xp``, so one source of backpropagation runs on every device; this is the only
file that knows CuPy's name.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import DeviceError

Array = Any  # an array of whichever library ``xp`` is

DEVICES = ("auto", "cpu", "gpu")

_INSTALL = "pip install -e '.[gpu]' (CUDA 13) or pip install -e '.[gpu-cuda12]'"


@dataclass(frozen=True)
class Backend:
    """An array library and its two doors. This base is NumPy's; other libraries override the three methods.

    Attributes:
        name: "cpu" or "gpu".
        xp: the namespace that computes: NumPy, or one that speaks the same array API.
        description: the device in words and, after "auto", why it was picked.
    """

    name: str
    xp: Any
    description: str = ""

    def from_host(self, array: np.ndarray) -> Array:
        """The only way in: a host array -> an array of ``xp`` (which on a CPU may share its memory)."""
        return array

    def to_host(self, array: Array) -> np.ndarray:
        """The only way out: an array of ``xp`` -> a host array, after everything queued before it."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """Wait until all that was queued has been computed. Only clocks need this."""


class _GpuBackend(Backend):
    def from_host(self, array: np.ndarray) -> Array:
        return self.xp.asarray(array)

    def to_host(self, array: Array) -> np.ndarray:
        host: np.ndarray = self.xp.asnumpy(array)
        return host

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


def get_backend(device: str | Backend = "cpu") -> Backend:
    """A device name -> a backend that has been seen to compute.

    Args:
        device: "cpu"; "gpu", which never falls back; "auto", a GPU if one computes and else the CPU, with the
            reason in ``description``; or a ``Backend``, which is returned as it is.

    Raises:
        DeviceError: the GPU cannot be used; the message says what is missing and the command that installs it.
        ValueError: the name is unknown.
    """
    if isinstance(device, Backend):
        return device
    if device == "cpu":
        return _cpu("NumPy")
    if device == "gpu":
        return _gpu()
    if device == "auto":
        try:
            return _gpu()
        except DeviceError as error:
            return _cpu(f"NumPy, because {str(error).split(':')[0]}")
    raise ValueError(f"device: unknown {device!r}; known: {', '.join(DEVICES)}")


def _cpu(description: str) -> Backend:
    return Backend("cpu", np, description)


def _gpu() -> Backend:
    """Import CuPy and make the GPU do a product: an import alone proves nothing."""
    if importlib.util.find_spec("cupy") is None:
        raise DeviceError(f"CuPy is not installed: {_INSTALL}")
    try:
        cupy = importlib.import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount() < 1:
            raise RuntimeError("no device")
    except Exception as error:  # CuPy raises its own types, which cannot be named before it is imported
        raise DeviceError(
            f"CuPy finds no usable NVIDIA GPU: {_line(error)}; see that nvidia-smi lists a GPU, "
            f"then install the CuPy that fits its driver: {_INSTALL}"
        ) from error
    try:
        ones = cupy.ones((16, 16), dtype=cupy.float32)
        total = float(cupy.sum(cupy.tanh(ones @ ones)))  # float() waits for the result
        if abs(total - 256.0) > 1e-3:
            raise RuntimeError(f"a test product gave {total}, expected 256")
    except Exception as error:
        raise DeviceError(
            f"the GPU is there but does not compute: {_line(error)}; "
            f"the CUDA libraries may be absent or older than the card: {_INSTALL}"
        ) from error
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    name = properties["name"].decode()
    return _GpuBackend("gpu", cupy, f"{name}, CuPy {cupy.__version__}, which computed a test product")


def _line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
