"""Dropout: training zeroes random neurons, so that none relies on another.

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

    Args:
        share: the fraction of inputs that are zeroed.
        key: (..., 1) device array, uint32; see ``Mask``.

    Attributes:
        images: (..., N) device array, uint32: ids of the batch's images.
    """

    images: Array

    def __init__(self, share: float, key: Array) -> None:
        self.share = share
        self.key = key

    def __repr__(self) -> str:
        return f"<Dropout {self.share:g}>"

    def allocate(self, x: Array) -> None:
        self.y = self.xp.empty_like(x)
        self.mask = Mask(self.backend, self.share, self.images, self.key, like=x)

    def forward(self, x: Array) -> Array:
        """y = mask x"""
        self.reserve(x)
        self.mask.fill()
        self.xp.multiply(x, self.mask.values, out=self.y)
        return self.y

    def backward(
        self, grad: Array, *, accumulate: float = 0.0, input_gradient: bool = True
    ) -> Array | None:
        """dL/dx = mask dL/dy"""
        self.xp.multiply(grad, self.mask.values, out=grad)
        return grad
