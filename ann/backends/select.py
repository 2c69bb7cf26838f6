"""Makes the backend for a device name."""

import numpy as np

from ann.backends.base import Backend
from ann.backends.cpu import CpuBackend
from ann.backends.gpu import OLDEST, check_tf32, open_gpu, too_old
from ann.errors import DeviceError
from ann.spelling import check_choice

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("float32", "tf32")


def get_backend(device: str | Backend = "cpu", precision: str = "float32") -> Backend:
    """The backend for a device, once a test computation has succeeded on it.

    Args:
        device: "cpu"; "gpu", which never falls back; "auto", which uses a working GPU, otherwise
            the CPU, with the reason in ``description``; or a ``Backend``, which is returned
            unchanged.
        precision: of the matrix products in training: "float32", or "tf32", which rounds factors to
            11 significant bits and is several times as fast. It needs a GPU from 2020 or later and
            nvmath-python, and never falls back to float32, not even with "auto".

    Raises:
        DeviceError: the GPU or the precision cannot be used; the message says what is missing and
            how to install it.
        ValueError: the name is unknown.
    """
    if isinstance(device, Backend):
        return device
    check_choice("device", device, DEVICES)
    check_choice("precision", precision, PRECISIONS)
    if device == "cpu" and precision != "float32":
        raise DeviceError(f"precision {precision} needs a GPU; use float32 on the CPU")
    if device == "cpu":
        return _cpu("NumPy")
    try:
        backend = open_gpu(precision)
    except DeviceError as error:
        if precision != "float32":
            raise DeviceError(f"precision {precision} needs a working GPU: {error}") from None
        if device == "gpu":
            raise
        return _cpu(f"NumPy, because {str(error).split(':')[0]}")
    if precision == "tf32":
        check_tf32(backend)
    return backend


def _cpu(description: str) -> Backend:
    if too_old(np):
        needed = f"numpy>={OLDEST['numpy']}"
        raise DeviceError(f"NumPy {np.__version__} is too old: pip install '{needed}'")
    return CpuBackend(np, description)
