"""A stand-in for a GPU: array-api-strict on one of its fake devices. It rejects mixing of host and
device arrays, implicit float64 and functions outside the standard, on any machine.

It needs the extra ``test``, so nothing in the package imports it.
"""

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np

from ann.backends.base import Array, Backend, pixels_of

DEVICE = array_api_strict.Device("device1")
HOST = array_api_strict.Device("CPU_DEVICE")
_CREATION = ("empty", "zeros", "ones", "full", "eye", "arange", "linspace", "asarray")


class StrictNamespace:
    """array-api-strict with ``out=`` and ``dtype=``, which NumPy and CuPy have in addition."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(array_api_strict, name)
        if not callable(attribute) or isinstance(attribute, type):
            return attribute
        if name in _CREATION:
            return lambda *args, **kwargs: attribute(*args, **{"device": DEVICE, **kwargs})
        return lambda *args, **kwargs: _call(attribute, *args, **kwargs)


def _call(
    function: Callable[..., Array], *args: Any, out: Array = None, dtype: Any = None, **kwargs: Any
) -> Array:
    if dtype is not None and out is not None:  # a ufunc's dtype: the type to compute in
        arrays = array_api_strict._array_object.Array
        args = tuple(
            array_api_strict.astype(arg, dtype) if isinstance(arg, arrays) else arg for arg in args
        )
    elif dtype is not None:
        kwargs["dtype"] = dtype
    result = function(*args, **kwargs)
    if out is None:
        return result
    name = function.__name__
    assert result.shape == out.shape, f"{name}: out has shape {out.shape}, expected {result.shape}"
    if result.dtype == array_api_strict.bool:  # true and false are written as 1 and 0
        result = array_api_strict.astype(result, out.dtype)
    assert result.dtype == out.dtype, f"{name}: out has type {out.dtype}, expected {result.dtype}"
    out[...] = result
    return out


class StrictBackend(Backend):
    """Arrays are on the fake device. Only ``from_host`` and ``to_host`` transfer them."""

    def from_host(self, array: np.ndarray) -> Array:
        assert isinstance(array, np.ndarray)
        return array_api_strict.asarray(array.copy(), device=DEVICE)

    def to_host(self, array: Array) -> np.ndarray:
        assert array.device == DEVICE
        return np.asarray(array.to_device(HOST)).copy()

    def copy_windows(self, pictures: Array, stride: int, out: Array) -> None:
        for pixel, place in pixels_of(pictures, out, stride):  # the standard has no strides
            place[...] = pixel


def strict_backend() -> StrictBackend:
    """A new strict backend."""
    return StrictBackend("strict", StrictNamespace(), "array-api-strict on a fake device")
