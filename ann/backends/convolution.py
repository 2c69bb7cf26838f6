"""Convolution on the CPU, as passes in bands of rows; see ``bands``.

Copying all windows before one large product would be simpler. But they take k^2 times the memory of
the pictures, and writing and reading them takes longer than the product. Therefore each row of
results is computed from numbers in the cache, in one of two ways:

- The k rows of pixels that its windows cover are copied below each other, with all channels. The
  images are innermost in memory, so column b of all windows is then a view of this copy, a matrix.
  The row is the sum of k products, one for each b.
- With few channels, or a stride above 1, the windows of the row are copied. The row is one product.

Shapes are those of ``Backend.convolve``.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ann.backends.bands import Band, Calls, Pass
from ann.backends.base import windows_of
from ann.backends.blas import prepare_matmul

_FEW_ROWS = 24  # channels times k; with fewer, the windows of a row are copied
# OpenBLAS copies the factors into another order if a product has more multiplications than this, or
# more results if both factors have long rows. For a small product, this takes longer than it saves.
_MULTIPLICATIONS, _RESULTS = 1_000_000, 1_200
_WIDTH = 1024  # columns of results that fit into the first-level cache
_PER_NUMBER = 8  # multiplications in the time of an elementwise operation on one number


def convolution(
    pictures: np.ndarray, weight: np.ndarray, stride: int, out: np.ndarray
) -> Iterator[Pass]:
    """The passes out = W^T windows, one for each member of a committee."""
    for x, w, y in _members(out, pictures, weight):
        start = partial(_convolution, x, w, y, stride)
        work = w[..., 0].size * y.size // _PER_NUMBER
        yield Pass(start, out.shape[-3], [], [out], [pictures, weight], work)


def _convolution(
    x: np.ndarray, w: np.ndarray, y: np.ndarray, stride: int, share: int
) -> tuple[Calls, Band, Calls]:
    windows = _Windows(x, w, y, stride)
    order = windows.order(w)
    copy = np.empty_like(np.moveaxis(order, -1, 1), order="C")
    matrices = np.reshape(copy, (*copy.shape[:2], -1))

    def band(rows: range) -> Calls:
        calls: Calls = []
        for i in rows:
            copies, seen = windows.of_row(i)
            calls += copies
            for number, (matrix, pixels) in enumerate(zip(matrices, seen, strict=True)):
                calls += _product(matrix, pixels, _row(y, i), float(number > 0))
        return calls

    return [partial(np.copyto, np.moveaxis(copy, 1, -1), order)], band, []


def weight_gradient(
    pictures: np.ndarray, dy: np.ndarray, stride: int, out: np.ndarray, beta: float
) -> Iterator[Pass]:
    """The passes out = beta out + windows dy^T, one for each member of a committee."""
    for x, d, dw in _members(out, pictures, dy):
        start = partial(_weight_gradient, x, d, dw, stride, beta)
        work = dw[..., 0].size * d.size // _PER_NUMBER
        yield Pass(start, dy.shape[-3], [dy], [], [pictures], work, results=[out])


def _weight_gradient(
    x: np.ndarray, d: np.ndarray, dw: np.ndarray, stride: int, beta: float, share: int
) -> tuple[Calls, Band, Calls]:
    windows = _Windows(x, dw, d, stride)
    order = windows.order(dw)
    own = np.empty_like(order, order="C")
    matrices = np.reshape(own, (len(own), -1, own.shape[-1]))

    def band(rows: range) -> Calls:
        calls: Calls = []
        for i in rows:
            copies, seen = windows.of_row(i)
            calls += copies
            for matrix, pixels in zip(matrices, seen, strict=True):
                calls += _product(pixels, _row(d, i).T, matrix, 1.0)
        return calls

    return [partial(own.fill, 0)], band, _added(own, order, 1.0 if share else beta)


def row_product(
    row: np.ndarray, pictures: np.ndarray, out: np.ndarray, alpha: float, beta: float
) -> Iterator[Pass]:
    """The passes out = beta out + alpha row p^T, for a row (1, H W N) and ``out`` (..., 1, C).

    The matrix p (..., C, H W N) is a view of the pictures (..., C, H, W, N).
    """
    for index in np.ndindex(out.shape[:-2]):
        start = partial(_row_product, row, pictures[index], out[index], alpha, beta)
        work = 2 * pictures[index].size
        yield Pass(start, pictures.shape[-3], [pictures], [], [row], work, results=[out])


def _row_product(
    row: np.ndarray, p: np.ndarray, out: np.ndarray, alpha: float, beta: float, share: int
) -> tuple[Calls, Band, Calls]:
    own = np.empty_like(out, order="C")
    length = p.shape[-2] * p.shape[-1]

    def band(rows: range) -> Calls:
        part = row[:, rows.start * length : rows.stop * length]
        matrix = np.reshape(p[:, rows.start : rows.stop], (len(p), -1), copy=False)
        return _product(part, matrix.T, own, 1.0, alpha)

    return [partial(own.fill, 0)], band, _added(own, out, 1.0 if share else beta)


def input_gradient(
    weight: np.ndarray, dy: np.ndarray, stride: int, out: np.ndarray
) -> Iterator[Pass]:
    """The passes out = for each pixel, the sum of W dy over the windows that contain it."""
    for w, d, dx in _members(out, weight, dy):
        start = partial(_input_gradient, w, d, dx, stride)
        work = w[..., 0].size * d.size // _PER_NUMBER
        yield Pass(start, out.shape[-3], [], [out], [weight, dy], work)


def _input_gradient(
    w: np.ndarray, d: np.ndarray, dx: np.ndarray, stride: int, share: int
) -> tuple[Calls, Band, Calls]:
    below = _Rows(d)
    # Axes (b, C, a, F), with a reversed: a later row of dy meets an earlier row of W
    order = np.transpose(w, (2, 0, 1, 3))[:, :, ::-1]
    copy = np.empty_like(order, order="C")
    matrices = np.reshape(copy, (*copy.shape[:2], -1))

    def band(rows: range) -> Calls:
        return [call for row in rows for call in _input_row(row, below, matrices, dx, stride)]

    return [partial(np.copyto, copy, order)], band, []


def _input_row(
    row: int, below: "_Rows", matrices: np.ndarray, dx: np.ndarray, stride: int
) -> Calls:
    """Calls that compute a row of dx.

    ``matrices`` (k, C, k F) are W for each column b of a window, with its rows a reversed.
    ``below`` are the rows of dy.
    """
    kernel = len(matrices)
    height, filters, columns, count = below.tall.shape
    start, stop = max(0, -(-(row - kernel + 1) // stride)), min(row // stride + 1, height)
    calls: Calls = [partial(dx[:, row].fill, 0), *below.copies(start, stop)]
    length = max(stop - start, 0) if stride == 1 else 1  # rows of dy in a product
    for i in range(start, stop, length or 1):
        skipped = (kernel - 1 - (row - i * stride)) * filters
        for b, matrix in enumerate(matrices):
            factor = matrix[:, skipped : skipped + length * filters]
            seen = below.matrix(i, length)
            if stride == 1:
                calls += _product(
                    factor, seen, _row(dx, row)[:, b * count :][:, : seen.shape[1]], 1.0
                )
                continue
            for j in range(columns):
                place = _row(dx, row)[:, (j * stride + b) * count :][:, :count]
                calls += _product(factor, seen[:, j * count :][:, :count], place, 1.0)
    return calls


class _Rows:
    """Copies of the rows of pictures, each with all channels below each other.

    Attributes:
        tall: the copies (H, C, W, N).
    """

    def __init__(self, x: np.ndarray) -> None:
        self._rows = np.moveaxis(x, 1, 0)
        self.tall = np.empty_like(self._rows, order="C")
        self._copied = 0

    def copies(self, start: int, stop: int) -> Calls:
        """The calls that copy these rows, without those that were copied earlier."""
        start, self._copied = max(start, self._copied), max(stop, self._copied)
        if start >= stop:
            return []
        return [partial(np.copyto, self.tall[start:stop], self._rows[start:stop])]

    def matrix(self, start: int, count: int) -> np.ndarray:
        """The copies of some rows as a matrix (count C, W N)."""
        rows = self.tall[start : start + count]
        return np.reshape(rows, (rows.shape[0] * rows.shape[1], -1), copy=False)


class _Windows:
    """The windows of pictures x for each row of y, as one matrix or as k matrices."""

    def __init__(self, x: np.ndarray, w: np.ndarray, y: np.ndarray, stride: int) -> None:
        channels, kernel, _, _ = w.shape
        self._x, self._kernel, self._stride, self._columns = x, kernel, stride, y.shape[2]
        self._is_copied = stride > 1 or channels * kernel < _FEW_ROWS
        if self._is_copied:
            self._room = np.empty((channels, kernel, kernel, 1, *y.shape[2:]), dtype=x.dtype)
        else:
            self._rows = _Rows(x)

    def order(self, w: np.ndarray) -> np.ndarray:
        """W with an axis for the matrices, then axes in the order of their rows: a view."""
        return w[None] if self._is_copied else np.transpose(w, (2, 1, 0, 3))

    def of_row(self, i: int) -> tuple[Calls, Iterator[np.ndarray]]:
        """Calls that copy the pixels for row i of y, and the matrices (pixels, columns N)."""
        if self._is_copied:
            windows = windows_of(np, self._x[:, i * self._stride :], self._stride, like=self._room)
            matrix = np.reshape(self._room, (-1, self._columns * self._x.shape[-1]), copy=False)
            return [partial(np.copyto, self._room, windows)], iter([matrix])
        copies = self._rows.copies(i, i + self._kernel)
        pixels, count = self._rows.matrix(i, self._kernel), self._x.shape[-1]
        ranges = ((b * count, (b + self._columns) * count) for b in range(self._kernel))
        return copies, (pixels[:, slice(*edges)] for edges in ranges)


def _members(out: np.ndarray, *arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The parts of the arrays and of ``out`` for each member of a committee."""
    leading = out.shape[:-4]
    wide = [np.broadcast_to(array, (*leading, *array.shape[-4:])) for array in arrays]
    return (tuple(array[index] for array in (*wide, out)) for index in np.ndindex(leading))


