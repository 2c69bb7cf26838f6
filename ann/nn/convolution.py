"""Convolution: a small window slides over each picture. At each position, every filter computes one
number: the weighted sum of the pixels in the window, with the same weights at all positions.

Letters and shapes:
    C, H, W: channels, height and width of the inputs.
    N: images in a batch.
    k: side of the window, which covers k x k pixels of every channel.
    F: filters, which are the channels of the outputs.
    P: positions of the window in a picture.

Pictures are arrays (..., C, H, W, N). The images are the last axis, so each pixel is a long run
in memory. Layers exchange the same arrays as rows, (..., N, C H W).
"""

import math
from typing import Any

from ann.backends.base import Array
from ann.nn.initializers import Deviation
from ann.nn.layers import Layer, Parameter

Shape = tuple[int, ...]


def as_pictures(xp: Any, rows: Array, shape: Shape) -> Array:
    """Rows (..., N, C H W) as pictures (..., C, H, W, N) of this shape (C, H, W): a view."""
    return xp.reshape(rows.mT, (*rows.shape[:-2], *shape, rows.shape[-2]), copy=False)


def empty_rows(xp: Any, leading: Shape, shape: Shape, count: int, dtype: Any) -> Array:
    """A new array for rows (..., N, C H W), stored as pictures of this shape (C, H, W)."""
    return xp.empty((*leading, math.prod(shape), count), dtype=dtype).mT


def size_text(shape: Shape) -> str:
    """A shape as text: "16x12x12", or "28x28" for a single channel."""
    return "x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape))


