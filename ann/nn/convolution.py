"""Convolution: a small window slides over each picture, and at each position the same weights turn
its pixels into one number per filter.

Letters and shapes: pictures (..., H, W, C, N): height, width, channels and, innermost in memory,
images, so that windows are long runs of numbers. A layer's inputs and outputs are the same arrays
as rows, (..., N, H W C). A window is k x k pixels; it has P positions. There are F filters.
"""

from typing import Any

from ann.backends.base import Array
from ann.nn.initializers import Deviation
from ann.nn.layers import Layer, Parameter

Shape = tuple[int, ...]


def as_pictures(xp: Any, rows: Array, shape: Shape) -> Array:
    """Rows (..., N, H W C) as pictures (..., H, W, C, N) of this shape (H, W, C): a view."""
    return xp.reshape(rows.mT, (*rows.shape[:-2], *shape, rows.shape[-2]), copy=False)


def empty_rows(xp: Any, leading: Shape, shape: Shape, count: int, dtype: Any) -> Array:
    """A new array for rows (..., N, H W C), stored as pictures of this shape (H, W, C)."""
    height, width, channels = shape
    return xp.empty((*leading, height * width * channels, count), dtype=dtype).mT


def size_text(shape: Shape) -> str:
    """A shape in words, such as "28x28" or "12x12x16"."""
    return "x".join(map(str, shape[:2] if shape[2:] == (1,) else shape))


class Conv2D(Layer):
    """y = W^T window + b at each position of the window.

    For each position, this is a product of matrices: W^T (F, k k C) times the pixels of the window
    in all images, (k k C, N). The filters are not flipped, so strictly it is cross-correlation.

    Args:
        input_shape: (H, W, C).
        filters: F, the number of channels of the outputs.
        kernel: k.
        init: (inputs, outputs) -> the standard deviation of the initial weights.
        stride: the distance between positions.
        padding: "valid": windows lie inside the picture. "same": zeros around the picture make room
            for ceil(H / stride) x ceil(W / stride) positions.
        bias: False for a layer without b.

    Raises:
        ValueError: the window is larger than the picture.
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
        *sides, channels = input_shape
        if kernel > min(sides):
            raise ValueError(f"kernel {kernel} is larger than its image, {size_text(input_shape)}")
        self.input_shape = input_shape
        self.filters = filters
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.init = init
        self.has_bias = bias
        room = kernel - 1 if padding == "same" else 0
        steps = [(side + room - kernel) // stride + 1 for side in sides]
        self.padded = [
            max(side, (count - 1) * stride + kernel)
            for side, count in zip(sides, steps, strict=True)
        ]
        self.is_padded = self.padded != sides
        self.output_shape = (*steps, filters)
        self.positions = steps[0] * steps[1]
        self.inputs = kernel * kernel * channels
        self.width = self.positions * max(self.inputs, filters)
        weight = Parameter("weight", (self.inputs, filters), decays=True)
        self.parameters = (weight, Parameter("bias", (1, filters))) if bias else (weight,)

    def __repr__(self) -> str:
        shapes = f"{size_text(self.input_shape)} -> {size_text(self.output_shape)}"
        return f"<Conv2D {self.kernel}x{self.kernel}, {shapes}>"

    def initial_values(self, random: Any) -> dict[str, Any]:
        deviation = self.init(self.inputs, self.kernel * self.kernel * self.filters)
        return {"weight": random.standard_normal((self.inputs, self.filters)) * deviation}

    def allocate(self, x: Array) -> None:
        xp, dtype = self.xp, x.dtype
        own, leading = x.shape[:-2], self.weight.shape[:-2]  # a committee may share its inputs
        last = self.input_shape[-1], self.count
        windows = (*self.output_shape[:2], self.kernel, self.kernel, *last)
        matrices = self.positions, self.inputs, self.count
        self.pictures = xp.zeros((*own, *self.padded, *last), dtype=dtype)
        self.windows = xp.empty((*own, *windows), dtype=dtype)
        self.pixels = xp.reshape(self.windows, (*own, *matrices), copy=False)
        self.y = empty_rows(xp, leading, self.output_shape, self.count, dtype)
        # for backward; the gradients of the pixels may overwrite the pixels, if these are as many
        self.dwindows = self.windows
        if own != leading:
            self.dwindows = xp.empty((*leading, *windows), dtype=dtype)
        self.dpixels = xp.reshape(self.dwindows, (*leading, *matrices), copy=False)
        self.dx = empty_rows(xp, leading, self.input_shape, self.count, dtype)
        self.dpictures = as_pictures(xp, self.dx, self.input_shape)
        if self.is_padded:
            self.dpictures = xp.empty((*leading, *self.padded, *last), dtype=dtype)
        self.dweights = xp.empty((*leading, self.positions, *self.weight.shape[-2:]), dtype=dtype)
        self.dbiases = xp.empty((*leading, self.positions, self.filters, 1), dtype=dtype)
        self.dweight = xp.empty_like(self.weight)
        self.dbias = xp.empty((*leading, self.filters, 1), dtype=dtype)
        self.ones = xp.ones((self.count, 1), dtype=dtype)

    def forward(self, x: Array) -> Array:
        """y = W^T window + b"""
        self.reserve(x)
        backend, weight = self.backend, self.weight[..., None, :, :]  # one for all positions
        backend.copyto(as_pictures(self.xp, x, self.input_shape), out=self.inside(self.pictures))
        backend.copy_windows(self.pictures, self.stride, out=self.windows)
        y = self.by_position(self.y)
        backend.matmul(weight.mT, self.pixels, out=y)
        if self.has_bias:
            self.xp.add(y, self.bias.mT[..., None, :, :], out=y)
        return self.y

    def backward(
        self, grad: Array, *, accumulate: float = 0.0, input_gradient: bool = True
    ) -> Array | None:
        """dL/dW = the sum of window dL/dy^T over the positions; dL/db = the sum of dL/dy;
        dL/dwindow = W dL/dy. dL/dx of a pixel is the sum over the windows that contain it.
        """
        xp, backend, weight = self.xp, self.backend, self.weight[..., None, :, :]
        dy = self.by_position(grad)
        backend.matmul(self.pixels, dy.mT, out=self.dweights)
        xp.sum(self.dweights, axis=-3, out=self.dweight)
        backend.axpby(self.dweight, out=self.weight_gradient, alpha=1.0, beta=accumulate)
        if self.has_bias:
            backend.matmul(dy, self.ones, out=self.dbiases)
            xp.sum(self.dbiases, axis=-3, out=self.dbias)
            backend.axpby(self.dbias.mT, out=self.bias_gradient, alpha=1.0, beta=accumulate)
        if not input_gradient:
            return None
        backend.matmul(weight, dy, out=self.dpixels)
        backend.add_windows(self.dwindows, self.stride, out=self.dpictures)
        if self.is_padded:
            dx = as_pictures(xp, self.dx, self.input_shape)
            backend.copyto(self.inside(self.dpictures), out=dx)
        return self.dx

    def by_position(self, rows: Array) -> Array:
        """Rows (..., N, O) of outputs as matrices (..., P, F, N): a view."""
        shape = (*rows.shape[:-2], self.positions, self.filters, rows.shape[-2])
        return self.xp.reshape(rows.mT, shape, copy=False)

    def inside(self, padded: Array) -> Array:
        """Padded pictures (..., H', W', C, N) without the zeros around them: a view."""
        height, width, _ = self.input_shape
        top, left = (self.padded[0] - height) // 2, (self.padded[1] - width) // 2
        return padded[..., top : top + height, left : left + width, :, :]