def _row(pictures: np.ndarray, i: int) -> np.ndarray:
    """A row of pictures as a matrix (C, W N)."""
    return np.reshape(pictures[:, i], (len(pictures), -1), copy=False)


def _added(array: np.ndarray, out: np.ndarray, beta: float) -> Calls:
    """out = beta out + array."""
    if beta == 0.0:
        return [partial(np.copyto, out, array)]
    factor = np.asarray(beta, dtype=out.dtype)
    scaling = [] if beta == 1.0 else [partial(np.multiply, out, factor, out)]
    return [*scaling, partial(np.add, out, array, out)]


def _product(
    a: np.ndarray, b: np.ndarray, out: np.ndarray, beta: float, alpha: float = 1.0
) -> Calls:
    """out = beta out + alpha a b, in products so small that OpenBLAS does not copy factors."""
    (rows, inner), columns = a.shape, b.shape[1]
    most = min(_MULTIPLICATIONS // (rows * inner), _WIDTH)
    if b.strides[0] < b.strides[1]:
        most = min(most, _RESULTS // rows)
    width = most // 64 * 64 or most // 4 * 4 or columns  # OpenBLAS is faster for such widths
    parts = (slice(start, start + width) for start in range(0, columns, width))
    return [
        call
        for part in parts
        for call in prepare_matmul(a, b[:, part], out[:, part], alpha, beta, one_thread=True)
    ]
