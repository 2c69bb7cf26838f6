"""Augmentation: training images changed at random, so that a network cannot learn them by heart. It is applied to
the batches of training and nowhere else, so it cannot be left on by mistake.
"""

from __future__ import annotations

import math

from ann.backend import Array, Backend
from ann.streams import generator

_POOL = 2**20  # random masks to choose windows from: drawing new ones would cost more than a small net's step


class InputDropout:
    """Sets each pixel to 0 with probability p. Dividing what is left by 1 - p keeps the mean input.

    Srivastava et al. (2014), Dropout, section 4, on the inputs and in the inverted form. The masks are windows,
    at random offsets, of a pool of random ones that is drawn on the host, so every device has the same.
    """

    def __init__(self, backend: Backend, share: float, largest_batch: tuple[int, int], seed: int) -> None:
        """``share`` is p, at least 0 and below 1; ``largest_batch`` the shape (N, I) of the largest one to come."""
        self._xp, self._seed = backend.xp, seed
        random = generator(seed, "dropout").random(max(_POOL, 2 * math.prod(largest_batch)), dtype="float32")
        self._size = len(random)
        self._pool = backend.from_host((random >= share).astype("uint8") * 255)
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Go on with the random numbers of this epoch, counted from 1."""
        self._random = generator(self._seed, "dropout", epoch)

    def __call__(self, pixels: Array) -> None:
        """Blank some of the uint8 pixels (N, I), in place."""
        size = math.prod(pixels.shape)
        start = int(self._random.integers(self._size - size + 1))
        mask = self._xp.reshape(self._pool[start : start + size], pixels.shape, copy=False)
        self._xp.bitwise_and(pixels, mask, out=pixels)
