"""Direct calls of NumPy's own BLAS, which does in one pass over memory what NumPy does in three: C
= beta C + alpha A B, and y = beta y + alpha x. Only here does speed on the CPU cost readability;
the docstrings of ``prepare_matmul`` and ``prepare_axpby`` say what is computed.
"""

import ctypes
import importlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ann.backends.base import Backend

Call = Callable[[], object]

_NUMPY = Backend("cpu", np)

_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112  # from cblas.h
_INT = ctypes.c_int64  # a BLAS with 32-bit integers reads the lower half

# Multiplications in each part of a batched product, at least; with 1,000,000, OpenBLAS may crash:
# OpenBLAS PR 5980
_SAFE = 2_000_000
_ONE_THREAD = 262_144  # OpenBLAS gives each thread at least this many multiplications
_ROWS = 32  # in each part of a product, at least, if possible: OpenBLAS copies b for each part
_LARGE = 64_000_000  # for more multiplications, waiting hardly matters


class _Blas(NamedTuple):
    """The functions of NumPy's BLAS for one type of numbers."""

    real: Any
    gemm: Any
    axpy: Any
    axpby: Any
    gemm_batch: Any = None


def prepare_matmul(
    a: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    alpha: float,
    beta: float,
    *,
    one_thread: bool = False,
) -> list[Call]:
    """Calls that compute out = beta out + alpha (a @ b), with NumPy if BLAS cannot.

    The arrays are (..., M, K), (..., K, N), (..., M, N). BLAS needs arrays of one dtype, and each
    matrix stored by rows or by columns. The calls keep the arrays alive. ``one_thread``: whether
    OpenBLAS will run them in one thread.
    """
    blas = _blas_for(a, b, out)
    fits = (a.shape[-1], out.shape[-2:]) == (b.shape[-2], (a.shape[-2], b.shape[-1]))
    if not blas or not fits:
        return [partial(_NUMPY.matmul, a, b, out, alpha, beta)]
    leading = out.shape[:-2]
    a, b = (np.broadcast_to(array, (*leading, *array.shape[-2:])) for array in (a, b))
    calls: list[Call] = []
    for index in np.ndindex(leading):
        left, right, result = a[index], b[index], out[index]
        if by_columns(result):  # (a b)^T = b^T a^T
            left, right, result = right.T, left.T, result.T
        size = *result.shape, left.shape[1]
        if not all(map(row_step, (left, right, result))):
            calls.append(partial(_NUMPY.matmul, left, right, result, alpha, beta))
        elif not one_thread and beta == 0.0 and _long(blas, *size):
            calls += _sum_of_products(blas, left, right, result, alpha)
        else:
            for part in [slice(None)] if one_thread else _parts(*size):
                product = _product(blas, left, right[:, part], result[:, part], alpha, beta)
                calls.append(partial(blas.gemm, _ROW_MAJOR, *product))
    return calls


