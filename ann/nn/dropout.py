"""Dropout: in training, random neurons are set to 0, so that none relies on another.

The mask is a hash of image, epoch and neuron, so every backend computes the same one and nothing is
stored.
"""

from __future__ import annotations

from typing import Any

from ann.backends.base import Array, Backend
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
        share: the share of zeros.
        images: (..., N) device array, uint32: ids of the images.
        key: (..., 1) device array, uint32: another key, as in each epoch, gives another mask.
        like: an array (..., N, M) with the type and memory order that the mask gets.

    Attributes:
        values: the mask.
    """

    def __init__(self, backend: Backend, share: float, images: Array, key: Array, like: Array) -> None:
        self._backend, self._kept = backend, 1.0 - share
        self._bits = RandomBits(backend, images, key, like.shape[-1])
        self.values = backend.xp.empty_like(like)

    def fill(self) -> None:
        """Set ``values`` for the present images and key."""
        limit = int(self._kept * 2**32)
        self._backend.elementwise(_is_kept, *self._bits.arguments, limit, out=self.values)
        self._backend.elementwise(_scaled, self.values, 1.0 / self._kept, out=self.values)


class Dropout:
    """A layer that only training networks have: y = mask x, except for the column of ones."""

    def __init__(self, backend: Backend, share: float, images: Array, key: Array, columns: int, dtype: Any) -> None:
        """See ``Mask``. columns: M. dtype: the type of x."""
        xp, (*leading, count) = backend.xp, images.shape
        # Column after column in memory, as the outputs of the layers are
        self._output = xp.empty((*leading, columns + 1, count), dtype=dtype).mT
        self._output[..., -1:] = xp.ones((count, 1), dtype=dtype)
        self._backend, self._mask = backend, Mask(backend, share, images, key, self._output[..., :-1])

    def forward(self, x: Array, scale: float = 1.0) -> Array:
        """x (..., N, M + 1) -> y (..., N, M + 1)."""
        self._mask.fill()
        self._backend.xp.multiply(x[..., :-1], self._mask.values, out=self._output[..., :-1])
        return self._output

    def backward(self, grad: Array) -> Array:
        """dL/dy (..., N, M) -> dL/dx (..., N, M), in place."""
        self._backend.xp.multiply(grad, self._mask.values, out=grad)
        return grad
