"""Dropout: in training, each neuron is silent for some images, so that none relies on another. Which ones follows from
the image, the epoch and the neuron by a hash on the device, so every backend silences the same, and nothing is drawn.
"""

from __future__ import annotations

from ann.backends.base import Array, Backend
from ann.nn.layers import Layer
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


class Dropout(Layer):
    """y = mask x. Only a network in training has such a layer.

    Args:
        share: of the inputs that become 0.
        key: (..., 1) device array, uint32; see ``Mask``.

    Attributes:
        images: (..., N) device array, uint32: the numbers of the batch's images.
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
        self.mask.draw()
        self.xp.multiply(x, self.mask.numbers, out=self.y)
        return self.y

    def backward(self, grad: Array, *, accumulate: float = 0.0, input_gradient: bool = True) -> Array | None:
        """dL/dx = mask dL/dy"""
        self.xp.multiply(grad, self.mask.numbers, out=grad)
        return grad
