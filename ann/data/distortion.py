"""Distortions: in training, each image is turned, stretched, sheared, shifted and bent a little, differently in every
epoch, so that a network learns what a digit is rather than these images of it. All of it is one resampling: where a
pixel looks is a sum of a few fixed patterns, with random factors that follow from the image and the epoch.

Simard et al. (2003), section 2, and Ciresan et al. (2010). Letters: h, w height and width, N images in the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.random_bits import Hash

_LATTICE = 1.0  # lattice spacing of the bumps, in their widths
_ROOT3 = math.sqrt(3.0)  # the half width of a uniform distribution of variance 1
_AFFINE = 3  # patterns: constant, y and x


@dataclass(frozen=True)
class Strengths:
    """How far images are distorted; 0 is not at all.

    Attributes:
        rotation: the largest angle, in degrees.
        scaling: the largest change of height and of width, as a share.
        shear: the largest angle, in degrees, by which upright lines lean.
        shift: the largest, in pixels, along each axis.
        elastic: the standard deviation of what each pixel is moved by, in pixels, along each axis.
        smoothness: over how many pixels neighbours move alike: the standard deviation of a Gaussian.
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
    """Images on a device, ready to be distorted.

    Pixels that a distortion takes from outside an image are black.

    Args:
        backend: what computes.
        images: (M, h w) uint8 device array.
        shape: (h, w).
        strengths: how far.
        turning: (M,) device array of floats: the share of ``rotation`` for each image, less for those that would
            become others.
    """

    def __init__(
        self, backend: Backend, images: Array, shape: tuple[int, int], strengths: Strengths, turning: Array
    ) -> None:
        xp = backend.xp
        (height, width), count = shape, images.shape[0]
        self.strengths, self.turning = strengths, turning
        # A border of black, so that looking outside needs no case of its own: one pixel before, and two after, since
        # a pixel and the next one are looked at
        self.rows, self.columns = height + 3, width + 3
        self.pixels = xp.zeros((count, self.rows, self.columns), dtype=xp.uint8)
        self.pixels[:, 1:-2, 1:-2] = xp.reshape(images, (count, height, width))
        self.pixels = xp.reshape(self.pixels, (-1,), copy=False)
        self.starts = xp.arange(count, dtype=xp.int64) * (self.rows * self.columns)
        flat = xp.zeros((height, width), dtype=turning.dtype)
        y = xp.reshape(flat + xp.reshape(xp.arange(height, dtype=flat.dtype), (-1, 1)), (1, -1))
        x = xp.reshape(flat + xp.reshape(xp.arange(width, dtype=flat.dtype), (1, -1)), (1, -1))
        self.home = [axis + 1.0 for axis in (y, x)]  # + 1 for the border
        affine = [xp.ones_like(y), y - (height - 1) / 2.0, x - (width - 1) / 2.0]
        elastic = [bumps(xp, y, x, shape, strengths.smoothness) * strengths.elastic] if strengths.elastic else []
        self.patterns = xp.concat([*affine, *elastic], axis=0)


def bumps(xp: Any, y: Array, x: Array, shape: tuple[int, int], smoothness: float) -> Array:
    """Smooth patterns (K, h w): sums of them with random factors of variance 1 have variance 1 everywhere.

    They are Gaussians around the points of a lattice that reaches beyond the image, so such a sum is white noise,
    blurred, and no tamer at the border.
    """
    step = _LATTICE * smoothness
    lattice = [
        [(2 * number - points + 1) / 2.0 * step + (length - 1) / 2.0 for number in range(points)]
        for length in shape
        for points in (math.ceil((length - 1 + 4.0 * smoothness) / step) + 1,)
    ]
    rows, columns = (
        xp.concat([xp.exp((axis - point) ** 2 * (-0.5 / smoothness**2)) for point in points], axis=0)
        for axis, points in zip((y, x), lattice, strict=True)
    )
    patterns = xp.concat([rows[number : number + 1, :] * columns for number in range(rows.shape[0])], axis=0)
    return patterns / xp.sqrt(xp.sum(patterns * patterns, axis=0, keepdims=True))


