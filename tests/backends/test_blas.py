"""NumPy's BLAS, called directly, against NumPy."""

import ctypes
import importlib.util
import itertools
import os
import weakref

import numpy as np
import pytest

from ann.backends import blas
from support import optional

SIZES = [
    (5, 4, 3),
    (1, 4, 3),
    (5, 1, 3),
    (5, 4, 1),
    (1, 1, 1),
    (70, 130, 90),
    (200, 785, 128),
    (128, 785, 100),
    (128, 129, 128),
]


@pytest.fixture(autouse=True)
def available():
    if not blas.available() and os.environ.get("ANN_REQUIRE_PEERS") != "1":
        pytest.skip("this NumPy's BLAS cannot be called directly")


def play(calls):
    for call in calls:
        call()


@pytest.mark.parametrize("rows", [1, 10, 32, 100, 128, 200, 1024])
@pytest.mark.parametrize("inner", [10, 33, 785])
def test_parts_in_which_threads_do_not_wait_for_each_other(rows, inner):
    for columns in (1, 10, 31, 32, 100, 127, 128, 200, 1000, 1025):
        a, b = np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32)
        out = np.zeros((rows, columns), np.float32)
        calls = blas.prepare_matmul(a, b, out, 1.0, 1.0)
        play(calls)
        assert (out == inner).all()  # each part once
        for call in calls:
            height, width, depth = (
                number.value for number in call.args[3:6]
            )  # as cblas_sgemm takes them
            work = height * width * depth
            assert width < height or work < 600_000 or work > 64_000_000, (columns, width)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orders", list(itertools.product("CF", repeat=3)), ids="".join)
def test_products(dtype, orders, rng):
    for m, k, n in SIZES:
        a, b, out = (
            np.asarray(rng.standard_normal(shape), dtype, order=order)
            for shape, order in zip(((m, k), (k, n), (m, n)), orders, strict=True)
        )
        expected = 0.5 * out + 2 * (a @ b)
        calls = blas.prepare_matmul(a, b, out, 2.0, 0.5)
        play(calls)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
        expected = 0.5 * out + 2 * (a @ b)
        play(calls)  # again, with what is there now
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [False, True])
def test_parts_of_matrices(columns, rng):
    """As in layers, which leave out a last row or column."""
    whole = [
        np.asarray(rng.random(shape), np.float32, order="F" if columns else "C")
        for shape in ((6, 8), (8, 5), (7, 6))
    ]
    a, b, out = whole[0][:, :-1], whole[1][:-1], whole[2][:-1, :-1]
    rest = whole[2][-1].copy(), whole[2][:, -1].copy()
    play(blas.prepare_matmul(a, b, out, 1.0, 0.0))
    np.testing.assert_allclose(out, a @ b, rtol=1e-5)
    np.testing.assert_array_equal(whole[2][-1], rest[0])
    np.testing.assert_array_equal(whole[2][:, -1], rest[1])


def is_batched(calls):
    return any("gemm_batch" in getattr(call.func, "__name__", "") for call in calls)


