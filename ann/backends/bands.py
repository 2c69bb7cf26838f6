"""Loop fusion for pictures: several operations run together on one band of rows after another.

A training step passes over the same pictures many times: convolution, bias, activation, pooling.
The pictures are larger than the cache, so each pass alone would wait for memory. In many passes, a
row of results needs only the same rows of the pictures that other passes write. Such passes are
collected. Then all of them process one band of rows, which stays in the cache, before the next
band. The processors share the bands.

Pictures are (..., C, H, W, N), as in ``Backend.convolve``. Rows are the axis H.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.backends.blas import Call, processors
from ann.backends.elementwise import by_element, prepare

Calls = list[Call]
Band = Callable[[range], Calls]

# Bytes of a band at most. Smaller bands fit into a smaller cache, but need more calls from Python
_CACHE = 2_000_000
# Work on at least this many numbers is shared: starting it in another thread takes up to 0.1 ms
SHARED = 500_000


@dataclass
class Pass:
    """A pass over pictures.

    Attributes:
        start: takes the number of a processor. It returns the calls to make first, a function that
            returns the calls for a band of rows, and the calls to make when all processors are
            done. The function is called for adjacent bands, from the first row to the last.
        rows: the number of rows.
        reads, writes: pictures with this number of rows or a multiple of it. A band reads and
            writes only its own rows of them.
        whole: arrays of which a band may read everything. No pass in the same bands writes them.
        results: arrays that the calls at the end write.
        numbers: the work: how many numbers an elementwise operation reads and writes in that time.
    """

    start: Callable[[int], tuple[Calls, Band, Calls]]
    rows: int
    reads: Sequence[np.ndarray]
    writes: Sequence[np.ndarray]
    whole: Sequence[np.ndarray]
    numbers: int
    results: Sequence[np.ndarray] = ()

    @property
    def split(self) -> list[np.ndarray]:
        """The pictures that are processed in bands."""
        return [*self.reads, *self.writes]


class Bands:
    """Passes that can run together, band by band.

    Attributes:
        are_used: whether a pass was ever added.
    """

    def __init__(self) -> None:
        self.are_used = False
        # (address, size) of the arrays of all passes -> the array, and its shape as pictures
        self._pictures: dict[tuple[int, int], tuple[np.ndarray, tuple[int, ...]]] = {}
        self._passes: list[Pass] = []

    def __bool__(self) -> bool:
        return bool(self._passes)

    def add(self, one: Pass) -> bool:
        """Add a pass and return True; or False if it cannot run in the same bands as the others.

        That is so if the numbers of rows do not fit, or if a pass needs more rows of what another
        one writes than those of its band.
        """
        passes = [*self._passes, one]
        split = [array for each in passes for array in each.split]
        places = {(_owner(array), _position(array)) for array in split}
        owners = set(map(_owner, split))
        written = {_owner(array) for each in passes for array in each.writes}
        results = {_owner(array) for each in passes for array in each.results}
        whole = {_owner(array) for each in passes for array in each.whole}
        rows = [each.rows for each in passes]
        fits = (
            math.gcd(*rows) >= min(processors(), *rows)
            and len(places) == len(owners)
            and not written & whole
            and not results & (whole | owners)  # with a single row, a mean looks like a picture
        )
        if fits:
            self.are_used = True
            self._passes = passes
            for array in one.split:
                self._pictures[array.ctypes.data, array.size] = array, array.shape
        return fits

    def take(self) -> tuple[list[Calls], Calls]:
        """Lists of calls that may run at the same time, and calls to make when they are done.

        Removes all passes.
        """
        common = math.gcd(*(one.rows for one in self._passes))
        shares = processors() if sum(one.numbers for one in self._passes) >= SHARED else 1
        sizes = {_owner(array): _root(array).nbytes for one in self._passes for array in one.split}
        count = _band_count(common, shares, sum(sizes.values()))
        shares = min(shares, count)
        lists: list[Calls] = []
        last: Calls = []
        for share in range(shares):
            started = [one.start(share) for one in self._passes]
            calls = [call for first, _, _ in started for call in first]
            for number in range(count * share // shares, count * (share + 1) // shares):
                for one, (_, band, _) in zip(self._passes, started, strict=True):
                    edges = (one.rows * edge // count for edge in (number, number + 1))
                    calls += band(range(*edges))
            last += [call for _, _, after in started for call in after]
            lists.append(calls)
        self._passes = []
        return lists, last

    def elementwise(
        self, function: Callable[..., Any], arrays: Sequence[Any], outs: Sequence[np.ndarray]
    ) -> Pass | None:
        """The pass outs = function(np, *arrays); see ``Backend.elementwise``.

        The arrays are pictures, or views of them as rows or as a matrix. Returns None for other
        arrays, or if the function cannot be computed in bands.
        """
        seen = outs[0].shape
        shape = next(filter(None, map(self._shape, (*outs, *arrays))), None)
        if shape is None or any(out.shape != seen for out in outs):
            return None
        # Pictures or rows, but not the channels (..., C, P, N) of dropout
        if len(seen) not in (len(shape), len(shape) - 2):
            return None
        try:
            views = [_as_pictures(array, seen, shape) for array in (*arrays, *outs)]
            inputs, results = views[: len(arrays)], views[len(arrays) :]
            if not by_element(function, inputs):
                return None
        except Exception:  # the function is wrong, or the order of an array differs
            return None
        one = _elementwise(function, inputs, results)
        return one if Bands().add(one) else None  # it may read and write different rows of an array

    def pictures(self, matrix: np.ndarray) -> np.ndarray | None:
        """The pictures (..., C, H, W, N) of which a matrix (..., H W N, C) is a view; or None."""
        shape = self._shape(matrix)
        if shape is None or (len(shape), shape[-4]) != (matrix.ndim + 2, matrix.shape[-1]):
            return None
        if not matrix.mT.flags.c_contiguous:
            return None
        return np.reshape(matrix.mT, shape, copy=False)

    def _shape(self, array: Any) -> tuple[int, ...] | None:
        """The shape (..., C, H, W, N) of the pictures of which an array is a view, or None."""
        if not self.are_used or not isinstance(array, np.ndarray) or array.ndim < 2:
            return None
        if array.ndim >= 4:
            return tuple(array.shape)
        return self._pictures.get((array.ctypes.data, array.size), (None, None))[1]


def _as_pictures(array: Any, seen: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """An array as pictures, a view; ``seen`` is the shape in which the pictures are given.

    Numbers and smaller pictures are returned unchanged. A row with a number for each channel
    becomes (..., C, 1, 1, 1).
    """
    if not isinstance(array, np.ndarray) or array.ndim == 0 or (array.ndim >= 4 and seen == shape):
        return array
    if array.shape == seen:
        return np.reshape(array.mT, shape, copy=False)
    if array.shape[-2:] != (1, shape[-4]) or seen[-1] != shape[-4]:
        raise ValueError("an array is broadcast in another way")
    return array.mT[..., None, None]


def _elementwise(
    function: Callable[..., Any], arrays: Sequence[Any], outs: Sequence[np.ndarray]
) -> Pass:
    height = outs[0].shape[-3]

    def is_split(array: Any) -> bool:
        return isinstance(array, np.ndarray) and array.ndim > 0 and array.shape[-3] == height

    def start(_: int) -> tuple[Calls, Band, Calls]:
        rooms: list[np.ndarray] = []

        def band(rows: range) -> Calls:
            def own(arrays: Sequence[Any]) -> list[Any]:
                part = (..., slice(rows.start, rows.stop), slice(None), slice(None))
                return [array[part] if is_split(array) else array for array in arrays]

            return prepare(function, own(arrays), own(outs), rooms)

        return [], band, []

    read = [array for array in arrays if isinstance(array, np.ndarray)]
    return Pass(
        start,
        height,
        reads=[array for array in read if is_split(array)],
        writes=outs,
        whole=[array for array in read if not is_split(array)],
        numbers=sum(array.size for array in (*read, *outs)),
    )


def _band_count(rows: int, shares: int, size: int) -> int:
    """The smallest number of equal bands, a divisor of ``rows``, that fit into the cache."""
    divisors = [count for count in range(1, rows + 1) if rows % count == 0]
    fair = [count for count in divisors if count % shares == 0] or divisors
    return next((count for count in fair if size <= count * _CACHE), fair[-1])


def _owner(array: np.ndarray) -> int:
    """An identifier of the memory that contains the array."""
    return id(_root(array))


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _position(array: np.ndarray) -> tuple[int, ...]:
    """Equal for arrays of the same memory whose rows are at the same offsets in it."""
    channel, row = array.strides[-4:-2]
    height = array.shape[-3] * row
    start = array.ctypes.data - _root(array).ctypes.data
    return (start % channel if array.shape[-4] > 1 else start) // row, height
