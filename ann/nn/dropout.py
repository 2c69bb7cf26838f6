"""Dropout: training zeroes random neurons, or random channels of pictures, so that no neuron relies
on another.

The mask is a hash of image, epoch and neuron (or channel). Therefore all backends compute the same
mask, and checkpoints need not store it.
"""

from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.convolution import as_pictures
from ann.nn.layers import Layer
from ann.nn.random_bits import bit_arguments, random_bits


def _is_kept(xp: Any, images: Array, key: Array, columns: Array, width: int, limit: int) -> Array:
    return random_bits(xp, images, key, columns, width) < limit


class Mask:
    """A random mask (..., N, M), ``values``: 0 with probability ``share``, else 1 / (1 - share).

    Its mean is 1, so the trained network needs neither a mask nor a factor: "inverted" dropout, as
    at the end of section 10 of Srivastava et al. (2014), "Dropout". Their section 4 scales the
    weights after training instead.

    Args:
        backend: computes the mask.
        share: the probability of 0.
        images, key: see ``bit_arguments``; the key changes every epoch.
        like: (..., N, M) device array: the mask gets its dtype and memory order.
    """

    def __init__(
        self, backend: Backend, share: float, images: Array, key: Array, like: Array
    ) -> None:
        self._backend, self._kept = backend, 1.0 - share
        self._bits = bit_arguments(backend.xp, images, key, like.shape[-1])
        self.values = backend.xp.empty_like(like)

    def fill(self) -> None:
        """Compute ``values`` for the current images and key."""
        limit = min(int(self._kept * 2**32), 2**32 - 1)  # a uint32, also for a tiny share
        self._backend.elementwise(_is_kept, *self._bits, limit, out=self.values)
        self._backend.xp.multiply(self.values, 1.0 / self._kept, out=self.values)


class Dropout(Layer):
    """y = mask x, elementwise. Only networks in training have this layer.

    Each number of the mask belongs to one neuron, or to all P pixels of a channel. Neighbouring
    pixels are alike, so a single zeroed pixel could be guessed from the others. Tompson et al.
    (2015), "Efficient object localization using convolutional networks", section 3.2, call the
    dropout of channels "spatial dropout".

    Args:
        share: the fraction of neurons or channels that are zeroed.
        key: (..., 1) device array, uint32; see ``Mask``.
        positions: 1 for neurons: x and the mask are (..., N, M). For channels, P, the number of
            pixels in each: x is (..., N, C P), stored as pictures, and the mask is (..., N, C).

    Attributes:
        images: (..., N) device array, uint32: ids of the batch's images. Set it before the first
            batch.
    """

    images: Array

    def __init__(self, share: float, key: Array, *, positions: int = 1) -> None:
        self.share = share
        self.key = key
        self.positions = positions

    def allocate(self, x: Array) -> None:
        self.y = self.xp.empty_like(x)
        like = x[..., :: self.positions]
        self.mask = Mask(self.backend, self.share, self.images, self.key, like)

    def forward(self, x: Array) -> Array:
        self.reserve(x)
        self.mask.fill()
        mask = self.by_channel(self.mask.values)
        self.xp.multiply(self.by_channel(x), mask, out=self.by_channel(self.y))
        return self.y

    def backward(self, grad: Array) -> Array:
        """dL/dx = mask dL/dy, elementwise"""
        dx = self.by_channel(grad)
        self.xp.multiply(dx, self.by_channel(self.mask.values), out=dx)
        return grad

    def by_channel(self, rows: Array) -> Array:
        """Rows (..., N, C P), or a mask (..., N, C), as an array (..., C, P or 1, N): a view."""
        return as_pictures(self.xp, rows, (self.mask.values.shape[-1], -1))
