"""Direct calls of NumPy's own BLAS, which does in one pass over memory what NumPy does in three: C
= beta C + alpha A B, and y = beta y + alpha x. Only here does speed on the CPU cost readability;
the docstrings of ``prepare_matmul`` and ``prepare_axpby`` say what is computed.
"""

import ctypes
import functools
import importlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

Call = Callable[[], object]

_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112  # from cblas.h
_INT = ctypes.c_int64  # a BLAS with 32-bit integers reads the lower half
_REALS: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double}
_LETTERS = {"float32": "s", "float64": "d"}

# Multiplications in each part of a batched product, at least; with 1,000,000, OpenBLAS may crash:
# OpenBLAS PR 5980
_SAFE = 2_000_000
_ONE_THREAD = 262_144  # OpenBLAS gives each thread at least this many multiplications
_ROWS = 32  # in each part of a product, at least, if possible: OpenBLAS copies b for each part
_LARGE = 64_000_000  # for more multiplications, waiting hardly matters


def prepare_matmul(
    a: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    alpha: float,
    beta: float,
    *,
    one_thread: bool = False,
) -> list[Call] | None:
    """Calls that compute out = beta out + alpha (a @ b), or None if that is not possible here.

    The arrays are (..., M, K), (..., K, N), (..., M, N), of one dtype, and each matrix is stored by
    rows or by columns. The calls keep the arrays alive. ``one_thread``: whether OpenBLAS will run
    them in one thread.
    """
    library = _library()
    if library is None or not a.dtype == b.dtype == out.dtype or out.dtype.name not in _REALS:
        return None
    fits = (a.shape[-1], out.shape[-2:]) == (b.shape[-2], (a.shape[-2], b.shape[-1]))
    if not fits or not out.flags.writeable:
        return None
    leading = out.shape[:-2]
    if leading:
        a, b = (np.broadcast_to(array, (*leading, *array.shape[-2:])) for array in (a, b))
    calls: list[Call] = []
    for index in itertools.product(*map(range, leading)):
        left, right, result = a[index], b[index], out[index]
        if by_columns(result):  # (a b)^T = b^T a^T
            left, right, result = right.T, left.T, result.T
        if not all(map(row_step, (left, right, result))):
            return None
        size = *result.shape, left.shape[1]
        if not one_thread and beta == 0.0 and _long(library, *size):
            calls += _sum_of_products(library, left, right, result, alpha)
            continue
        for part in [slice(None)] if one_thread else _parts(*size):
            calls.append(prepare_product(left, right[:, part], result[:, part], alpha, beta))
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


def prepare_axpby(x: np.ndarray, out: np.ndarray, alpha: Any, beta: Any) -> list[Call] | None:
    """Calls that compute out = beta out + alpha x, or None if that is not possible here.

    alpha and beta are numbers, or 0-d arrays of the same dtype, which every call reads again.
    """
    library = _library()
    fits = x.shape == out.shape and x.dtype == out.dtype and out.flags.writeable
    if library is None or not fits or out.dtype.name not in _REALS:
        return None
    if not (x.flags.c_contiguous and out.flags.c_contiguous):  # such as parts of a committee
        if x.ndim == 1:
            return None
        rows = [prepare_axpby(*row, alpha, beta) for row in zip(x, out, strict=True)]
        return None if None in rows else [call for calls in rows for call in calls or ()]
    real, step = _REALS[out.dtype.name], _INT(1)
    plain = is_one(beta)  # then axpy, which uses all processors
    function = library[_LETTERS[out.dtype.name] + ("axpy" if plain else "axpby")]
    scale = () if plain else (_number(beta, real),)
    size, factor = _INT(out.size), _number(alpha, real)
    return [partial(function, size, factor, _address(x), step, *scale, _address(out), step)]


def is_one(factor: Any) -> bool:
    """Whether a factor is the number 1, and not an array, which may change."""
    return isinstance(factor, float) and factor == 1.0


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


