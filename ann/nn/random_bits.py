"""Random bits, computed on the device as a hash of image, column and key.

Every backend gets the same bits, in any order, and none have to be stored or sent.
"""

from typing import Any

from ann.backends.base import Array, Backend


def lowbias32(xp: Any, bits: Array) -> Array:
    """A hash by Chris Wellons (2018): each bit of the result depends on all bits of the input."""
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D  # products modulo 2^32
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    return bits ^ (bits >> 16)


def random_bits(xp: Any, images: Array, key: Array, columns: Array, width: int) -> Array:
    """Bits for columns 0 to ``width`` - 1 of each image."""
    return lowbias32(xp, images * width + key + columns)


class RandomBits:
    """Random bits (..., N, M), uint32, for N images and M columns.

    Args:
        backend: computes them.
        images: (..., N) device array, uint32: ids of the images.
        key: (..., 1) device array, uint32: selects the bits.
        width: M.

    Attributes:
        arguments: the arguments of ``random_bits``, for formulas that call it.
    """

    def __init__(self, backend: Backend, images: Array, key: Array, width: int) -> None:
        columns = backend.xp.arange(width, dtype=backend.xp.uint32)
        self._backend = backend
        self.arguments = images[..., None], key[..., None], columns, width

    def fill(self, out: Array) -> None:
        """Write the current bits to ``out`` (..., N, M), converted to its dtype."""
        self._backend.elementwise(random_bits, *self.arguments, out=out)
