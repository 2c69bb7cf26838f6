"""Fixtures for the tests of several rooms."""

import gc
import itertools
import os
import signal
import sys
import tempfile
from pathlib import Path

if (
    "PYTEST_XDIST_WORKER_COUNT" in os.environ
):  # several at a time share the processors; read when NumPy is imported
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, share)))

import hypothesis
import numpy as np
import pytest

import ann
from ann.backends.gpu import GpuBackend
from support import STARTED
from support.backends import BACKENDS, make_backend
from support.digits import write_mnist_like
from support.fake_cupy import pretend_cublas, pretend_cupy

os.environ["MPLBACKEND"] = "agg"  # no test opens a window
os.fsync = lambda descriptor: None  # no test cuts the power, and a disk takes 10 ms for each file
hypothesis.settings.register_profile("untimed", deadline=None)  # other work may slow any test
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Divide the tests evenly among the workers; an idle worker takes tests from the others."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Give each worker its slow tests first, so that none is left with a long test at the end."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    if workers > 1:
        items.clear()
        for worker in range(workers):
            for tests in (slow, quick):
                start, stop = (len(tests) * number // workers for number in (worker, worker + 1))
                items += tests[start:stop]


def pytest_collection_finish():
    """Hide imported objects from the garbage collector, which some tests call often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=BACKENDS)
def backend(request):
    return make_backend(request.param)


@pytest.fixture(params=itertools.combinations(BACKENDS, 2), ids="-".join)
def backend_pair(request):
    return [make_backend(name) for name in request.param]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As after the & of a script. Programs inherit it, and tests that send them Ctrl-C would wait in
    # vain.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def folder_without_root():
    """An empty folder. During the test, even root has only the rights of its owner, an ordinary
    user.
    """
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


@pytest.fixture(scope="session")
def mnist():
    return ann.load_dataset("mnist")


@pytest.fixture(scope="module")
def dataset(request, tmp_path_factory):
    """A data set of 170 training images, or a module's TRAIN_IMAGES, and 100 test images, 8 x 8."""
    train = getattr(request.module, "TRAIN_IMAGES", 170)
    folder = tmp_path_factory.mktemp("data") / "small"
    return ann.load_dataset(write_mnist_like(folder, train=train))


@pytest.fixture
def small_data(tmp_path):
    """A folder for ``--data``."""
    return write_mnist_like(tmp_path / "small")


@pytest.fixture
def pretended(monkeypatch):
    """A function that installs a pretended GPU and returns its backend and its cuBLAS."""

    def install(precision="float32", **options):
        cupy = pretend_cupy(**options)
        cublas = pretend_cublas(cupy)
        monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", cublas)
        return GpuBackend(cupy, "pretended", precision), cublas

    return install
