"""Batch normalisation. In training, the weighted sums of each neuron, or of each channel of a
convolution, are normalised to mean 0 and variance 1 over the batch. This allows larger learning
rates. After training it is folded into the weights, so a trained network has no such layer.

Ioffe & Szegedy (2015), algorithm 1; the gradients are in section 3.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ann.backends.base import Array
from ann.nn.layers import Layer, Parameter

_EPSILON = 1e-5  # avoids a division by 0


class BatchNorm(Layer):
    """y = gain u + shift, where u = (x - mean) / deviation normalises x over the batch.

    With several processes, "the batch" is the whole batch, of which each has a share.

    Args:
        dim: O, the number of neurons, or of channels for pictures.
        all_reduce: replaces an array in place by its sum over all processes that share a batch;
            None for a single process.
        positions: P, the number of pixels of a picture; 1 after a dense layer. Each channel is
            normalised over the batch and all positions: x (..., N, O P) is seen as (..., N P, O).

    Attributes:
        share: the fraction of the batch that this process has.
        statistics: (..., 2, O) device array: the mean and the variance of each neuron or channel
            over the last batch. Set it before the first batch; ``forward`` writes to it.
    """

    gain: Array
    shift: Array
    gain_gradient: Array
    shift_gradient: Array
    statistics: Array

    def __init__(
        self, dim: int, all_reduce: Callable[[Array], None] | None = None, *, positions: int = 1
    ) -> None:
        self.dim = dim
        self.all_reduce = all_reduce
        self.positions = positions
        self.share = 1.0
        self.parameters = (Parameter("gain", (1, dim)), Parameter("shift", (1, dim)))

    def allocate(self, x: Array) -> None:
        xp = self.xp
        self.room = xp.empty_like(x.mT) if self.positions > 1 else None
        x = self.by_column(x)
        self.scale = self.share * (1.0 / x.shape[-2])  # 1 / (rows in the whole batch)
        self.y = xp.empty_like(x)
        self.unit = xp.empty_like(x)
        self.deviation = xp.empty_like(self.gain)
        self.row = xp.empty_like(self.gain)  # contiguous, for all_reduce
        self.sums = xp.empty_like(self.statistics)  # of dL/dy and of dL/dy u
        self.ones = xp.ones((1, x.shape[-2]), dtype=x.dtype)  # ones @ rows is the sum of the rows

    def forward(self, x: Array) -> Array:
        self.reserve(x)
        x, elementwise = self.by_column(x), self.backend.elementwise
        mean, variance = _rows(self.statistics)
        self.average(x, out=mean)
        elementwise(_centred, x, mean, out=(self.unit, self.y))
        self.average(self.y, out=variance)
        elementwise(_deviation, variance, out=self.deviation)
        arrays = self.unit, self.deviation, self.gain, self.shift
        elementwise(_normalised, *arrays, out=(self.unit, self.y))
        return self.as_rows(self.y)

    def average(self, rows: Array, out: Array) -> None:
        """out (..., 1, O) = the mean of the rows (..., N, O) of all processes."""
        self.backend.matmul(self.ones, rows, out=out, alpha=self.scale)
        if self.all_reduce:
            self.backend.copyto(out, out=self.row)
            self.backend.call(partial(self.all_reduce, self.row))
            self.backend.copyto(self.row, out=out)

    def compute_gradients(self, grad: Array, accumulate: float = 0.0) -> None:
        """dL/dshift = sum dL/dy; dL/dgain = sum dL/dy u"""
        backend, grad = self.backend, self.by_column(grad)
        product = self.y  # nothing reads y any more
        self.xp.multiply(grad, self.unit, out=product)
        gradients = self.shift_gradient, self.gain_gradient
        for rows, sums, total in zip((grad, product), _rows(self.sums), gradients, strict=True):
            backend.matmul(self.ones, rows, out=sums)
            backend.elementwise(_accumulated, sums, total, accumulate, out=total)
        if self.all_reduce:
            backend.call(partial(self.all_reduce, self.sums))

    def backward(self, grad: Array) -> Array:
        """dL/dx = gain / deviation (dL/dy - mean(dL/dy) - u mean(dL/dy u))

        The first term is the chain rule with a fixed mean and deviation. Both depend on x: since
        d mean / dx_n = 1 / N and d deviation / dx_n = u_n / N, they add the other two terms, whose
        sums ``compute_gradients`` has computed.
        """
        grad = self.by_column(grad)
        arrays = grad, self.unit, *_rows(self.sums), self.gain, self.deviation
        self.backend.elementwise(_gradient, *arrays, self.scale, out=grad)
        return self.as_rows(grad)

    def by_column(self, rows: Array) -> Array:
        """Rows (..., N, O P) as a matrix (..., N P, O): a view, if they are stored as pictures."""
        if self.positions == 1:
            return rows
        columns = self.backend.contiguous(rows.mT, room=self.room)
        return self.xp.reshape(columns, (*rows.shape[:-2], self.dim, -1), copy=False).mT

    def as_rows(self, columns: Array) -> Array:
        """The inverse of ``by_column``."""
        shape = *columns.shape[:-2], self.dim * self.positions, self.count
        return self.xp.reshape(columns.mT, shape, copy=False).mT

    def fold(
        self, weight: Array, statistics: Array, gain: Array, shift: Array
    ) -> tuple[Array, Array]:
        """The weight and bias of one layer that does what x W and this layer do together.

        With fixed statistics and factor = gain / deviation,
        gain (x W - mean) / deviation + shift = x (W factor) + (shift - mean factor).
        """
        mean, variance = _rows(statistics)
        factor = gain / _deviation(self.xp, variance)
        return weight * factor, shift - mean * factor


def _rows(pair: Array) -> tuple[Array, Array]:
    """The two rows (..., 1, O) of an array (..., 2, O), as views."""
    return pair[..., :1, :], pair[..., 1:, :]


def _centred(xp: Any, x: Array, mean: Array) -> tuple[Array, Array]:
    """x - mean, and its square."""
    centred = x - mean
    return centred, centred * centred


def _deviation(xp: Any, variance: Array) -> Array:
    return xp.sqrt(variance + _EPSILON)


def _normalised(
    xp: Any, centred: Array, deviation: Array, gain: Array, shift: Array
) -> tuple[Array, Array]:
    unit = centred / deviation
    return unit, gain * unit + shift


def _accumulated(xp: Any, new: Array, old: Array, accumulate: float) -> Array:
    return new + accumulate * old


def _gradient(
    xp: Any, dy: Array, u: Array, s: Array, su: Array, gain: Array, deviation: Array, scale: float
) -> Array:
    """``BatchNorm.backward``, where s and su are the sums of dL/dy and dL/dy u."""
    return gain / deviation * (dy - scale * s - u * (scale * su))