class Conv2D(Layer):
    """y[f, i, j] = bias[f] + sum over c, a, b of W[c, a, b, f] x[c, i stride + a, j stride + b].

    As a matrix product: put the C k k pixels of each window into a column ("im2col"). The windows
    at all positions of all images are then a matrix X (C k k, P N), and y = W^T X + b with W
    (C k k, F). On the CPU, X is never stored as a whole; see ``backends/convolution.py``. As in
    most libraries, filters are not flipped, so in mathematics this is called a cross-correlation.

    Args:
        input_shape: (C, H, W).
        filters: F, the number of channels of the outputs.
        kernel: k.
        init: (inputs, outputs) -> the standard deviation of the initial weights. A number in y
            depends on C k k inputs, and an input influences about F k k outputs.
        stride: the number of pixels between neighbouring positions.
        padding: "valid": windows lie inside the picture. "same": zeros around the picture make room
            for ceil(H / stride) x ceil(W / stride) positions. If their number is odd, there is one
            more on the right or at the bottom.
        bias: False for a layer without b.

    Raises:
        ValueError: the window or the stride is larger than the picture.
    """

    weight: Array
    bias: Array
    weight_gradient: Array
    bias_gradient: Array

    def __init__(
        self,
        input_shape: Shape,
        filters: int,
        kernel: int,
        init: Deviation,
        *,
        stride: int = 1,
        padding: str = "valid",
        bias: bool = True,
    ) -> None:
        channels, *sides = input_shape
        if kernel > min(sides):
            raise ValueError(f"kernel {kernel} is larger than its image, {size_text(input_shape)}")
        if stride > max(sides):
            raise ValueError(f"stride {stride} is larger than its image, {size_text(input_shape)}")
        self.input_shape = input_shape
        self.filters = filters
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.init = init
        self.has_bias = bias
        zeros = kernel - 1 if padding == "same" else 0
        counts = [(side + zeros - kernel) // stride + 1 for side in sides]  # rows and columns of y
        needed = [(count - 1) * stride + kernel for count in counts]  # from first to last window
        self.padded = list(map(max, sides, needed))  # height and width with the zeros around
        self.is_padded = self.padded != sides
        self.output_shape = (filters, *counts)
        self.positions = math.prod(counts)
        self.inputs = channels * kernel * kernel
        self.width = self.positions * max(self.inputs, filters)
        weight = Parameter("weight", (self.inputs, filters), decays=True)
        self.parameters = (weight, Parameter("bias", (1, filters))) if bias else (weight,)

    def __repr__(self) -> str:
        shapes = f"{size_text(self.input_shape)} -> {size_text(self.output_shape)}"
        return f"<Conv2D {self.kernel}x{self.kernel}, {shapes}>"

    def initial_values(self, random: Any) -> dict[str, Any]:
        deviation = self.init(self.inputs, self.filters * self.kernel * self.kernel)
        return {"weight": random.standard_normal((self.inputs, self.filters)) * deviation}

    def allocate(self, x: Array) -> None:
        xp, dtype = self.xp, x.dtype
        own, leading = x.shape[:-2], self.weight.shape[:-2]  # () and (K,) for shared inputs
        padded = self.input_shape[0], *self.padded, self.count
        self.pictures = xp.zeros((*own, *padded), dtype=dtype)
        self.y = empty_rows(xp, leading, self.output_shape, self.count, dtype)
        self.dy = xp.empty_like(self.y.mT)
        self.dx = empty_rows(xp, leading, self.input_shape, self.count, dtype)
        self.dpictures = as_pictures(xp, self.dx, self.input_shape)
        if self.is_padded:
            self.dpictures = xp.empty((*leading, *padded), dtype=dtype)
        self.ones = xp.ones((1, self.positions * self.count), dtype=dtype)

    def forward(self, x: Array) -> Array:
        self.reserve(x)
        self.x = self.with_padding(as_pictures(self.xp, x, self.input_shape))  # for the gradients
        y = as_pictures(self.xp, self.y, self.output_shape)
        self.backend.convolve(self.x, self.as_kernels(self.weight), self.stride, out=y)
        if self.has_bias:
            self.xp.add(y, self.bias.mT[..., None, None], out=y)  # (..., F, 1, 1, 1)
        return self.y

    def compute_gradients(self, grad: Array, accumulate: float = 0.0) -> None:
        """dL/dW = X dL/dy^T; dL/db = the sum of dL/dy over the positions and the batch"""
        dy, dw = self.as_outputs(grad), self.as_kernels(self.weight_gradient)
        self.backend.convolution_weights(self.x, dy, self.stride, out=dw, beta=accumulate)
        if self.has_bias:
            matrix = self.xp.reshape(dy, (*dy.shape[:-4], self.filters, -1), copy=False)
            self.backend.matmul(self.ones, matrix.mT, out=self.bias_gradient, beta=accumulate)

    def backward(self, grad: Array) -> Array:
        """dL/dX = W dL/dy. A pixel is in several windows: dL/dx is the sum of its entries there."""
        weight, dy = self.as_kernels(self.weight), self.as_outputs(grad)
        self.backend.convolution_inputs(weight, dy, self.stride, out=self.dpictures)
        if self.is_padded:
            dx = as_pictures(self.xp, self.dx, self.input_shape)
            self.backend.copyto(self.without_padding(self.dpictures), out=dx)
        return self.dx

    def as_outputs(self, grad: Array) -> Array:
        """dL/dy as pictures (..., F, rows, columns, N), in order in memory."""
        columns = self.backend.contiguous(grad.mT, room=self.dy)
        return as_pictures(self.xp, columns.mT, self.output_shape)

    def as_kernels(self, weight: Array) -> Array:
        """A matrix (..., C k k, F) as weights (..., C, k, k, F): a view."""
        kernels = self.input_shape[0], self.kernel, self.kernel, self.filters
        return self.xp.reshape(weight, (*weight.shape[:-2], *kernels), copy=False)

    def with_padding(self, pictures: Array) -> Array:
        """Pictures (..., C, H, W, N) with the zeros around them, in order in memory."""
        if not self.is_padded:
            return self.backend.contiguous(pictures, room=self.pictures)
        self.backend.copyto(pictures, out=self.without_padding(self.pictures))
        return self.pictures

    def without_padding(self, padded: Array) -> Array:
        """Padded pictures (..., C, H', W', N) without the zeros around them: a view."""
        _, height, width = self.input_shape
        top, left = (self.padded[0] - height) // 2, (self.padded[1] - width) // 2
        return padded[..., top : top + height, left : left + width, :]