@pytest.fixture
def batched(monkeypatch):
    """Whether NumPy's BLAS has a batched product, for both types."""
    found = []
    with monkeypatch.context() as context:
        context.setattr(blas, "processors", lambda: 2)
        for dtype in ("float32", "float64"):
            a, b, out = (np.ones(shape, dtype) for shape in ((100, 785), (785, 128), (100, 128)))
            found.append(is_batched(blas.prepare_matmul(a, b, out, 1.0, 0.0)))
    assert all(found) or os.environ.get("ANN_REQUIRE_PEERS") != "1"
    return all(found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orders", list(itertools.product("CF", repeat=3)), ids="".join)
@pytest.mark.parametrize("processors", [1, 2, 3, 4, 16])
def test_long_products_in_parts_of_the_sum(monkeypatch, batched, processors, orders, dtype, rng):
    """Each part is large enough for the batched product of OpenBLAS, which crashes on small
    ones.
    """
    monkeypatch.setattr(blas, "processors", lambda: processors)
    m, k, n = 100, 785, 128
    a, b, out = (
        np.asarray(rng.standard_normal(shape), dtype, order=order)
        for shape, order in zip(((m, k + 3), (k, n + 2), (m, n + 1)), orders, strict=True)
    )
    a, b, out = a[:, 3:], b[:, 2:], out[:, 1:]
    calls = blas.prepare_matmul(a, b, out, 2.0, 0.0)
    assert is_batched(calls) == (batched and 2 <= processors <= 4)
    if is_batched(calls):
        assert len(calls) == processors  # one for the products, the others add
    for _ in range(2):
        np.copyto(out, np.nan)
        play(calls)
        np.testing.assert_allclose(out, 2 * (a @ b), rtol=1e-4, atol=1e-3)


def test_a_long_product_with_one_column_of_many(monkeypatch, rng):
    monkeypatch.setattr(blas, "processors", lambda: 2)
    a, b, out = rng.random((100, 50_000)), rng.random((50_000, 3))[:, 1:2], np.empty((100, 1))
    play(blas.prepare_matmul(a, b, out, 1.0, 0.0))
    np.testing.assert_allclose(out, a @ b, rtol=1e-12)


@pytest.mark.parametrize(
    "sizes", [(100, 785, 128), (20, 785, 128), (100, 300, 128), (10, 10_000, 10), (200, 785, 128)]
)
def test_no_part_of_a_batched_product_is_small(monkeypatch, sizes):
    rows, inner, columns = sizes
    a, b, out = np.ones((rows, inner)), np.ones((inner, columns)), np.ones((rows, columns))
    for processors in range(1, 20):
        monkeypatch.setattr(blas, "processors", lambda count=processors: count)
        if is_batched(blas.prepare_matmul(a, b, out, 1.0, 0.0)):
            assert rows * columns * (inner // processors - 8) > 1_000_000


def test_leading_axes_and_one_factor_for_all(rng):
    a, b = rng.random((4, 3)), rng.random((2, 3, 5))
    out = np.full((2, 4, 5), np.nan)
    play(blas.prepare_matmul(a, b, out, 1.0, 0.0))  # what is there is not read: it may be no number
    np.testing.assert_allclose(out, a @ b)


def uses_blas(calls):
    return any(isinstance(call.func, ctypes._CFuncPtr) for call in calls)


def test_what_it_leaves_to_numpy(rng):
    b, out = (rng.integers(1, 9, (4, 4)).astype(float) for _ in range(2))
    square = rng.random((4, 4))
    factors = {
        "another type": square.astype(np.float32),
        "gaps": rng.random((8, 8))[::2, ::2],
        "broadcast": np.broadcast_to(square[:1], (4, 4)),
        "reversed": square[::-1],
    }
    for name, a in factors.items():
        calls = blas.prepare_matmul(a, b, out, 2.0, 0.5)
        assert not uses_blas(calls), name
        expected = 0.5 * out + 2.0 * (a @ b)
        play(calls)
        np.testing.assert_allclose(out, expected, err_msg=name)
    for dtype in (int, ">f4"):
        whole, product = np.ones((4, 4), dtype), np.zeros((4, 4), dtype)
        calls = blas.prepare_matmul(whole, whole, product, 1.0, 0.0)
        assert not uses_blas(calls)
        play(calls)
        assert (product == 4).all()
    sums = {
        "a column": (out[:, 0], b[:, 0].copy()),
        "gaps": (out[:, ::2], b[:, ::2]),
        "other byte order": (out.astype(">f8"), b.astype(">f8")),
        "half precision": (out.astype(np.float16), b.astype(np.float16)),
    }
    for name, (x, y) in sums.items():
        for beta in (1.0, 0.5):
            calls = blas.prepare_axpby(x, y, 2.0, beta)
            assert not uses_blas(calls), name
            expected = beta * y + 2.0 * x
            play(calls)
            np.testing.assert_allclose(y, expected, err_msg=name)
    assert not uses_blas(blas.prepare_axpby(out.astype(np.float32), b, 1.0, 1.0))
    assert not uses_blas(blas.prepare_axpby(out.astype(int), b.astype(int), 1.0, 1.0))


def test_sizes_that_do_not_fit_are_an_error(rng):
    a, b, out = rng.random((4, 3)), rng.random((4, 5)), np.empty((4, 5))
    with pytest.raises(ValueError, match="mismatch"):
        play(blas.prepare_matmul(a, b, out, 1.0, 0.0))
    a.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        play(blas.prepare_matmul(np.eye(4), a, a, 1.0, 0.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keep", [1.0, 0.25])
@pytest.mark.parametrize("shape", [(1000,), (3, 40), (2, 3, 7)])
@pytest.mark.parametrize("whole", [True, False])
def test_sums(dtype, keep, shape, whole, rng):
    x, out = (
        rng.random((*shape[:-1], 1100)).astype(dtype)[..., 5 : shape[-1] + 5] for _ in range(2)
    )
    if whole:
        x, out = x.copy(), out.copy()
    scales = np.array([9.0, -2.0], dtype)
    calls = blas.prepare_axpby(x, out, scales[1, ...], keep)
    assert len(calls) == (1 if whole else np.prod(shape[:-1], dtype=int))
    for scale in (-2.0, 3.0):  # read anew by each call
        scales[1] = scale
        expected = keep * out + scale * x
        play(calls)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rows", "inner"), [(300, 300), (200, 1000)])
def test_calls_keep_their_arrays_alive(monkeypatch, rows, inner):
    monkeypatch.setattr(blas, "processors", lambda: 2)
    out = np.zeros((rows, 300))
    factors = [np.ones((rows, inner)), np.ones((inner, 300))]
    calls = blas.prepare_matmul(*factors, out, 1.0, 0.0)
    held = [weakref.ref(factor) for factor in factors]
    factors.clear()
    assert all(factor() is not None for factor in held)
    for _ in range(20):
        for shape in ((rows, inner), (inner, 300), (2, rows, 300)):
            np.full(shape, np.nan)  # would take the place of what had been let go
        play(calls)
    assert (out == inner).all()


def test_absent_without_the_functions(monkeypatch):
    class Empty:
        def __init__(self, path):
            pass

    monkeypatch.setattr("ctypes.CDLL", Empty)
    again = importlib.util.module_from_spec(blas.__spec__)  # a fresh module
    blas.__spec__.loader.exec_module(again)
    assert not again.available()
    a, b, out = np.ones((3, 4, 4))
    for prepare, arrays in ((again.prepare_matmul, (a, b)), (again.prepare_axpby, (a,))):
        calls = prepare(*arrays, out, 1.0, 1.0)
        assert not uses_blas(calls)
        play(calls)
    assert (out == 1 + 4 + 1).all()
    with again.one_thread():
        pass


def test_one_thread_ends_with_its_block():
    threadpoolctl = optional("threadpoolctl")

    def counts():
        pools = threadpoolctl.threadpool_info()
        return {
            pool["filepath"]: pool["num_threads"] for pool in pools if "numpy" in pool["filepath"]
        }

    before = counts()
    with pytest.raises(ZeroDivisionError), blas.one_thread():
        assert set(counts().values()) <= {1}
        _ = 1 / 0
    assert counts() == before