def prepare_product(
    a: np.ndarray, b: np.ndarray, out: np.ndarray, alpha: float, beta: float
) -> Call:
    """One call that computes out = beta out + alpha (a @ b) for matrices; see ``prepare_matmul``.

    Raises:
        ValueError: BLAS cannot multiply these arrays.
    """
    if by_columns(out):  # (a b)^T = b^T a^T
        a, b, out = b.T, a.T, out.T
    library = _library()
    if library is None or not all(map(row_step, (a, b, out))):
        raise ValueError("BLAS cannot multiply these arrays")
    (rows, inner), columns, real = a.shape, b.shape[1], _REALS[out.dtype.name]
    return partial(
        library[_LETTERS[out.dtype.name] + "gemm"],
        *(_ROW_MAJOR, _order(a), _order(b), _INT(rows), _INT(columns), _INT(inner)),
        *(real(alpha), _address(a), _INT(row_step(a)), _address(b), _INT(row_step(b))),
        *(real(beta), _address(out), _INT(row_step(out))),
    )


def _long(library: dict[str, Any], rows: int, columns: int, inner: int) -> bool:
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
    return "sgemm_batch" in library and 2 <= count <= 4 and fits


def _sum_of_products(
    library: dict[str, Any], a: np.ndarray, b: np.ndarray, out: np.ndarray, alpha: float
) -> list[Call]:
    """out = the sum over parts p of alpha (a_p @ b_p), for parts of a's columns and of b's rows."""
    if a.shape[0] > b.shape[1] > 1:  # the kernels are faster on long rows
        a, b, out = b.T, a.T, out.T
    (rows, inner), columns, real = a.shape, b.shape[1], _REALS[out.dtype.name]
    parts = processors()
    edges = [inner * number // parts // 8 * 8 for number in range(parts)] + [inner]
    places = [slice(*edge) for edge in itertools.pairwise(edges)]
    sums = np.empty((parts, rows, columns), dtype=out.dtype)

    def each(kind: Any, value: Any) -> Any:
        return (kind * parts)(*[value] * parts)

    def addresses(arrays: Sequence[np.ndarray]) -> Any:
        found: Any = (ctypes.c_void_p * parts)(*(array.ctypes.data for array in arrays))
        found.arrays = arrays  # keeps them alive
        return found

    products = partial(
        library[_LETTERS[out.dtype.name] + "gemm_batch"],
        *(_ROW_MAJOR, each(ctypes.c_int, _order(a)), each(ctypes.c_int, _order(b))),
        *(each(_INT, rows), each(_INT, columns)),
        (_INT * parts)(*(place.stop - place.start for place in places)),
        *(each(real, alpha), addresses([a[:, place] for place in places])),
        *(each(_INT, row_step(a)), addresses([b[place] for place in places])),
        *(each(_INT, row_step(b)), each(real, 0.0), addresses(list(sums))),
        *(each(_INT, columns), _INT(parts), each(_INT, 1)),
    )
    adding = [partial(np.add, sums[0], sums[1], out)]
    return [products, *adding, *(partial(np.add, out, part, out) for part in sums[2:])]


def _order(matrix: np.ndarray) -> int:
    return _TRANSPOSED if by_columns(matrix) else _PLAIN


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


@functools.cache
def _thread_functions() -> tuple[Callable[[], int], Callable[[int], object]]:
    """OpenBLAS's functions that get and set its number of threads; without OpenBLAS, no effect."""
    core = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(core.__file__)
    for pattern in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads"):
        with suppress(AttributeError):
            return tuple(getattr(library, pattern.format(verb)) for verb in ("get", "set"))
    return lambda: 1, lambda count: None


def available() -> bool:
    """Whether NumPy's own BLAS can be called directly."""
    return _library() is not None


@functools.cache
def _library() -> dict[str, Any] | None:
    """The functions of NumPy's BLAS by short name, or None if one is missing."""
    try:
        core = importlib.import_module("numpy._core._multiarray_umath")
        library = ctypes.CDLL(core.__file__)  # its symbols include those of its BLAS
    except (ImportError, OSError):
        return None
    needed = ("sgemm", "saxpy", "saxpby", "dgemm", "daxpy", "daxpby")
    for pattern in ("scipy_cblas_{}64_", "cblas_{}64_", "cblas_{}"):
        # only where integers are known to have 64 bits can an array of them be passed
        batched = ("sgemm_batch", "dgemm_batch") if "64_" in pattern else ()
        functions = {
            name: getattr(library, pattern.format(name), None) for name in (*needed, *batched)
        }
        found: dict[str, Any] = {name: function for name, function in functions.items() if function}
        if all(name in found for name in needed):
            for function in found.values():
                function.restype = None
            return found
    return None
