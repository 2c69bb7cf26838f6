"""Adversarial training: the network also sees each image moved a short way in the direction in
which its loss grows fastest. It learns to give the same answer around each image.

Goodfellow et al. (2015), Explaining and harnessing adversarial examples, section 6: the objective
is the mean of both losses. As in Miyato et al. (2018), Virtual adversarial training, section 3.1,
the length of the step is fixed, not the change of each input. A moved image keeps the targets and
the dropout of the image; inputs that dropout zeroed are moved like the others.
"""

from typing import Any

from ann.backends.base import Array, Backend

_TINY = 1e-20  # avoids a division by 0; far below any gradient that matters


def _moved(xp: Any, x: Array, gradient: Array, squared_norm: Array, length: float) -> Array:
    """x + length g / |g|"""
    return x + gradient * (length / (xp.sqrt(squared_norm) + _TINY))


class Adversary:
    """Moves batches of one size: device arrays x (..., N, I), by a step of this length.

    Attributes:
        images: (..., N, I) device array: the moved images.
    """

    def __init__(self, backend: Backend, length: float, x: Array) -> None:
        xp = backend.xp
        self._backend, self._length, self._x = backend, length, x
        self.images, self._squares = xp.empty_like(x), xp.empty_like(x)
        self._ones = xp.ones((x.shape[-1], 1), dtype=x.dtype)
        self._squared_norms = xp.empty((*x.shape[:-1], 1), dtype=x.dtype)

    def move(self, gradient: Array) -> None:
        """Set ``images`` to x + length g / |g|, for the gradient g = dL/dx (..., N, I)."""
        backend, squared_norms = self._backend, self._squared_norms
        backend.xp.multiply(gradient, gradient, out=self._squares)
        backend.matmul(self._squares, self._ones, out=squared_norms)
        backend.elementwise(_moved, self._x, gradient, squared_norms, self._length, out=self.images)
