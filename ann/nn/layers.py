"""Layers: a row of neurons each, forward and backward. A network is layers in a row, and backpropagation is
their backward methods in reverse.

Letters and shapes, everywhere: x (N, I) inputs, z (N, O) weighted sums, y (N, O) outputs; weight (I, O), bias
(1, O), for N images, I inputs, O outputs. In a committee of K networks each has one more axis, the first, but for x
where all share the images. ``grad`` is the derivative of the mean loss with respect to whatever the method's name or
argument says, and has its shape.

A bias is the weight of an input that is always 1. So between layers every array has one more column, of ones,
x (N, I + 1), a layer's parameters are one matrix W (I + 1, O) with the biases in its last row, and z = x W is all.

Who owns which array: ``forward`` and ``backward`` return arrays of the layer, valid until the same method is
called again. ``forward`` never writes to its input and needs it unchanged until ``backward``; ``backward``
may overwrite the gradient that it is given. ``apply`` returns a new array and leaves the layer untouched, so
any number of threads may call it.
"""

from __future__ import annotations

from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.activations import get_activation
from ann.validation import SetOnce


class Dense(SetOnce):
    """Every output sums every input: y = f(scale x W).

    The scale is 1 but for pixels from 0 to 255, with 255 in their last column: times 1/255 they are the inputs of a
    first layer, and a product can be scaled for nothing.

    Args:
        backend: what computes.
        input_dim, output_dim: I and O.
        activation: f, by name.
        with_ones: whether the outputs get the column of ones that a layer after it needs.
        memory: what ``backward`` leaves of the gradients that were there before; see ``optim.sgd.SGD``.
    """

    def __init__(
        self,
        backend: Backend,
        input_dim: int,
        output_dim: int,
        activation: str,
        *,
        with_ones: bool = True,
        memory: float = 0.0,
    ) -> None:
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.activation = get_activation(activation)
        self.shape = (input_dim + 1, output_dim)
        self._backend, self._with_ones, self._memory = backend, with_ones, memory

    def __repr__(self) -> str:
        return f"<Dense {self.input_dim} -> {self.output_dim} {self.activation.name}>"

    def initial_weight(self, random: Any) -> Any:
        """A host array to start from. Biases start at 0."""
        deviation = self.activation.init(self.input_dim, self.output_dim)
        return random.standard_normal((self.input_dim, self.output_dim)) * deviation

    def bind(self, parameters: Array, gradients: Array) -> None:
        """Take views (..., I + 1, O) of the network's parameter and gradient vectors."""
        self.parameters, self.gradients = parameters, gradients
        self.weight, self.bias = parameters[..., :-1, :], parameters[..., -1:, :]
        self._batch = 0

    def apply(self, x: Array, scale: float = 1.0) -> Array:
        """x (N, I + 1) -> y (N, O + 1), or (N, O) without ones, a new array."""
        output, y = self._new_output(x)
        self._compute(x, scale, z=y, y=y)
        return output

    def forward(self, x: Array, scale: float = 1.0) -> Array:
        """x (N, I + 1) -> y (N, O + 1), or (N, O) without ones."""
        self._reserve(x)
        self._x, self._scale = x, scale
        self._compute(x, scale, z=self._z, y=self._y)
        return self._output

    def backward(self, grad: Array, *, input_gradient: bool = True) -> Array:
        """dL/dy (N, O) -> dL/dx (N, I), or None where no ``input_gradient`` is wanted.

        With D = dL/dz: dL/dW = scale x^T D, a sum over the batch, and dL/dx = scale D W^T.
        """
        backend = self._backend
        saved = self._y if self.activation.derivative_of == "output" else self._z
        self.activation.backward(backend, grad, saved)
        backend.matmul(self._x.mT, grad, out=self.gradients, alpha=self._scale, beta=self._memory)
        if not input_gradient:
            return None
        backend.matmul(grad, self.weight.mT, out=self._x_gradient, alpha=self._scale)
        return self._x_gradient

    def _compute(self, x: Array, scale: float, z: Array, y: Array) -> None:
        self._backend.matmul(x, self.parameters, out=z, alpha=scale)
        self.activation.forward(self._backend, z, out=y)

    def _reserve(self, x: Array) -> None:
        """Set the working arrays to the batch size of x."""
        if x.shape[-2] == self._batch:
            return
        self._batch = x.shape[-2]
        self._output, self._y = self._new_output(x)
        # the sum is overwritten where it is not needed again
        self._z = self._y if self.activation.derivative_of == "output" else self._backend.xp.empty_like(self._y)
        self._x_gradient = self._by_columns(x, self.input_dim)

    def _new_output(self, x: Array) -> tuple[Array, Array]:
        """An array for the outputs, and its part without the column of ones."""
        if not self._with_ones:
            output = self._backend.xp.empty((*self._leading, x.shape[-2], self.output_dim), dtype=x.dtype)
            return output, output
        output = self._by_columns(x, self.output_dim + 1)
        output[..., -1:] = self._backend.xp.ones((x.shape[-2], 1), dtype=x.dtype)
        return output, output[..., :-1]

    def _by_columns(self, x: Array, columns: int) -> Array:
        """A new array (N, columns), column after column in memory, so that a part without the last is contiguous."""
        return self._backend.xp.empty((*self._leading, columns, x.shape[-2]), dtype=x.dtype).mT

    @property
    def _leading(self) -> tuple[int, ...]:
        """() for one network, (K,) for K of them side by side."""
        return tuple(self.parameters.shape[:-2])
