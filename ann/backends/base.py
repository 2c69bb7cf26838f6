"""What the mathematics needs from a device. ``cpu`` and ``gpu`` do the same faster."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

Array = Any  # an array of the library ``xp``
HostArray = np.ndarray
Formula = Callable[..., Any]  # (xp, *arrays) -> an array, or several


class Backend:
    """An array library, transfers from and to the host, and a few operations.

    This base class writes them with ``xp`` alone, which defines what they mean.

    Attributes:
        name: "cpu" or "gpu".
        xp: the array library: NumPy, or one with the same array API.
        description: the device in words and, after "auto", why it was chosen.
    """

    def __init__(self, name: str, xp: Any, description: str = "") -> None:
        self.name, self.xp, self.description = name, xp, description

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backend":
        """The same object, since it stands for a device. scikit-learn copies parameters."""
        return self

    def from_host(self, array: np.ndarray) -> Array:
        """Copy a host array to the device (on a CPU, the memory may be shared). The only way in."""
        return array

    def to_host(self, array: Array) -> np.ndarray:
        """Copy a device array to the host, once it has been computed. The only way out."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """Wait until everything queued has been computed. Only timing needs this."""

    def ignore_overflow(self) -> AbstractContextManager[object]:
        """A context without NumPy's floating-point warnings: ``fit`` itself detects divergence."""
        return np.errstate(all="ignore")

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        """out = beta out + alpha (a @ b), for a (..., M, K), b (..., K, N), out (..., M, N)."""
        xp = self.xp
        if beta == 0.0:
            xp.matmul(a, b, out=out)
            if alpha != 1.0:
                xp.multiply(out, alpha, out=out)
            return
        product = xp.matmul(a, b)
        xp.multiply(product, alpha, out=product)
        xp.multiply(out, beta, out=out)
        xp.add(out, product, out=out)

    def copyto(self, array: Array, out: Array) -> None:
        """out = array, converted to the dtype of out. Conversion to integers truncates."""
        out[...] = self.xp.astype(array, out.dtype)

    def copy_all(self, pairs: Sequence[tuple[Array, Array]]) -> None:
        """out = array for each (array, out), of equal shapes and dtypes; not in a compiled step."""
        for array, out in pairs:
            out[...] = array

    def split(self, vector: Array, shapes: Iterable[tuple[int, ...]]) -> list[Array]:
        """A view (..., *shape) of the next numbers of a vector (..., P), for each shape."""
        views, start = [], 0
        for shape in shapes:
            stop = start + math.prod(shape)
            full = (*vector.shape[:-1], *shape)
            views.append(self.xp.reshape(vector[..., start:stop], full, copy=False))
            start = stop
        return views

    def contiguous(self, array: Array, room: Array) -> Array:
        """The array, or a copy of it in ``room`` if its numbers are not in order in memory."""
        flags = getattr(array, "flags", None)
        if flags is not None and flags.c_contiguous:
            return array
        self.copyto(array, out=room)
        return room

    def convolve(self, pictures: Array, weight: Array, stride: int, out: Array) -> None:
        """out[f, i, j, n] = the sum over c, a, b of
        weight[c, a, b, f] pictures[c, i stride + a, j stride + b, n].

        The arrays are pictures (..., C, H, W, N), weights (..., C, k, k, F) and out (..., F, rows,
        columns, N), each in order in memory: the result at each position (i, j) of a window.
        Leading axes are members of a committee, which may share pictures.
        """
        windows = self._windows(pictures, weight, out)
        self.copy_windows(pictures, stride, out=windows)
        w, x, y = self._matrices(weight, windows, out)
        self.matmul(w.mT, x, out=y)

    def convolution_weights(
        self, pictures: Array, dy: Array, stride: int, out: Array, beta: float = 0.0
    ) -> None:
        """out = beta out + dL/dweight of ``convolve``, for dy = dL/dout."""
        windows = self._windows(pictures, out, dy)
        self.copy_windows(pictures, stride, out=windows)
        dw, x, dy = self._matrices(out, windows, dy)
        self.matmul(x, dy.mT, out=dw, beta=beta)

    def convolution_inputs(self, weight: Array, dy: Array, stride: int, out: Array) -> None:
        """out = dL/dpictures of ``convolve``, for dy = dL/dout."""
        windows = self._windows(out, weight, dy)
        w, dx, dy = self._matrices(weight, windows, dy)
        self.matmul(w, dy, out=dx)
        self.add_windows(windows, stride, out=out)

    def _windows(self, pictures: Array, weight: Array, y: Array) -> Array:
        """An array for the windows (..., C, k, k, rows, columns, N) of a convolution."""
        shape = (*pictures.shape[:-3], *weight.shape[-3:-1], *y.shape[-3:])
        return self.xp.empty(shape, dtype=pictures.dtype)

    def _matrices(self, weight: Array, windows: Array, y: Array) -> Iterator[Array]:
        """Views as matrices (..., C k k, F), (..., C k k, P N) and (..., F, P N)."""
        for array, rows, columns in ((weight, 3, 1), (windows, 3, 3), (y, 1, 3)):
            leading = array.shape[: -rows - columns]
            size = math.prod(array.shape[-columns:])
            yield self.xp.reshape(array, (*leading, -1, size), copy=False)

    def copy_windows(self, pictures: Array, stride: int, out: Array) -> None:
        """out[..., a, b, i, j, :] = pictures[..., i stride + a, j stride + b, :].

        These are the windows (..., k, k, rows, columns, N) of pictures (..., H, W, N): each pixel
        (a, b) of a window, at all positions (i, j).
        """
        self.copyto(windows_of(self.xp, pictures, stride, like=out), out=out)

    def add_windows(self, windows: Array, stride: int, out: Array) -> None:
        """out = 0, then out[..., i stride + a, j stride + b, :] += windows[..., a, b, i, j, :].

        The adjoint of ``copy_windows``: a pixel becomes the sum over the windows that contain it.
        """
        self.copyto(self.xp.zeros((), dtype=out.dtype), out=out)
        for part, seen in pixels_of(out, windows, stride):
            self.xp.add(part, seen, out=part)

    def elementwise(self, function: Formula, *arrays: Any, out: Any) -> None:
        """out = function(xp, *arrays), for a formula of elementwise operators and functions.

        A backend may compile a function once and keep the result. So a function should take
        hyperparameters and arrays as arguments, and be defined once, not anew in each training run.

        Args:
            function: (xp, *arrays) -> an array, or a tuple of arrays if ``out`` is a tuple. It has
                no side effects. Sums and maxima along the last axis are possible, but slower.
            arrays: device arrays that broadcast to the shape of ``out``, and Python numbers. When a
                compiled step is replayed, 0-d arrays are read again, like all arrays.
            out: an array, or a tuple of arrays, where the results go. They may be among ``arrays``,
                because they are written last.
        """
        results = function(self.xp, *arrays)
        if not isinstance(out, tuple):
            self.copyto(results, out=out)
            return
        # copies, because a result may be an argument, which lies where another result goes
        copies = [self.xp.asarray(result, copy=True) for result in results]
        for copy, target in zip(copies, out, strict=True):
            self.copyto(copy, out=target)

    def share(self, function: Callable[[slice], None], count: int) -> None:
        """Call function(part) for slices that together are slice(0, count), perhaps in threads."""
        function(slice(0, count))

    def call(self, function: Callable[[], None]) -> None:
        """Call a function that is not arithmetic, such as an all-reduce, and record the call."""
        function()

    def recorder(self) -> "Backend":
        """A backend for the same device that can compile a step: record it and replay it."""
        return self

    def compile(self, function: Callable[[], None]) -> Callable[[], object]:
        """Call the function, and return one that repeats it on the same arrays, read anew.

        The function may call ``xp`` and the methods above, with results in arrays that persist:
        given as ``out``, or kept by the caller. Operators, such as a + b, and values read from
        arrays are not recorded.
        """
        function()
        return function


def pixels_of(pictures: Array, windows: Array, stride: int) -> Iterator[tuple[Array, Array]]:
    """For each pixel (a, b) of a window, in all windows: views (..., rows, columns, N) of it in
    the pictures and in the windows.
    """
    rows, columns = (stride * (count - 1) + 1 for count in windows.shape[-3:-1])
    for a, b in np.ndindex(windows.shape[-5:-3]):
        seen = pictures[..., a : a + rows : stride, b : b + columns : stride, :]
        yield seen, windows[..., a, b, :, :, :]


def windows_of(xp: Any, pictures: Array, stride: int, like: Array) -> Array:
    """The windows (..., k, k, rows, columns, N) of pictures (..., H, W, N), as a view.

    Args:
        xp: NumPy or CuPy.
        pictures: the pictures.
        stride: the distance between windows.
        like: an array of the shape of the result.
    """
    *leading, down, right, image = pictures.strides
    strides = (*leading, down, right, stride * down, stride * right, image)
    return xp.lib.stride_tricks.as_strided(pictures, like.shape, strides)
