"""The backends that every test of device code runs on, small data sets, and one way to compare arrays."""

import gzip
import importlib
import os
import signal
import struct
import subprocess
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # several at a time share the processors; read when NumPy is imported
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, share)))

import numpy as np
import pytest

import ann

os.environ["MPLBACKEND"] = "agg"  # no test opens a window

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("numpy", "strict", "cupy")


def optional(name):
    """A module of the extras of the tests: without it the test is skipped, or fails with ANN_REQUIRE_PEERS=1."""
    if os.environ.get("ANN_REQUIRE_PEERS") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name)


def make_backend(name):
    if name == "numpy":
        return ann.get_backend("cpu")
    if name == "strict":
        optional("array_api_strict")
        from strict import strict_backend

        return strict_backend()
    try:
        return ann.get_backend("gpu")
    except ann.DeviceError as error:
        if os.environ.get("ANN_REQUIRE_GPU") == "1":
            raise
        pytest.skip(f"no GPU: {str(error).split(':')[0]}")


@pytest.fixture(params=BACKENDS)
def backend(request):
    return make_backend(request.param)


@pytest.fixture(params=[("numpy", "strict"), ("numpy", "cupy"), ("strict", "cupy")], ids="-".join)
def backend_pair(request):
    return [make_backend(name) for name in request.param]


_STARTED = []


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As behind the & of a script; programs inherit it, and tests that send them Ctrl-C would wait for nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def begin(command, **options):
    """A process of a test's, with pipes, that is gone when the test is over, however it ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    _STARTED.append(subprocess.Popen(command, **pipes, **options))
    return _STARTED[-1]


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    while _STARTED:
        process = _STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def assert_device_array(backend, array, shape, dtype="float32"):
    """The array lives on the backend, with this shape and type."""
    template = backend.from_host(np.zeros(1, dtype=dtype))
    if shape == () and isinstance(array, np.generic):  # NumPy's reductions return scalars, which compute alike
        array = np.asarray(array)
    assert type(array) is type(template)
    assert array.shape == shape
    assert array.dtype == template.dtype
    assert getattr(array, "device", None) == getattr(template, "device", None)


def network_of(
    backend, *widths, activation="sigmoid", output="sigmoid", loss="cross-entropy", seed=0, dtype="float32", committee=1
):
    layers = ann.Recipe(hidden=widths[1:-1], activation=activation, output_activation=output, loss=loss).layer_list(
        widths[0], widths[-1]
    )
    return ann.NeuralNetwork(layers, loss, backend, seed, dtype, committee=committee)


def recipe_of(activation, output, loss, optimizer, **fields):
    """A small recipe with decay whose last batch is smaller, for data of 8 x 8 pixels."""
    return ann.Recipe(
        hidden=(12, 8),
        activation=activation,
        output_activation=output,
        loss=loss,
        optimizer=optimizer,
        learning_rate={"sgd": 0.1, "nesterov": 0.1, "rmsprop": 0.001}.get(optimizer, 0.01),
        weight_decay=0.01,
        batch_size=45,
        **fields,
    )


REGULARIZED = {
    "label_smoothing": 0.1,
    "dropout": 0.2,
    "input_dropout": 0.1,
    "clip": 0.5,
    "max_norm": 1.5,
    "average": 0.9,
}


@pytest.fixture
def folder_without_root():
    """An empty folder; during the test, even root has only the rights of an ordinary user, who owns the folder."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def idx_bytes(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def write_mnist_like(folder, train=300, test=100, size=8, seed=0, classes=10):
    """Four IDX files of a task that a small net learns: a bright square whose place is the label, and black below."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        labels = rng.integers(0, classes, count, dtype=np.uint8)
        images = rng.integers(0, 100, (count, size, size), dtype=np.uint8)
        images[:, 6:] = 0
        for image, label in zip(images, labels, strict=True):
            image[label // 4 * 2 : label // 4 * 2 + 2, label % 4 * 2 : label % 4 * 2 + 2] = 250
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images), mtime=0))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels), mtime=0))
    return folder


@pytest.fixture
def small_data(tmp_path):
    """A folder that scripts take for ``--data``."""
    return write_mnist_like(tmp_path / "small")
