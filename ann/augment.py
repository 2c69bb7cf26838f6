"""Augmentation: training images changed at random, so that a network cannot learn them by heart. It is applied to
the batches of training and nowhere else, so it cannot be left on by mistake.
"""

from __future__ import annotations

import math
from typing import Any

from ann.backend import Array, Backend
from ann.streams import generator

_POOL = 2**20  # random masks to choose windows from: drawing new ones would cost more than a small net's step


class InputDropout:
    """Sets each pixel to 0 with probability p and scales the others by 1 / (1 - p), which keeps the mean input.

    Srivastava et al. (2014), Dropout, section 4, on the inputs and in the inverted form. The masks are windows,
    at random offsets, of a pool of random ones that is drawn on the host, so every device has the same.
    """

    def __init__(
        self, backend: Backend, dtype: Any, share: float, pixel_scale: float, shape: tuple[int, int], seed: int
    ) -> None:
        """``share`` is p, at least 0 and below 1; ``shape`` that of the largest batch."""
        self._xp, self._seed = backend.xp, seed
        kept = generator(seed, "dropout").random(max(_POOL, 2 * math.prod(shape)), dtype="float32") >= share
        self._size = len(kept)
        self._pool: Array = backend.from_host(kept.astype("float32"))
        self._pool *= pixel_scale / (1.0 - share)
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Go on with the random numbers of this epoch, counted from 1."""
        self._random = generator(self._seed, "dropout", epoch)

    def scale(self, shape: tuple[int, int]) -> Array:
        """What to multiply a batch of uint8 pixels of this shape by: 0 or pixel_scale / (1 - p) for each."""
        size = math.prod(shape)
        start = int(self._random.integers(self._size - size + 1))
        return self._xp.reshape(self._pool[start : start + size], shape, copy=False)
