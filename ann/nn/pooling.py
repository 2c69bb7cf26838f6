"""Pooling: each square of pixels becomes one pixel, in each channel separately. There are no
parameters.

Shapes are those of ``convolution``: pictures (..., C, H, W, N), and the same arrays as rows.
"""

from functools import reduce
from typing import Any

from ann.backends.base import Array, Formula
from ann.nn.convolution import Shape, as_pictures, empty_rows, size_text
from ann.nn.layers import Layer

MAX_SIZE = 8  # a formula has an argument for each pixel of a square, and not more than 64


class Pool2D(Layer):
    """Base class: each square of pixels becomes one pixel.

    Args:
        input_shape: (C, H, W).
        size: the side of a square; the squares do not overlap.

    A subclass has two formulas:
        formula: (xp, *pixels of a square) -> (y, *saved), where the gradient needs ``saved``.
        gradient: (xp, dL/dy, number of pixels, *saved) -> dL/dx for each pixel.

    Raises:
        ValueError: the squares do not fill the picture, or are larger than 8 x 8.
    """

    formula: Formula
    gradient: Formula

    def __init__(self, input_shape: Shape, size: int) -> None:
        channels, height, width = input_shape
        if height % size or width % size:
            raise ValueError(f"size {size} does not divide its image, {size_text(input_shape)}")
        if size > MAX_SIZE:
            raise ValueError(f"size {size} is more than {MAX_SIZE}; pool in several steps")
        self.input_shape = input_shape
        self.size = size
        self.output_shape = (channels, height // size, width // size)
        self.width = channels * height * width

    def __repr__(self) -> str:
        shapes = f"{size_text(self.input_shape)} -> {size_text(self.output_shape)}"
        return f"<{type(self).__name__} {self.size}x{self.size}, {shapes}>"

    def allocate(self, x: Array) -> None:
        arguments = self.count, x.dtype
        self.y = empty_rows(self.xp, x.shape[:-2], self.output_shape, *arguments)
        self.dx = empty_rows(self.xp, x.shape[:-2], self.input_shape, *arguments)
        self.saved: tuple[Array, ...] = ()

    def forward(self, x: Array) -> Array:
        self.reserve(x)
        y = as_pictures(self.xp, self.y, self.output_shape)
        self.backend.elementwise(self.formula, *self.pixels(x), out=(y, *self.saved))
        return self.y

    def backward(self, grad: Array) -> Array:
        dy = as_pictures(self.xp, grad, self.output_shape)
        dx = tuple(self.pixels(self.dx))
        self.backend.elementwise(self.gradient, dy, len(dx), *self.saved, out=dx)
        return self.dx

    def pixels(self, rows: Array) -> list[Array]:
        """For each pixel of a square: a view (..., C, rows, columns, N) of it in all squares."""
        pictures, size = as_pictures(self.xp, rows, self.input_shape), self.size
        return [pictures[..., a::size, b::size, :] for a in range(size) for b in range(size)]


class MaxPool2D(Pool2D):
    """y = the largest pixel of a square. This pixel gets the whole gradient, and the others get 0.

    If several pixels are the largest, the first of them gets it, row by row from the upper left.
    """

    def allocate(self, x: Array) -> None:
        super().allocate(x)
        y = as_pictures(self.xp, self.y, self.output_shape)
        pixels = range(self.size**2 - 1)
        self.saved = tuple(self.xp.empty_like(y, dtype=self.xp.bool) for _ in pixels)

    @staticmethod
    def formula(xp: Any, *pixels: Array) -> tuple[Array, ...]:
        """The maximum, and for each pixel except the last, whether it equals the maximum."""
        y = reduce(xp.maximum, pixels)
        return (y, *(x == y for x in pixels[:-1]))

    @staticmethod
    def gradient(xp: Any, dy: Array, count: int, *is_largest: Array) -> tuple[Array, ...]:
        gradients = []
        for mask in is_largest:
            dx = dy * xp.astype(mask, dy.dtype)
            dy = dy - dx  # 0 from here on, if this was the largest
            gradients.append(dx)
        return (*gradients, dy)  # if no other was the largest, the last is


class AveragePool2D(Pool2D):
    """y = the mean of a square. Each of its pixels gets dL/dy / size^2."""

    @staticmethod
    def formula(xp: Any, *pixels: Array) -> tuple[Array]:
        return (sum(pixels[1:], start=pixels[0]) / len(pixels),)

    @staticmethod
    def gradient(xp: Any, dy: Array, count: int) -> tuple[Array, ...]:
        return (dy / count,) * count
