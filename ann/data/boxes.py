"""Boxes: upright rectangles of pixels."""

from typing import NamedTuple, Self

import numpy as np


class Rectangle(NamedTuple):
    """A rectangle in pixels. Column ``right`` and row ``bottom`` are the first ones outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def length(self) -> int:
        """The longer side, in pixels."""
        return max(self.width, self.height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, to index an array (h, w)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def scaled(self, across: float, down: float) -> Self:
        """The same rectangle in a picture that is scaled by these factors."""
        left, top, right, bottom = self
        return type(self)(
            round(across * left), round(down * top), round(across * right), round(down * bottom)
        )


def around_pixels(mask: np.ndarray) -> Rectangle:
    """The smallest box that contains all True pixels (h, w), of which there is at least one."""
    columns, rows = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (0, 1))
    return Rectangle(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def overlap(box: Rectangle, other: Rectangle) -> tuple[int, int]:
    """The width and the height that two boxes share; minus the gap where they are apart."""
    return (
        min(box.right, other.right) - max(box.left, other.left),
        min(box.bottom, other.bottom) - max(box.top, other.top),
    )


def gap(box: Rectangle, other: Rectangle) -> float:
    """The distance between two boxes, in pixels."""
    across, down = overlap(box, other)
    return float(np.hypot(min(across, 0), min(down, 0)))
