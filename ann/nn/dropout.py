"""Dropout: training zeroes random neurons, or whole channels of pictures, so that none relies on
another.

The mask is a hash of image, epoch and neuron, so every backend computes the same one and
checkpoints need not store it.
"""

from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.layers import Layer
from ann.nn.random_bits import RandomBits, random_bits


def _is_kept(xp: Any, images: Array, key: Array, columns: Array, width: int, limit: int) -> Array:
    return random_bits(xp, images, key, columns, width) < limit


def _scaled(xp: Any, x: Array, factor: float) -> Array:
    return x * factor


class Mask:
    """A mask (..., N, M): 0 with probability ``share``, otherwise 1 / (1 - share). Its mean is 1.

    "Inverted" dropout: Srivastava et al. (2014), section 10, with the scaling moved into training.

    Args:
        backend: computes the mask.
        share: the probability of 0.
        images: (..., N) device array, uint32: ids of the images.
        key: (..., 1) device array, uint32: selects the mask; it changes every epoch.
        like: (..., N, M) device array: the mask gets its dtype and memory order.

    Attributes:
        values: the mask.
    """

    def __init__(
        self, backend: Backend, share: float, images: Array, key: Array, like: Array
    ) -> None:
        self._backend, self._kept = backend, 1.0 - share
        self._bits = RandomBits(backend, images, key, like.shape[-1])
        self.values = backend.xp.empty_like(like)

    def fill(self) -> None:
        """Compute ``values`` for the current images and key."""
        limit = int(self._kept * 2**32)
        self._backend.elementwise(_is_kept, *self._bits.arguments, limit, out=self.values)
        self._backend.elementwise(_scaled, self.values, 1.0 / self._kept, out=self.values)


class Dropout(Layer):
    """y = mask x. Only networks in training have this layer.

    Neighbouring pixels of a channel are alike, so zeroing some of them hides little. ``positions``
    zeroes whole channels: Tompson et al. (2015), Efficient object localization using convolutional
    networks, section 3.2, "spatial dropout".

    Args:
        share: the fraction of neurons or channels that are zeroed.
        key: (..., 1) device array, uint32; see ``Mask``.
        positions: P, the number of pixels of a channel: x is (..., N, C P), stored as pictures, and
            the mask (..., N, C). 1 for a mask of neurons.

    Attributes:
        images: (..., N) device array, uint32: ids of the batch's images.
    """

    images: Array

    def __init__(self, share: float, key: Array, *, positions: int = 1) -> None:
        self.share = share
        self.key = key
        self.positions = positions

    def __repr__(self) -> str:
        return f"<Dropout {self.share:g}>"

    def allocate(self, x: Array) -> None:
        self.y = self.xp.empty_like(x)
        if self.positions > 1:
            self.room = self.xp.empty_like(x.mT)
        like = x[..., :: self.positions]
        self.mask = Mask(self.backend, self.share, self.images, self.key, like)

    def forward(self, x: Array) -> Array:
        """y = mask x"""
        self.reserve(x)
        self.mask.fill()
        factors = self.by_channel(self.mask.values)
        self.xp.multiply(self.by_channel(x), factors, out=self.by_channel(self.y))
        return self.y

    def backward(
        self, grad: Array, *, accumulate: float = 0.0, input_gradient: bool = True
    ) -> Array | None:
        """dL/dx = mask dL/dy"""
        if self.positions > 1:
            grad = self.backend.contiguous(grad.mT, room=self.room).mT
        dx = self.by_channel(grad)
        self.xp.multiply(dx, self.by_channel(self.mask.values), out=dx)
        return grad

    def by_channel(self, rows: Array) -> Array:
        """Rows (..., N, C P), or a mask (..., N, C), as an array (..., C, P or 1, N): a view."""
        columns = rows.mT
        shape = *columns.shape[:-2], self.mask.values.shape[-1], -1, self.count
        return self.xp.reshape(columns, shape, copy=False)
