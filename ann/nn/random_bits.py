"""Random bits, computed on the device as a hash of image, column and key.

Every backend gets the same bits, in whatever order it computes them, and stores none of them.
"""

from typing import Any

from ann.backends.base import Array


def random_bits(xp: Any, images: Array, key: Array, columns: Array, width: int) -> Array:
    """32 random bits for each of the columns 0 to ``width`` - 1 of each image.

    The hash is lowbias32 by Chris Wellons (2018): each bit of the result depends on all bits of the
    input.
    """
    bits = images * width + key + columns
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D  # products modulo 2^32
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    return bits ^ (bits >> 16)


def bit_arguments(xp: Any, images: Array, key: Array, width: int) -> tuple[Array, ...]:
    """The arguments of ``random_bits`` for bits (..., N, M).

    Args:
        xp: the array library.
        images: (..., N) device array, uint32: ids of the images.
        key: (..., 1) device array, uint32: selects the bits.
        width: M.
    """
    return images[..., None], key[..., None], xp.arange(width, dtype=xp.uint32), width