class DistortedBatch:
    """Batches of one size, distorted: arrays that are made once, and ``draw``, which can be recorded.

    Args:
        distorter: holds the images.
        backend: what computes: the distorter's, or its recorder.
        chosen: (..., N) device array of integers: which images.
        numbers: (..., N) device array, uint32: the same, as the random factors know them.
        key: (..., 1) device array, uint32, which decides, with the image, and changes from epoch to epoch.
        out: (N, h w) device array of floats, which gets the pixels, from 0 to 255; for a committee all members' in a
            row.
    """

    def __init__(
        self, distorter: Distorter, backend: Backend, chosen: Array, numbers: Array, key: Array, out: Array
    ) -> None:
        xp, count, size = backend.xp, out.shape[0], out.shape[1]
        self._xp, self._backend, self._distorter, self._out = xp, backend, distorter, out
        self._chosen = xp.reshape(chosen, (-1,), copy=False)
        patterns = distorter.patterns.shape[0]
        random = xp.empty((*numbers.shape, 2 * patterns), dtype=out.dtype)
        self._hash = Hash(backend, numbers, key, random)
        self._random = xp.reshape(random, (count, -1), copy=False)
        self._bits = xp.reshape(self._hash.bits, (count, -1), copy=False)
        # for the rows and for the columns that the pixels look at: the factors of the patterns, ...
        self._factors = self._random[:, :patterns], self._random[:, patterns:]
        # ... the places, which become the way from the pixel before, and that pixel
        self._places, self._corners = ([xp.empty((count, size), dtype=out.dtype) for _ in range(2)] for _ in range(2))
        self._turning = xp.empty(count, dtype=out.dtype)
        self._small = [xp.empty((count, 1), dtype=out.dtype) for _ in range(6)]
        self._starts = xp.empty(count, dtype=xp.int64)
        self._index, self._next = (xp.empty((count, size), dtype=xp.int64) for _ in range(2))
        self._bytes = xp.empty(count * size, dtype=xp.uint8)
        self._taken = [xp.empty((count, size), dtype=out.dtype) for _ in range(4)]

    def draw(self) -> None:
        """Set ``out`` for the images and the key that are now in their arrays."""
        xp, backend, distorter = self._xp, self._backend, self._distorter
        self._hash.draw()
        backend.copyto(self._bits, out=self._random)
        xp.multiply(self._random, 2.0 * _ROOT3 / 2.0**32, out=self._random)
        xp.subtract(self._random, _ROOT3, out=self._random)  # uniform, of mean 0 and variance 1
        self._set_affine()
        limits = distorter.rows - 2.0, distorter.columns - 2.0
        for factors, home, limit, place, corner in zip(
            self._factors, distorter.home, limits, self._places, self._corners, strict=True
        ):
            backend.matmul(factors, distorter.patterns, out=place)
            xp.add(place, home, out=place)
            xp.clip(place, 0.0, limit, out=place)
            xp.floor(place, out=corner)
            xp.subtract(place, corner, out=place)
        self._resample()

    def _set_affine(self) -> None:
        """Replace the random factors of the patterns 1, y and x by those of a turn, shear, stretch and shift.

        With columns (y, x): source = R S D place, for R = (cos, -sin; sin, cos), S = (1, 0; k, 1), D = (s, 0; 0, t).
        """
        xp, strengths = self._xp, self._distorter.strengths
        cos, sin, k, s, t, scratch = self._small
        (shift_y, yy, yx), (shift_x, xy, xx) = (
            [factors[:, number : number + 1] for number in range(_AFFINE)] for factors in self._factors
        )
        xp.take(self._distorter.turning, self._chosen, axis=0, out=self._turning)
        xp.multiply(yy, math.radians(strengths.rotation) / _ROOT3, out=scratch)
        xp.multiply(scratch, xp.reshape(self._turning, (-1, 1), copy=False), out=scratch)
        xp.cos(scratch, out=cos)
        xp.sin(scratch, out=sin)
        xp.multiply(yx, math.tan(math.radians(strengths.shear)) / _ROOT3, out=k)
        for number, factor in ((xy, s), (xx, t)):
            xp.multiply(number, strengths.scaling / _ROOT3, out=factor)
            xp.add(factor, 1.0, out=factor)
        for shift in (shift_y, shift_x):
            xp.multiply(shift, strengths.shift / _ROOT3, out=shift)
        xp.multiply(sin, k, out=scratch)
        xp.subtract(cos, scratch, out=scratch)
        xp.multiply(scratch, s, out=yy)
        xp.multiply(cos, k, out=scratch)
        xp.add(scratch, sin, out=scratch)
        xp.multiply(scratch, s, out=xy)
        xp.multiply(sin, t, out=scratch)
        xp.multiply(scratch, -1.0, out=yx)
        xp.multiply(cos, t, out=xx)
        for diagonal in (yy, xx):  # the patterns add to a pixel's own place
            xp.subtract(diagonal, 1.0, out=diagonal)

    def _resample(self) -> None:
        """Each pixel from the four around its place, by how near they are (bilinear interpolation)."""
        xp, backend, distorter = self._xp, self._backend, self._distorter
        (down, right), (row, column), place = self._places, self._corners, self._taken[0]
        xp.take(distorter.starts, self._chosen, axis=0, out=self._starts)
        xp.multiply(row, float(distorter.columns), out=place)
        xp.add(place, column, out=place)
        backend.copyto(place, out=self._index)
        xp.add(self._index, xp.reshape(self._starts, (-1, 1), copy=False), out=self._index)
        for step, taken in zip((0, 1, distorter.columns, distorter.columns + 1), self._taken, strict=True):
            xp.add(self._index, step, out=self._next)
            xp.take(distorter.pixels, xp.reshape(self._next, (-1,), copy=False), axis=0, out=self._bytes)
            backend.copyto(xp.reshape(self._bytes, taken.shape, copy=False), out=taken)
        upper, upper_right, lower, lower_right = self._taken
        for here, there, way in ((upper, upper_right, right), (lower, lower_right, right), (upper, lower, down)):
            xp.subtract(there, here, out=there)
            xp.multiply(there, way, out=there)
            xp.add(here, there, out=self._out if way is down else here)


def examples(backend: Backend, image: Any, strengths: Strengths, count: int, key: int = 0) -> Any:
    """One image (h, w), a uint8 host array, under so many distortions: a host array (count, h, w) of floats, 0 to 255.

    ``key``, below 2^32, decides which.
    """
    xp, shape = backend.xp, image.shape
    turning = xp.ones(1, dtype=xp.float32)
    distorter = Distorter(backend, backend.from_host(image.reshape(1, -1)), shape, strengths, turning)
    out = xp.empty((count, distorter.patterns.shape[1]), dtype=xp.float32)
    numbers = xp.arange(count, dtype=xp.uint32)
    keys = xp.full(1, key, dtype=xp.uint32)
    DistortedBatch(distorter, backend, xp.zeros(count, dtype=xp.int64), numbers, keys, out).draw()
    return backend.to_host(out).reshape(count, *shape)
