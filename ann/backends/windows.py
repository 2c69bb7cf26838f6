"""All windows of pictures as one view, which is copied in one call."""

from typing import Any

from ann.backends.base import Array


def windows_of(xp: Any, pictures: Array, stride: int, like: Array) -> Array:
    """The windows (..., k, k, rows, columns, N) of pictures (..., H, W, N), as a view.

    Args:
        xp: NumPy or CuPy.
        pictures: the pictures.
        stride: the distance between windows.
        like: an array of the shape of the result.
    """
    *leading, down, right, image = pictures.strides
    strides = (*leading, down, right, stride * down, stride * right, image)
    return xp.lib.stride_tricks.as_strided(pictures, like.shape, strides)