def divide_product(
    a: np.ndarray, b: np.ndarray, out: np.ndarray, parts: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The factors and the result of each part of out = a @ b.

    A part is some rows of ``out``, or some columns if it is stored by columns or has few rows.
    """
    rows, columns = out.shape[-2:]
    by_rows = not by_columns(out) and (rows >= _ROWS * parts or rows >= columns)
    places = equal_parts(rows if by_rows else columns, parts)
    if by_rows:
        return [(a[..., place, :], b, out[..., place, :]) for place in places]
    return [(a, b[..., place], out[..., place]) for place in places]


def prepare_axpby(x: np.ndarray, out: np.ndarray, alpha: Any, beta: Any) -> list[Call]:
    """Calls that compute out = beta out + alpha x, with NumPy if BLAS cannot.

    The arrays have the same shape and dtype. alpha and beta are numbers, or 0-d arrays of that
    dtype, which every call reads again.
    """
    blas, parts = _blas_for(x, out), _contiguous_parts(x, out)
    is_plain = isinstance(beta, float) and beta == 1.0  # an array may change
    if not blas or not parts:
        scaled = np.empty_like(x)
        scaling = [] if is_plain else [partial(np.multiply, out, beta, out)]
        return [partial(np.multiply, x, alpha, scaled), *scaling, partial(np.add, out, scaled, out)]
    function, scale = (blas.axpy, ()) if is_plain else (blas.axpby, (_number(beta, blas.real),))
    factor, step = _number(alpha, blas.real), _INT(1)
    return [
        partial(function, _INT(to.size), factor, _address(part), step, *scale, _address(to), step)
        for part, to in parts
    ]


def _contiguous_parts(x: np.ndarray, out: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both arrays in parts, such as the members of a committee, that are in order in memory."""
    if x.flags.c_contiguous and out.flags.c_contiguous:
        return [(x, out)]
    if x.ndim <= 1:
        return []
    return [part for row in zip(x, out, strict=True) for part in _contiguous_parts(*row)]


def _parts(rows: int, columns: int, inner: int) -> list[slice]:
    """Slices of the columns of a product, small enough that threads do not wait for each other.

    If there are at least as many columns as rows, OpenBLAS divides the columns among its threads
    (interface/level3_thread.c), and after each block a thread spins until the others have read it.
    If another program has one of the processors, that takes a time slice of the scheduler: two
    training runs at once took up to thirty times as long. Slices with fewer columns than rows, or
    too small for a second thread, avoid this.
    """
    products = rows * columns * inner
    if columns < rows or not 2 * _ONE_THREAD <= products <= _LARGE:
        return [slice(None)]
    width = max(rows - 1, 2 * _ONE_THREAD // (rows * inner), 1)
    count = -(-columns // width)
    return equal_parts(columns, count)


def equal_parts(length: int, count: int) -> list[slice]:
    """Divide an axis of this length into ``count`` slices of about equal length."""
    edges = [length * number // count for number in range(count + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def _product(
    blas: _Blas, a: np.ndarray, b: np.ndarray, out: np.ndarray, alpha: float, beta: float
) -> tuple[Any, ...]:
    """BLAS's arguments for out = beta out + alpha (a @ b), with matrices and ``out`` by rows."""
    orders = (_TRANSPOSED if by_columns(array) else _PLAIN for array in (a, b))
    sizes = (_INT(size) for size in (*out.shape, a.shape[1]))
    described = [(_address(array), _INT(row_step(array))) for array in (a, b, out)]
    factors = *described[0], *described[1]
    return (*orders, *sizes, blas.real(alpha), *factors, blas.real(beta), *described[2])


def _long(blas: _Blas, rows: int, columns: int, inner: int) -> bool:
    """Whether to split a product along its inner dimension, with one part for each processor.

    Each processor then reads only its own part of both factors; OpenBLAS makes each read one of
    them completely. For (100, 785) x (785, 128) on two processors this saves an eighth of the time.
    It does not pay for large results, which have to be added up. More than four processors are
    untested.
    """
    count = processors()
    fits = (
        rows * columns * inner >= count * _SAFE
        and rows * columns <= 2**16
        and inner >= 2 * max(rows, columns)
    )
    return bool(blas.gemm_batch) and 2 <= count <= 4 and fits


def _sum_of_products(
    blas: _Blas, a: np.ndarray, b: np.ndarray, out: np.ndarray, alpha: float
) -> list[Call]:
    """out = the sum over parts p of alpha (a_p @ b_p), for parts of a's columns and of b's rows."""
    if a.shape[0] > b.shape[1] > 1:  # the kernels are faster on long rows
        a, b, out = b.T, a.T, out.T
    parts, inner = processors(), a.shape[1]
    edges = [inner * number // parts // 8 * 8 for number in range(parts)] + [inner]
    places = [slice(*edge) for edge in itertools.pairwise(edges)]
    sums = np.empty((parts, *out.shape), dtype=out.dtype)
    each = [
        _product(blas, a[:, place], b[place], part, alpha, 0.0)
        for place, part in zip(places, sums, strict=True)
    ]
    kinds: list[Any] = [ctypes.c_int, ctypes.c_int, *map(type, each[0][2:])]
    arguments = [(kind * parts)(*one) for kind, *one in zip(kinds, *each, strict=True)]
    arguments[0].each = each  # keeps the arrays alive
    sizes = _INT(parts), (_INT * parts)(*[1] * parts)
    products = partial(blas.gemm_batch, _ROW_MAJOR, *arguments, *sizes)
    adding = [partial(np.add, out, part, out) for part in sums[2:]]
    return [products, partial(np.add, sums[0], sums[1], out), *adding]


def _blas_for(*arrays: np.ndarray) -> _Blas | None:
    """BLAS for arrays, of which it writes to the last; None if it cannot."""
    *read, written = arrays
    fits = written.flags.writeable and all(array.dtype == written.dtype for array in read)
    return _library().get(written.dtype) if fits else None


def by_columns(matrix: Any) -> bool:
    """Whether a matrix (..., M, N) is stored column by column, not row by row."""
    (rows, columns), (outer, inner) = matrix.shape[-2:], matrix.strides[-2:]
    follow = outer == matrix.itemsize if rows > 1 else columns > 1  # a single row may have gaps
    return bool(follow and inner != matrix.itemsize)


def row_step(matrix: Any) -> int:
    """The distance between rows (columns, if stored by columns) in numbers; 0 if they have gaps."""
    matrix = matrix.mT if by_columns(matrix) else matrix
    (rows, columns), (outer, inner) = matrix.shape[-2:], matrix.strides[-2:]
    size = matrix.itemsize
    if (columns > 1 and inner != size) or (rows > 1 and (outer < size * columns or outer % size)):
        return 0
    return int(max(outer // size if rows > 1 else 1, columns, 1))


def processors() -> int:
    """How many processors to use: all that this process may use, up to 8 or BLAS's own limit."""
    affinity = getattr(os, "sched_getaffinity", None)  # on Linux
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    told = (os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"))
    limits = (int(number) for number in told if number.isdecimal() and int(number) > 0)
    return min(count, 8, *limits)


def _number(value: Any, real: Any) -> Any:
    return real.from_buffer(value) if isinstance(value, np.ndarray) else real(value)


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)  # keeps the array alive


@contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenBLAS compute in the thread that calls it, while the caller has threads of its own.

    OpenBLAS's threads go on to spin for some 20 ms after a product, and so would keep a processor
    from the caller's threads.
    """
    get, set_number = _thread_functions()
    count = get()
    try:
        if count > 1:
            set_number(1)
        yield
    finally:
        if count > 1:
            set_number(count)


def available() -> bool:
    """Whether NumPy's own BLAS can be called directly."""
    return bool(_library())


@cache
def _library() -> dict[np.dtype, _Blas]:
    """NumPy's BLAS by dtype; empty if a function is missing."""
    found, of_64_bits = {}, ("scipy_cblas_{}64_", "cblas_{}64_")
    for letter, real in (("s", ctypes.c_float), ("d", ctypes.c_double)):
        names = [f"{letter}{name}" for name in ("gemm", "axpy", "axpby")]
        # Only if integers are known to have 64 bits can an array of them be passed
        functions = _functions([*names, f"{letter}gemm_batch"], *of_64_bits)
        functions = functions or _functions(names, *of_64_bits, "cblas_{}")
        for function in functions:
            function.restype = None
        if functions:
            found[np.dtype(real)] = _Blas(real, *functions)
    return found


@cache
def _thread_functions() -> tuple[Callable[[], int], Callable[[int], object]]:
    """OpenBLAS's functions that get and set its number of threads; without OpenBLAS, no effect."""
    patterns = "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads"
    get, set_number = _functions(["get", "set"], *patterns) or (lambda: 1, lambda count: None)
    return get, set_number


def _functions(names: Sequence[str], *patterns: str) -> list[Any]:
    """NumPy's functions with these names in the first pattern that all have; [] if none has."""
    core = importlib.import_module("numpy._core._multiarray_umath")
    try:
        library = ctypes.CDLL(core.__file__)  # its symbols include those of its BLAS
    except OSError:
        return []
    for pattern in patterns:
        found = [getattr(library, pattern.format(name), None) for name in names]
        if all(found):
            return found
    return []
