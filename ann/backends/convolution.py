"""Prepares a convolution on the CPU as many small products of numbers that stay in the cache.

Copying all windows before one large product is simpler, but they take k^2 times the memory of the
pictures, and writing and reading them takes longer than the product. With the images innermost in
memory, one pixel (a, b) of the windows at all positions of a row is one long run of numbers in each
channel. So these runs are multiplied where they lie. Products over very few channels would be slow;
there, the windows of one row are copied.

Shapes as in ``Backend.convolve``. Each function returns lists of calls; the lists may run at the
same time.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ann.backends.blas import Call, prepare_matmul, processors
from ann.backends.windows import windows_of

Calls = list[Call]

FEW = 8  # channels; with fewer, the windows of a row are copied
_PRODUCT = 1_000_000  # multiplications; for more, OpenBLAS rearranges its arguments first
SHARED = 4_000_000  # multiplications; fewer are not divided among processors


def prepare_convolution(
    pictures: np.ndarray, weight: np.ndarray, stride: int, out: np.ndarray
) -> list[Calls]:
    """out = W^T windows."""
    lists: list[Calls] = []
    for x, w, y in _members(out, pictures, weight):
        for rows in _shares(y.shape[1], y, w):
            calls: Calls = []
            for factor, seen, place, is_first in _terms(x, w, y, stride, rows, calls):
                calls += _product(factor.T, seen, place, 0.0 if is_first else 1.0)
            lists.append(calls)
    return lists


def prepare_weight_gradient(
    pictures: np.ndarray, dy: np.ndarray, stride: int, out: np.ndarray, beta: float
) -> tuple[list[Calls], Calls]:
    """out = beta out + windows dy^T. The last calls follow when the lists are done."""
    lists: list[Calls] = []
    last: Calls = []
    for x, d, dw in _members(out, pictures, dy):
        factor = np.asarray(beta, dtype=dw.dtype)
        last.append(partial(np.multiply, dw, factor, dw) if beta else partial(dw.fill, 0))
        for rows in _shares(d.shape[1], d, dw):
            own = np.zeros_like(dw)
            calls: Calls = [partial(own.fill, 0)]
            for factor, seen, place, _ in _terms(x, own, d, stride, rows, calls):
                calls += _product(seen, place.T, factor, 1.0)
            lists.append(calls)
            last.append(partial(np.add, dw, own, dw))
    return lists, last


def prepare_input_gradient(
    weight: np.ndarray, dy: np.ndarray, stride: int, out: np.ndarray
) -> list[Calls]:
    """out = the sum of W dy over the windows that contain a pixel."""
    lists: list[Calls] = []
    for w, d, dx in _members(out, weight, dy):
        for rows in _shares(dx.shape[1], d, w):
            calls: Calls = []
            for row in rows:
                calls.append(partial(dx[:, row].fill, 0))
                for a in range(w.shape[1]):
                    i, rest = divmod(row - a, stride)
                    if rest or not 0 <= i < d.shape[1]:
                        continue
                    for seen, place in _pieces(dx, d[:, i], w, stride):
                        for b in range(w.shape[2]):
                            calls += _product(w[:, a, b], place, seen(row, b), 1.0)
            lists.append(calls)
    return lists


def _members(out: np.ndarray, *arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The arrays and ``out`` for each member of a committee, without the axes of members."""
    leading = out.shape[:-4]
    wide = [np.broadcast_to(array, (*leading, *array.shape[-4:])) for array in arrays]
    return (tuple(array[index] for array in (*wide, out)) for index in np.ndindex(leading))


def _shares(rows: int, y: np.ndarray, weight: np.ndarray) -> list[range]:
    """The rows in as many parts as there are processors, or in one if there is little to do."""
    parts = min(processors(), rows) if weight.size * y[0].size > SHARED else 1
    edges = [rows * number // parts for number in range(parts + 1)]
    return [range(*edge) for edge in itertools.pairwise(edges)]


def _terms(
    x: np.ndarray, w: np.ndarray, y: np.ndarray, stride: int, rows: range, calls: Calls
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, bool]]:
    """The products of y = W^T windows in these rows of y: a part of W, pixels of windows, a part of
    y, and whether it is the first for this part of y. Calls that copy the pixels join ``calls``.
    """
    channels, kernel, _, filters = w.shape
    if channels >= FEW:
        for i in rows:
            for seen, place in _pieces(x, y[:, i], w, stride):
                for a, b in np.ndindex(kernel, kernel):
                    yield w[:, a, b], seen(i * stride + a, b), place, a == b == 0
        return
    room = np.empty((channels, kernel, kernel, 1, *y.shape[2:]), dtype=x.dtype)
    columns = np.reshape(room, (channels * kernel * kernel, -1))
    matrix = np.reshape(w, (-1, filters), copy=False)
    for i in rows:
        windows = windows_of(np, x[:, i * stride :], stride, like=room)
        calls.append(partial(np.copyto, room, windows))
        place = np.reshape(y[:, i], (filters, -1), copy=False)
        for part in _parts(columns.shape[1], w.size):
            yield matrix, columns[:, part], place[:, part], True


def _pieces(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, stride: int
) -> Iterator[tuple[Callable[[int, int], np.ndarray], np.ndarray]]:
    """Matrices (F, numbers) that make up a row of y, each with a function of the row of x and the
    column of the windows: the matrix (C, numbers) of the pixels seen there.
    """
    channels, _, _, filters = w.shape
    columns, count = y.shape[1:]
    pictures = np.reshape(x, (*x.shape[:2], -1), copy=False)
    outputs = np.reshape(y, (filters, -1), copy=False)
    runs = [(0, columns)] if stride == 1 else [(j, 1) for j in range(columns)]
    for j, length in runs:
        for part in _parts(length * count, channels * filters):

            def seen(row: int, b: int, j: int = j, part: slice = part) -> np.ndarray:
                first = (b + j * stride) * count
                return pictures[:, row, first + part.start : first + part.stop]

            yield seen, outputs[:, j * count :][:, part]


def _parts(columns: int, size: int) -> list[slice]:
    """Slices of columns, which a matrix of this size multiplies in small products."""
    count = min(-(-columns * size // _PRODUCT), columns)
    edges = [columns * number // count for number in range(count + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray, beta: float) -> Calls:
    calls = prepare_matmul(a, b, out, 1.0, beta)
    if calls is None:
        raise ValueError("BLAS cannot multiply these arrays")
    return calls
