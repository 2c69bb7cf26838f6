"""Distortions: in training, each image is rotated, scaled, sheared, shifted and warped a little,
differently in every epoch. A network that never sees the same image twice cannot memorise it, which
reduces overfitting.

All of it is a single resampling: the displacement of each pixel is a sum of a few fixed patterns,
with random factors that follow from the image and the epoch. Simard et al. (2003), section 2, and
Ciresan et al. (2010).

Letters: h, w height and width; N images in the batch; y counts rows and x columns.
"""

import math
from dataclasses import dataclass
from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.random_bits import bit_arguments, random_bits

_ROOT3 = math.sqrt(3.0)  # uniform numbers from -sqrt(3) to sqrt(3) have variance 1
_AFFINE = 3  # patterns: constant, y and x


@dataclass(frozen=True)
class DistortionStrengths:
    """How much images are distorted; 0 means not at all.

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
        backend: of the device arrays.
        images: (M, h w) uint8 device array.
        shape: (h, w).
        strengths: how much images are distorted.
        rotation_shares: (M,) device array of floats: the share of ``rotation`` for each image. It
            is below 1 for digits that would become other digits.
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
        (height, width), count = shape, images.shape[0]
        dtype = rotation_shares.dtype
        self.rotation_shares = rotation_shares
        # With a black border, positions outside an image need no special case. It is one pixel wide
        # before the image and two after it: interpolation uses a pixel and the next one.
        self.rows, self.columns = height + 3, width + 3
        self.square = 0, 1, self.columns, self.columns + 1  # offsets of its pixels
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
        angle = math.radians(strengths.rotation)
        k = math.tan(math.radians(strengths.shear))
        # The largest random numbers. ``_affine`` then replaces the first three of each list, (dy,
        # angle, k) and (dx, ds, dt), by the factors of the patterns 1, y and x.
        of_rows = [strengths.shift, angle, k, *warp]
        of_columns = [strengths.shift, strengths.scaling, strengths.scaling, *warp]
        self._full = xp.asarray([of_rows + of_columns], dtype=dtype)
        self.largest = xp.asarray(self._full, copy=True)

    def scale(self, factor: float) -> None:
        """From now on, multiply the strengths by this factor; 0 leaves images as they are."""
        self.largest[...] = factor * self._full


def elastic_patterns(
    xp: Any, y: Array, x: Array, shape: tuple[int, int], smoothness: float
) -> Array:
    """Smooth patterns (K, h w). Sums of them with random factors of variance 1 have variance 1.

    They are Gaussians around the points of a lattice that reaches beyond the image. So a sum is
    blurred white noise, as strong at the border as in the middle.
    """

    def gaussians(axis: Array, length: int) -> list[Array]:
        count = math.ceil((length - 1) / smoothness) + 5  # up to 2 deviations beyond the image
        start = (length - 1 - smoothness * (count - 1)) / 2.0
        centres = [start + smoothness * number for number in range(count)]
        return [xp.exp((axis - centre) ** 2 * (-0.5 / smoothness**2)) for centre in centres]

    rows, columns = gaussians(y, shape[0]), gaussians(x, shape[1])
    patterns = xp.concat([row * column for row in rows for column in columns], axis=0)
    return patterns / xp.sqrt(xp.sum(patterns * patterns, axis=0, keepdims=True))


def _uniform(xp: Any, bits: Array, largest: Array) -> Array:
    """Random bits, as floats -> uniform numbers from -largest to largest."""
    return (bits * 2.0**-31 - 1.0) * largest


def _affine(
    xp: Any, dy: Array, angle: Array, k: Array, dx: Array, ds: Array, dt: Array, share: Array
) -> tuple[Array, ...]:
    """Random numbers -> the factors of 1, y and x for the row to sample, then for the column.

    A pixel at (y, x) is sampled at (dy, dx) + R S D (y, x), with the rotation R = (cos, -sin; sin,
    cos), the shear S = (1, 0; k, 1) and the scaling D = (s, 0; 0, t). The factors are those of the
    displacement from (y, x) to that position. ``share``: of the angle.
    """
    cos, sin = xp.cos(share * angle), xp.sin(share * angle)
    s, t = 1.0 + ds, 1.0 + dt
    row = dy, (cos - sin * k) * s - 1.0, -sin * t
    column = dx, (sin + cos * k) * s, cos * t - 1.0
    return *row, *column


def _corner(xp: Any, place: Array, home: Array, last: float) -> tuple[Array, Array]:
    """A displacement along one axis -> the last pixel before the new position, and the rest."""
    place = xp.clip(home + place, 0.0, last)
    corner = xp.floor(place)
    return corner, place - corner


def _index(xp: Any, row: Array, column: Array, width: float) -> Array:
    """The index of a pixel in a flat image."""
    return row * width + column


def _interpolated(xp: Any, y: Array, x: Array, a: Array, b: Array, c: Array, d: Array) -> Array:
    """Bilinear interpolation at (y, x), from 0 to 1, in a square with the corners a b above c d."""
    above, below = a + x * (b - a), c + x * (d - c)
    return above + y * (below - above)


class DistortedBatch:
    """Distorted batches of one size. Its arrays are allocated once, so ``fill`` can be compiled.

    Args:
        distorter: holds the images.
        backend: the distorter's, or its recorder.
        indices: (..., N) device array of integers: the images in the batch.
        image_ids: (..., N) device array, uint32: the same, for the random numbers.
        key: (..., 1) device array, uint32: selects the distortions; it changes every epoch.
        out: (N, h w) device array of floats for the pixels, from 0 to 255; for a committee, the
            images of one member after another.
    """

    def __init__(
        self,
        distorter: Distorter,
        backend: Backend,
        indices: Array,
        image_ids: Array,
        key: Array,
        out: Array,
    ) -> None:
        xp = backend.xp
        count, patterns = out.shape[0], distorter.patterns.shape[0]
        self._backend, self._distorter, self._out = backend, distorter, out
        self._indices = xp.reshape(indices, (-1,), copy=False)
        self._bits = bit_arguments(xp, image_ids, key, 2 * patterns)
        self._random = xp.empty((*image_ids.shape, 2 * patterns), dtype=out.dtype)
        # The factors of the patterns: for the rows that pixels are sampled from, and the columns
        factors = xp.reshape(self._random, (count, -1), copy=False)
        self._factors = factors[:, :patterns], factors[:, patterns:]
        self._affine = tuple(part[:, n : n + 1] for part in self._factors for n in range(_AFFINE))
        self._rotation_share = xp.empty(count, dtype=out.dtype)
        self._starts = xp.empty(count, dtype=xp.int64)
        arrays = [xp.empty(out.shape, dtype=out.dtype) for _ in range(8)]
        self._places, self._corners, self._squares = arrays[:2], arrays[2:4], arrays[4:]
        self._index = xp.empty(out.shape, dtype=xp.int64)
        self._bytes = xp.empty(out.shape, dtype=xp.uint8)
        self._flat_index = xp.reshape(self._index, (-1,), copy=False)
        self._flat_bytes = xp.reshape(self._bytes, (-1,), copy=False)

    def fill(self) -> None:
        """Compute ``out`` for the current images and key."""
        backend, distorter, index = self._backend, self._distorter, self._index
        xp, elementwise = backend.xp, backend.elementwise
        # 1. The factors of the patterns
        elementwise(random_bits, *self._bits, out=self._random)
        elementwise(_uniform, self._random, distorter.largest, out=self._random)
        xp.take(distorter.rotation_shares, self._indices, axis=0, out=self._rotation_share)
        elementwise(_affine, *self._affine, self._rotation_share[:, None], out=self._affine)
        # 2. Where each pixel is sampled: in which square of four pixels, and where in it
        lasts = distorter.rows - 2.0, distorter.columns - 2.0
        axes = zip(self._factors, distorter.home, lasts, self._places, self._corners, strict=True)
        for factors, home, last, place, corner in axes:
            backend.matmul(factors, distorter.patterns, out=place)
            elementwise(_corner, place, home, last, out=(corner, place))
        place = self._squares[0]
        elementwise(_index, *self._corners, float(distorter.columns), out=place)
        backend.copyto(place, out=index)
        xp.take(distorter.starts, self._indices, axis=0, out=self._starts)
        xp.add(index, self._starts[:, None], out=index)
        # 3. The four pixels, and the value between them
        for offset, pixels in zip(distorter.square, self._squares, strict=True):
            xp.take(distorter.pixels[offset:], self._flat_index, axis=0, out=self._flat_bytes)
            backend.copyto(self._bytes, out=pixels)
        elementwise(_interpolated, *self._places, *self._squares, out=self._out)


def examples(
    backend: Backend, image: Any, strengths: DistortionStrengths, count: int, key: int = 0
) -> Any:
    """Distort an image (h, w), a uint8 host array -> (count, h, w), host floats from 0 to 255.

    ``key``, below 2^32, selects the distortions.
    """
    xp, shape = backend.xp, image.shape
    shares = xp.ones(1, dtype=xp.float32)
    pixels = backend.from_host(image.reshape(1, -1))
    distorter = Distorter(backend, pixels, shape, strengths, shares)
    out = xp.empty((count, distorter.patterns.shape[1]), dtype=xp.float32)
    indices, ids = xp.zeros(count, dtype=xp.int64), xp.arange(count, dtype=xp.uint32)
    DistortedBatch(distorter, backend, indices, ids, xp.full(1, key, dtype=xp.uint32), out).fill()
    return backend.to_host(out).reshape(count, *shape)
