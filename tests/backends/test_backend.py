import importlib.machinery
import importlib.util
import re
import sys

import numpy as np
import pytest

import ann
from ann.backends.gpu import OLDEST
from support import ROOT
from support.fake_cupy import pretend_cublas, pretend_cupy
from support.networks import network_of


@pytest.fixture
def pretend(monkeypatch):
    """Replace CuPy by a module, or by None as if it were not installed."""

    def install(module):
        find_spec = importlib.util.find_spec
        spec = module and importlib.machinery.ModuleSpec("cupy", None)
        monkeypatch.setattr(
            "importlib.util.find_spec",
            lambda name, *rest: spec if name == "cupy" else find_spec(name, *rest),
        )
        monkeypatch.setitem(sys.modules, "cupy", module)

    return install


def broken(*args, **kwargs):
    raise RuntimeError("cudaErrorNoKernelImageForDevice: no kernel image\nis available")


def test_cpu():
    backend = ann.get_backend("cpu")
    assert backend.name == "cpu" and backend.xp is np and isinstance(backend, ann.Backend)
    array = np.arange(3)
    np.testing.assert_array_equal(backend.to_host(backend.from_host(array)), array)
    backend.synchronize()
    assert ann.get_backend(backend) is backend


def test_unknown_device():
    with pytest.raises(ValueError, match="device: unknown 'cuda'; known: auto, cpu, gpu"):
        ann.get_backend("cuda")


def test_absent(pretend):
    pretend(None)
    with pytest.raises(ann.DeviceError, match=r'CuPy is not installed: pip install -e "\.\[gpu\]"'):
        ann.get_backend("gpu")
    backend = ann.get_backend("auto")
    assert backend.name == "cpu" and backend.description == "NumPy, because CuPy is not installed"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            pretend_cupy(count=0),
            "CuPy finds no usable NVIDIA GPU: no device; check that nvidia-smi",
        ),
        (
            pretend_cupy(__version__="14.1.1"),
            "CuPy 14.1.1 is too old; 14.2 or later is needed: pip install -e",
        ),
        (
            pretend_cupy(ones=broken),
            "the GPU is there but does not compute: cudaErrorNoKernelImageForDevice",
        ),
        (
            pretend_cupy(tanh=lambda x: x * 0),
            "does not compute: a test product gave 0.0, expected 256",
        ),
        (
            pretend_cupy(tanh=lambda x: x * np.nan),
            "does not compute: a test product gave nan, expected 256",
        ),
    ],
)
def test_a_gpu_that_does_not_compute(pretend, module, message):
    pretend(module)
    with pytest.raises(ann.DeviceError, match=message) as caught:
        ann.get_backend("gpu")
    assert "pip install" in str(caught.value) and "\n" not in str(caught.value)
    backend = ann.get_backend("auto")
    assert backend.name == "cpu" and "because" in backend.description


def test_a_cupy_that_does_not_import(pretend, monkeypatch):
    pretend(pretend_cupy())

    def import_module(name):
        raise ImportError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", import_module)
    with pytest.raises(ann.DeviceError, match="no usable NVIDIA GPU: libcublas"):
        ann.get_backend("gpu")


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_a_gpu_that_computes(pretend, tmp_path, device):
    pretend(pretend_cupy())
    backend = ann.get_backend(device)
    assert backend.name == "gpu"
    assert backend.description == "Pretend GPU, CuPy 14.2.0, which computed a test product"
    backend.synchronize()
    net = network_of(backend, 5, 4, 3)
    net.train_batch(np.ones((2, 5), np.float32), np.array([0, 1]), 0.1)
    net.save(tmp_path / "model")
    assert b"cupy" not in (tmp_path / "model").read_bytes()
    np.testing.assert_array_equal(ann.load_model(tmp_path / "model").parameters, net.parameters)


def test_an_old_numpy(monkeypatch):
    monkeypatch.setattr(np, "__version__", "2.0.2")
    with pytest.raises(
        ann.DeviceError, match=r"NumPy 2\.0\.2 is too old: pip install 'numpy>=2\.1'"
    ):
        ann.get_backend("cpu")


def test_the_oldest_libraries_are_those_that_are_declared():
    text = (ROOT / "pyproject.toml").read_text()
    for name, version in OLDEST.items():
        assert re.search(rf'"{name}(-cuda13x\[ctk\])?>={version}"', text)


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_tf32_is_refused_where_it_would_be_float32(pretend, monkeypatch, device):
    cupy = pretend_cupy()
    pretend(cupy)
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", pretend_cublas(cupy))
    assert ann.get_backend(device, "tf32").precision == "tf32"
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", None)
    with pytest.raises(
        ann.DeviceError, match="tf32 cannot be used: nvmath-python is not installed; pip install -e"
    ):
        ann.get_backend(device, "tf32")
    cupy.cuda.Device.compute_capability = "75"
    with pytest.raises(
        ann.DeviceError, match="precision tf32 needs a GPU from 2020 or later; this is Pretend GPU"
    ):
        ann.get_backend(device, "tf32")


def test_round_trip_through_the_device(backend, rng):
    for dtype in (np.float32, np.float64, np.uint8, np.int64):
        array = (rng.random((3, 4)) * 100).astype(dtype)
        back = backend.to_host(backend.from_host(array))
        assert type(back) is np.ndarray and back.dtype == dtype
        np.testing.assert_array_equal(back, array)
