"""Batch normalisation: in training, each neuron's sums are brought to mean 0 and variance 1 over the batch, so that no
layer starves or floods the next. Outside training there is none: with the means and variances of many batches it is a
factor for each neuron's weights and a shift of its bias, and the network gets it as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.layers import Dense
from ann.training.distributed import SINGLE_PROCESS, Processes

_EPSILON = 1e-5  # against a variance of 0
_MEMORY = 0.9  # of the running statistics, as is usual: about the last ten batches


class NormalizedDense(Dense):
    """In training: y = f(gain (z - mean) / sqrt(variance + epsilon) + bias), with z = scale x W, over the batch.

    Ioffe & Szegedy (2015), algorithm 1, and its gradients in section 3. The bias, which the mean would swallow, is
    the paper's shift.

    Attributes:
        statistics: (..., 2, O) device array: the mean and the variance of z over the last batch.
    """

    def bind_gain(self, gain: Array, gain_gradient: Array, statistics: Array) -> None:
        """Take views: two (..., 1, O) and one (..., 2, O)."""
        self._gain, self._gain_gradient, self.statistics = gain, gain_gradient, statistics

    def of_batch(self, processes: Processes, share: float) -> None:
        """The rows that it will be handed are this share of a batch; of 0, they count nothing."""
        self._processes, self._share = processes, share

    def forward(self, x: Array, scale: float = 1.0) -> Array:
        """x (..., N, I + 1) -> y (..., N, O + 1), or (..., N, O) without ones."""
        self._reserve(x)
        self._x, self._scale = x, scale
        backend, xp, z, unit = self._backend, self._backend.xp, self._z, self._unit
        mean, variance = self.statistics[..., :1, :], self.statistics[..., 1:, :]
        backend.matmul(x[..., :-1], self.weight, out=z, alpha=scale)
        self._sum_rows(z, mean, self._share / z.shape[-2])
        xp.subtract(z, mean, out=unit)
        xp.multiply(unit, unit, out=z)
        self._sum_rows(z, variance, self._share / z.shape[-2])
        xp.add(variance, _EPSILON, out=self._deviation)
        xp.sqrt(self._deviation, out=self._deviation)
        xp.divide(unit, self._deviation, out=unit)
        xp.multiply(unit, self._gain, out=z)
        xp.add(z, self.bias, out=z)
        self.activation.forward(backend, z, out=self._y)
        return self._output

    def backward(self, grad: Array, *, input_gradient: bool = True) -> Array:
        """dL/dy (N, O) -> dL/dx (N, I), or None where no ``input_gradient`` is wanted.

        With u = gain unit + bias, y = f(u), D = dL/du, and means over the batch: dL/dbias = sum D, dL/dgain =
        sum D unit, and dL/dz = gain / deviation (D - mean D - unit mean(D unit)).
        """
        backend, xp, unit, scratch = self._backend, self._backend.xp, self._unit, self._scratch
        saved = self._y if self.activation.derivative_of == "output" else self._z
        self.activation.backward(backend, grad, saved)
        weight_gradient, bias_gradient = self.gradients[..., :-1, :], self.gradients[..., -1:, :]
        backend.matmul(self._sum_of, grad, out=bias_gradient)
        xp.multiply(grad, unit, out=scratch)
        backend.matmul(self._sum_of, scratch, out=self._gain_gradient)
        sum_grad, sum_grad_unit = bias_gradient, self._gain_gradient  # of these rows, and wanted of the batch
        if self._processes.size > 1:
            sum_grad, sum_grad_unit = self._sums
            for own, of_all in ((bias_gradient, sum_grad), (self._gain_gradient, sum_grad_unit)):
                backend.copyto(own, out=of_all)
                backend.call(partial(self._processes.sum, of_all))
        xp.multiply(unit, sum_grad_unit, out=scratch)
        xp.add(scratch, sum_grad, out=scratch)
        xp.multiply(scratch, self._share / grad.shape[-2], out=scratch)
        xp.subtract(grad, scratch, out=grad)
        xp.divide(self._gain, self._deviation, out=self._slope)
        xp.multiply(grad, self._slope, out=grad)
        backend.matmul(self._x[..., :-1].mT, grad, out=weight_gradient, alpha=self._scale)
        if not input_gradient:
            return None
        backend.matmul(grad, self.weight.mT, out=self._x_gradient, alpha=self._scale)
        return self._x_gradient

    def _sum_rows(self, rows: Array, out: Array, scale: float) -> None:
        """The sum over the whole batch, times the scale."""
        if self._processes.size == 1:
            self._backend.matmul(self._sum_of, rows, out=out, alpha=scale)
            return
        self._backend.matmul(self._sum_of, rows, out=self._sums[0], alpha=scale)
        self._backend.call(partial(self._processes.sum, self._sums[0]))
        self._backend.copyto(self._sums[0], out=out)

    def _reserve(self, x: Array) -> None:
        if x.shape[-2] != self._batch:
            xp, count = self._backend.xp, x.shape[-2]
            super()._reserve(x)
            self._unit, self._scratch = (xp.empty_like(self._y) for _ in range(2))
            self._sum_of = xp.ones((1, count), dtype=x.dtype)
            row = (*self._leading, 1, self.output_dim)
            self._deviation, self._slope, *self._sums = (xp.empty(row, dtype=x.dtype) for _ in range(4))


class BatchNorm:
    """The gains and running statistics of a network's hidden layers, and how they go into plain weights.

    Args:
        backend: what computes.
        widths: O of each hidden layer.
        gains, gain_gradients: device vectors (..., G), the gains of all layers in a row; they are set to 1.

    Attributes:
        state: the running statistics, a device vector (..., 2 G): each layer's means and then its variances.
    """

    def __init__(self, backend: Backend, widths: Sequence[int], gains: Array, gain_gradients: Array) -> None:
        xp = backend.xp
        self._backend, self._widths, self._gains, self._gradients = backend, widths, gains, gain_gradients
        gains[...] = xp.ones_like(gains)
        self._statistics = xp.zeros((*gains.shape[:-1], 2 * sum(widths)), dtype=gains.dtype)
        self.state = backend.xp.zeros_like(self._statistics)

    def layers(self, layers: Sequence[Dense], processes: Processes = SINGLE_PROCESS, share: float = 1.0) -> list[Any]:
        """A training network's layers with the hidden ones normalised, on the same weights; see ``of_batch``."""
        row: list[Any] = []
        for number, layer in enumerate(layers[:-1]):
            normalized = NormalizedDense(self._backend, layer.input_dim, layer.output_dim, layer.activation.name)
            normalized.bind(layer.parameters, layer.gradients)
            gain, gradient = (self._row(vector, number) for vector in (self._gains, self._gradients))
            normalized.bind_gain(gain, gradient, self._pair(self._statistics, number))
            normalized.of_batch(processes, share)
            row.append(normalized)
        return [*row, *layers[-1:]]

    @staticmethod
    def change(step: int, share: float) -> float:
        """How much of the last batch's statistics go into the running ones in this step, counted from 1.

        share: the batch's size in that of a whole batch, since small batches know less of means and variances.
        """
        return share * (1.0 - min(_MEMORY, (step - 1.0) / (step + 8.0)))

    def update(self, change: Array, keep: Array) -> None:
        """Let the running statistics follow those of the last batch; ``keep`` is 1 - change."""
        self._backend.axpby(self._statistics, self.state, change, keep)

    def fold(self, matrices: Sequence[Array], gains: Array) -> None:
        """Put gains and running statistics into the hidden layers' matrices (..., I + 1, O), weights above biases.

        gain (x W - mean) / deviation + bias is x (gain / deviation W) + (bias - gain / deviation mean).
        """
        xp = self._backend.xp
        for number, matrix in enumerate(matrices[:-1]):
            statistics = self._pair(self.state, number)
            factor = xp.sqrt(xp.add(statistics[..., 1:, :], _EPSILON))
            xp.divide(self._row(gains, number), factor, out=factor)
            weight, bias = matrix[..., :-1, :], matrix[..., -1:, :]
            xp.multiply(weight, factor, out=weight)
            xp.subtract(bias, xp.multiply(factor, statistics[..., :1, :]), out=bias)

    def _row(self, vector: Array, number: int) -> Array:
        """A layer's part of a vector of gains, (..., 1, O)."""
        start = sum(self._widths[:number])
        return vector[..., None, start : start + self._widths[number]]

    def _pair(self, vector: Array, number: int) -> Array:
        """A layer's part of a vector of statistics, (..., 2, O)."""
        start, width = 2 * sum(self._widths[:number]), self._widths[number]
        shape = (*vector.shape[:-1], 2, width)
        return self._backend.xp.reshape(vector[..., start : start + 2 * width], shape, copy=False)
