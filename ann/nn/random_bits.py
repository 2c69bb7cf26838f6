"""Random bits on the device that follow from numbers: which image, which column, which epoch. So every backend draws
the same, in any order, and nothing has to be remembered or sent.
"""

from __future__ import annotations

from typing import Any

from ann.backends.base import Array, Backend


class Hash:
    """Bits (..., N, M), uint32, for N images and M columns.

    Args:
        backend: what computes.
        images: (..., N) device array, uint32: numbers of the images.
        key: (..., 1) device array, uint32, which decides, with the image and the column.
        like: an array (..., N, M); the bits have its order in memory.
    """

    def __init__(self, backend: Backend, images: Array, key: Array, like: Array) -> None:
        xp = backend.xp
        self._xp, self._images, self._key, self._width = xp, images, key, like.shape[-1]
        self._columns = xp.reshape(xp.arange(like.shape[-1], dtype=xp.uint32), (1, -1))
        self._first = xp.empty(like.shape[:-1], dtype=xp.uint32)
        self.bits, self._shifted = (xp.empty_like(like, dtype=xp.uint32) for _ in range(2))

    def draw(self) -> Array:
        """The bits for the images and the key that are now in their arrays."""
        xp, bits = self._xp, self.bits
        xp.multiply(self._images, self._width, out=self._first)
        xp.add(self._first, self._key, out=self._first)
        xp.add(self._first[..., None], self._columns, out=bits)
        self._mix(bits)
        return bits

    def _mix(self, bits: Any) -> None:
        """Make every bit depend on all bits of the number: lowbias32, by Chris Wellons (2018)."""
        xp, shifted = self._xp, self._shifted
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
            xp.bitwise_right_shift(bits, shift, out=shifted)
            xp.bitwise_xor(bits, shifted, out=bits)
            if factor:
                xp.multiply(bits, factor, out=bits)
