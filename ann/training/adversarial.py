"""Adversarial training: a network sees each image a second time, moved a little way in the direction in which its loss
grows fastest, so that it learns to answer alike all around an image. It knows nothing of pictures, and serves any data.

Goodfellow et al. (2015), Explaining and harnessing adversarial examples, section 6, whose objective is the mean of the
loss of both, with steps of a given length in place of a given change of each input: Miyato et al. (2018), Virtual
adversarial training, section 3.1. A moved image keeps the targets and the dropout of the image; pixels that dropout
blackened are moved like the others.
"""

from __future__ import annotations

from ann.backends.base import Array, Backend

_TINY = 1e-20  # against a gradient of 0; less than any that moves anything


class Adversary:
    """Moves batches of one size.

    Args:
        backend: what computes.
        length: of the step, in units of x.
        x: (..., N, I + 1) device array: the images, before a column that biases weigh.

    Attributes:
        images: (..., N, I + 1) device array: the images, moved.
    """

    def __init__(self, backend: Backend, length: float, x: Array) -> None:
        xp = backend.xp
        self._backend, self._length, self._x = backend, length, x
        self.images = xp.asarray(x, copy=True)
        self._squares = xp.empty_like(x[..., :-1])
        self._sum_of = xp.ones((self._squares.shape[-1], 1), dtype=x.dtype)
        self._norms = xp.empty((*x.shape[:-1], 1), dtype=x.dtype)

    def move(self, gradient: Array) -> None:
        """Set ``images`` to x + length g / |g|, for dL/dx g (..., N, I)."""
        xp, norms = self._backend.xp, self._norms
        xp.multiply(gradient, gradient, out=self._squares)
        self._backend.matmul(self._squares, self._sum_of, out=norms)
        xp.sqrt(norms, out=norms)
        xp.add(norms, _TINY, out=norms)
        xp.divide(self._length, norms, out=norms)
        xp.multiply(gradient, norms, out=self._squares)
        xp.add(self._x[..., :-1], self._squares, out=self.images[..., :-1])
