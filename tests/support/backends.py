"""The backends on which tests of device code run, and comparisons of arrays."""

import os

import numpy as np
import pytest

import ann
from ann.backends.base import Backend
from support import optional


def _with_gpu():
    """Whether tests run on a GPU. Without one, hundreds of tests would just be skipped."""
    try:
        ann.get_backend("gpu")
    except ann.DeviceError:
        return os.environ.get("ANN_REQUIRE_GPU") == "1"
    return True


BACKENDS = ("numpy", "strict", *(["cupy"] if _with_gpu() else []))


# For a test that trains on the fixture ``backend``: the strict device is about ten times as slow
slow_on_strict = pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "strict" else []) for name in BACKENDS],
    indirect=True,
)


def make_backend(name):
    if name == "numpy":
        return ann.get_backend("cpu")
    if name == "strict":
        optional("array_api_strict")
        from ann.backends.strict import strict_backend

        return strict_backend()
    try:
        return ann.get_backend("gpu")
    except ann.DeviceError as error:
        if os.environ.get("ANN_REQUIRE_GPU") == "1":
            raise
        pytest.skip(f"no GPU: {str(error).split(':')[0]}")


def assert_device_array(backend, array, shape, dtype="float32"):
    """The array lives on the backend, with this shape and type."""
    template = backend.from_host(np.zeros(1, dtype=dtype))
    if shape == () and isinstance(
        array, np.generic
    ):  # NumPy's reductions return scalars, which compute alike
        array = np.asarray(array)
    assert type(array) is type(template)
    assert array.shape == shape
    assert array.dtype == template.dtype
    assert getattr(array, "device", None) == getattr(template, "device", None)


class Plain(Backend):
    """NumPy with nothing beyond ``Backend``."""

    def __init__(self):
        super().__init__("cpu", np)


class Column:
    """An array of another library, such as pandas."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape

    def __len__(self):
        return len(self._array)

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


def assert_same(left, right, **tolerance):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, **(tolerance or {"rtol": 1e-3, "atol": 2e-5}))
