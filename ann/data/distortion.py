"""Distortions: in training, each image is rotated, scaled, sheared, shifted and warped a little, differently in every
epoch, so that a network learns what a digit is rather than these images of it.

All of it is one resampling: where a pixel looks is a sum of a few fixed patterns, with random factors that follow from
the image and the epoch. Simard et al. (2003), section 2, and Ciresan et al. (2010).

Letters: h, w height and width; N images in the batch; y counts rows and x columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.random_bits import RandomBits

_ROOT3 = math.sqrt(3.0)  # uniform numbers from -sqrt(3) to sqrt(3) have variance 1
_AFFINE = 3  # patterns: constant, y and x


@dataclass(frozen=True)
class DistortionStrengths:
    """How far images are distorted; 0 means not at all.

    Attributes:
        rotation: the largest angle, in degrees.
        scaling: the largest relative change of height and of width.
        shear: the largest angle between upright lines and sheared ones, in degrees.
        shift: the largest shift along each axis, in pixels.
        elastic: the standard deviation of the warp along each axis, in pixels.
        smoothness: of the warp: the standard deviation of the Gaussian that blurs it, in pixels.
    """

    rotation: float = 0.0
    scaling: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    smoothness: float = 5.0

    @property
    def any(self) -> bool:
        """Whether anything is distorted."""
        return any((self.rotation, self.scaling, self.shear, self.shift, self.elastic))


class Distorter:
    """Images on a device, ready to be distorted. Pixels from outside an image are black.

    Args:
        backend: computes the distortions.
        images: (M, h w) uint8 device array.
        shape: (h, w).
        strengths: how far images are distorted.
        rotation_shares: (M,) device array of floats: the share of ``rotation`` for each image. It is below 1 for digits
            that would become others.
    """

    def __init__(
        self,
        backend: Backend,
        images: Array,
        shape: tuple[int, int],
        strengths: DistortionStrengths,
        rotation_shares: Array,
    ) -> None:
        xp = backend.xp
        (height, width), count, dtype = shape, images.shape[0], rotation_shares.dtype
        self.rotation_shares = rotation_shares
        # A black border makes pixels outside an image no special case. It is one pixel wide before the image and two
        # after it, since each place is interpolated from a pixel and the next one.
        self.rows, self.columns = height + 3, width + 3
        pixels = xp.zeros((count, self.rows, self.columns), dtype=xp.uint8)
        pixels[:, 1:-2, 1:-2] = xp.reshape(images, (count, height, width))
        self.pixels = xp.reshape(pixels, (-1,), copy=False)
        self.starts = xp.arange(count, dtype=xp.int64) * (self.rows * self.columns)
        rows, columns = xp.arange(height, dtype=dtype), xp.arange(width, dtype=dtype)
        y = xp.reshape(xp.broadcast_to(rows[:, None], shape), (1, -1))
        x = xp.reshape(xp.broadcast_to(columns, shape), (1, -1))
        self.home = y + 1.0, x + 1.0  # in the image with its border
        patterns = [xp.ones_like(y), y - (height - 1) / 2.0, x - (width - 1) / 2.0]
        if strengths.elastic:
            patterns.append(elastic_patterns(xp, y, x, shape, strengths.smoothness))
        self.patterns = xp.concat(patterns, axis=0)
        warp = [_ROOT3 * strengths.elastic] * (self.patterns.shape[0] - _AFFINE)
        angle, k = math.radians(strengths.rotation), math.tan(math.radians(strengths.shear))
        of_rows = [strengths.shift, angle, k, *warp]
        of_columns = [strengths.shift, strengths.scaling, strengths.scaling, *warp]
        self.largest = xp.asarray([of_rows + of_columns], dtype=dtype)  # of the random numbers


def elastic_patterns(xp: Any, y: Array, x: Array, shape: tuple[int, int], smoothness: float) -> Array:
    """Smooth patterns (K, h w): a sum of them with random factors of variance 1 has variance 1 everywhere.

    They are Gaussians around the points of a lattice that reaches beyond the image, so such a sum is blurred white
    noise, equally strong at the border.
    """
    lattice = [
        [(2 * number - points + 1) / 2.0 * smoothness + (length - 1) / 2.0 for number in range(points)]
        for length in shape
        for points in (math.ceil((length - 1 + 4.0 * smoothness) / smoothness) + 1,)
    ]
    rows, columns = (
        xp.concat([xp.exp((axis - point) ** 2 * (-0.5 / smoothness**2)) for point in points], axis=0)
        for axis, points in zip((y, x), lattice, strict=True)
    )
    patterns = xp.concat([rows[number : number + 1, :] * columns for number in range(rows.shape[0])], axis=0)
    return patterns / xp.sqrt(xp.sum(patterns * patterns, axis=0, keepdims=True))


def _uniform(xp: Any, bits: Array, largest: Array) -> Array:
    """Random bits, as floats -> uniform numbers from -largest to largest."""
    return (bits * 2.0**-31 - 1.0) * largest


def _affine(
    xp: Any, up: Array, angle: Array, k: Array, left: Array, stretch: Array, widening: Array, rotation_share: Array
) -> tuple[Array, ...]:
    """Random numbers -> how the row, and then the column, that a pixel looks at depends on 1, y and x.

    For columns (y, x) it is a shift plus R S D (y, x), with the rotation R = (cos, -sin; sin, cos), the shear
    S = (1, 0; k, 1) and the scaling D = (s, 0; 0, t). R S D - 1 is what comes on top of the pixel's own place.
    """
    cos, sin = xp.cos(angle * rotation_share), xp.sin(angle * rotation_share)
    s, t = 1.0 + stretch, 1.0 + widening
    row = up, (cos - sin * k) * s - 1.0, -sin * t
    column = left, (sin + cos * k) * s, cos * t - 1.0
    return *row, *column


def _corner(xp: Any, place: Array, home: Array, limit: float) -> tuple[Array, Array]:
    """Where a pixel looks along one axis -> the pixel before that place, and how far behind it the place is."""
    place = xp.clip(home + place, 0.0, limit)
    corner = xp.floor(place)
    return corner, place - corner


def _place(xp: Any, row: Array, column: Array, width: float) -> Array:
    return row * width + column


def _interpolated(xp: Any, y: Array, x: Array, a: Array, b: Array, c: Array, d: Array) -> Array:
    """The value at (y, x), from 0 to 1, in a square with the corners a b above c d (bilinear interpolation)."""
    above, below = a + x * (b - a), c + x * (d - c)
    return above + y * (below - above)


class DistortedBatch:
    """Batches of one size, distorted: arrays that are made once, and ``fill``, which can be compiled.

    Args:
        distorter: holds the images.
        backend: the distorter's, or its recorder.
        indices: (..., N) device array of integers: which images.
        image_ids: (..., N) device array, uint32: the same, for the random numbers.
        key: (..., 1) device array, uint32: another key, as in each epoch, gives other distortions.
        out: (N, h w) device array of floats for the pixels, from 0 to 255; for a committee, one member's after another.
    """

    def __init__(
        self, distorter: Distorter, backend: Backend, indices: Array, image_ids: Array, key: Array, out: Array
    ) -> None:
        xp, count, patterns = backend.xp, out.shape[0], distorter.patterns.shape[0]
        self._xp, self._backend, self._distorter, self._out = xp, backend, distorter, out
        self._indices = xp.reshape(indices, (-1,), copy=False)
        self._bits = RandomBits(backend, image_ids, key, 2 * patterns)
        self._random = xp.empty((*image_ids.shape, 2 * patterns), dtype=out.dtype)
        # The factors of the patterns, first for the rows and then for the columns that the pixels look at
        factors = xp.reshape(self._random, (count, -1), copy=False)
        self._factors = factors[:, :patterns], factors[:, patterns:]
        self._affine = tuple(part[:, n : n + 1] for part in self._factors for n in range(_AFFINE))
        self._rotation_share = xp.empty(count, dtype=out.dtype)
        self._starts = xp.empty(count, dtype=xp.int64)
        self._places, self._corners = ([xp.empty(out.shape, dtype=out.dtype) for _ in "yx"] for _ in range(2))
        self._index = xp.empty(out.shape, dtype=xp.int64)
        self._bytes = xp.empty(out.shape, dtype=xp.uint8)
        self._flat_index, self._flat_bytes = (xp.reshape(a, (-1,), copy=False) for a in (self._index, self._bytes))
        self._squares = [xp.empty(out.shape, dtype=out.dtype) for _ in range(4)]

    def fill(self) -> None:
        """Set ``out`` for the present images and key."""
        backend, distorter, elementwise = self._backend, self._distorter, self._backend.elementwise
        self._bits.fill(self._random)
        elementwise(_uniform, self._random, distorter.largest, out=self._random)
        self._xp.take(distorter.rotation_shares, self._indices, axis=0, out=self._rotation_share)
        elementwise(_affine, *self._affine, self._rotation_share[:, None], out=self._affine)
        limits = distorter.rows - 2.0, distorter.columns - 2.0
        axes = zip(self._factors, distorter.home, limits, self._places, self._corners, strict=True)
        for factors, home, limit, place, corner in axes:
            backend.matmul(factors, distorter.patterns, out=place)
            elementwise(_corner, place, home, limit, out=(corner, place))
        self._resample()

    def _resample(self) -> None:
        """Each pixel from the four around its place."""
        xp, backend, distorter, index = self._xp, self._backend, self._distorter, self._index
        xp.take(distorter.starts, self._indices, axis=0, out=self._starts)
        place = self._squares[0]
        backend.elementwise(_place, *self._corners, float(distorter.columns), out=place)
        backend.copyto(place, out=index)
        xp.add(index, self._starts[:, None], out=index)
        for offset, pixels in zip((0, 1, distorter.columns, distorter.columns + 1), self._squares, strict=True):
            xp.take(distorter.pixels[offset:], self._flat_index, axis=0, out=self._flat_bytes)
            backend.copyto(self._bytes, out=pixels)
        backend.elementwise(_interpolated, *self._places, *self._squares, out=self._out)


def examples(backend: Backend, image: Any, strengths: DistortionStrengths, count: int, key: int = 0) -> Any:
    """Several distortions of one image (h, w), a uint8 host array: a host array (count, h, w) of floats, 0 to 255.

    ``key``, below 2^32, selects them.
    """
    xp, shape = backend.xp, image.shape
    shares = xp.ones(1, dtype=xp.float32)
    distorter = Distorter(backend, backend.from_host(image.reshape(1, -1)), shape, strengths, shares)
    out = xp.empty((count, distorter.patterns.shape[1]), dtype=xp.float32)
    indices, ids = xp.zeros(count, dtype=xp.int64), xp.arange(count, dtype=xp.uint32)
    DistortedBatch(distorter, backend, indices, ids, xp.full(1, key, dtype=xp.uint32), out).fill()
    return backend.to_host(out).reshape(count, *shape)
