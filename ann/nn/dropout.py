"""Dropout: in training, each neuron is silent for some images, so that none relies on another. Which ones follows from
the image, the epoch and the neuron by a hash on the device, so every backend silences the same, and nothing is drawn.
"""

from __future__ import annotations

from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.random_bits import Hash

_WORD = 2**32


class Mask:
    """Numbers (..., N, M): 0 with the probability ``share``, and else 1 / (1 - share), so that the mean stays 1.

    "Inverted" dropout, after Srivastava et al. (2014), section 10, with the scaling moved into training.

    Args:
        backend: what computes.
        share: of the numbers that are 0.
        images: (..., N) device array, uint32: numbers of the images.
        key: (..., 1) device array, uint32, which decides, with the image and the column, and changes from epoch to
            epoch.
        like: an array (..., N, M); the numbers get its type, and its order in memory.
    """

    def __init__(self, backend: Backend, share: float, images: Array, key: Array, like: Array) -> None:
        self._xp, self._hash = backend.xp, Hash(backend, images, key, like)
        self._kept, self._scale = int((1.0 - share) * _WORD), 1.0 / (1.0 - share)
        self.numbers = backend.xp.empty_like(like)

    def draw(self) -> None:
        """Set ``numbers`` for the images and the key that are now in their arrays."""
        xp = self._xp
        xp.less(self._hash.draw(), self._kept, out=self.numbers)
        xp.multiply(self.numbers, self._scale, out=self.numbers)


class Dropout:
    """A layer between two others, which only a network in training has: y = mask x, but for the column of ones."""

    def __init__(self, backend: Backend, share: float, images: Array, key: Array, columns: int, dtype: Any) -> None:
        """See ``Mask``. columns: M. dtype: of x."""
        xp, (*leading, count) = backend.xp, images.shape
        # Column after column in memory, as the outputs of the layers are
        self._output = xp.empty((*leading, columns + 1, count), dtype=dtype).mT
        self._output[..., -1:] = xp.ones((count, 1), dtype=dtype)
        self._backend, self._mask = backend, Mask(backend, share, images, key, self._output[..., :-1])

    def forward(self, x: Array, scale: float = 1.0) -> Array:
        """x (..., N, M + 1) -> y (..., N, M + 1)."""
        self._mask.draw()
        self._backend.xp.multiply(x[..., :-1], self._mask.numbers, out=self._output[..., :-1])
        return self._output

    def backward(self, grad: Array) -> Array:
        """dL/dy (..., N, M) -> dL/dx (..., N, M), in place."""
        self._backend.xp.multiply(grad, self._mask.numbers, out=grad)
        return grad
