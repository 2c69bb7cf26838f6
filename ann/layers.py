"""Layers: a row of neurons each, forward and backward. A network is layers in a row, and backpropagation is
their backward methods in reverse.

Letters and shapes, everywhere: x (N, I) inputs, z (N, O) weighted sums, y (N, O) outputs; weight (I, O), bias
(1, O), for N images, I inputs, O outputs. ``grad`` is the derivative of the mean loss with respect to
whatever the method's name or argument says, and has its shape.

Who owns which array: ``forward`` and ``backward`` return arrays of the layer, valid until the same method is
called again. ``forward`` never writes to its input and needs it unchanged until ``backward``; ``backward``
may overwrite the gradient that it is given. ``apply`` returns a new array and leaves the layer untouched, so
any number of threads may call it.
"""

from __future__ import annotations

from typing import Any

import ann.initializers as initializers
from ann.activations import get_activation
from ann.backend import Array


class Dense:
    """Every output sums every input: y = f(x W + b)."""

    def __init__(self, xp: Any, input_dim: int, output_dim: int, activation: str) -> None:
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.activation = get_activation(activation)
        self.shapes = {"weight": (input_dim, output_dim), "bias": (1, output_dim)}
        self._xp = xp

    def initial_weight(self, random: Any) -> Any:
        """A host array to start from. Biases start at 0."""
        return initializers.initial_weight(random, self.input_dim, self.output_dim, self.activation.name)

    def bind(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Take views of the network's parameter and gradient vectors, of the shapes in ``shapes``."""
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        self.weight_gradient, self.bias_gradient = gradients["weight"], gradients["bias"]
        self._capacity = self._batch = 0

    def apply(self, x: Array) -> Array:
        """x (N, I) -> y (N, O), a new array."""
        z = self._xp.matmul(x, self.weight)
        return self._activate(z, out=z)

    def forward(self, x: Array) -> Array:
        """x (N, I) -> y (N, O)."""
        self._reserve(x)
        self._x = x
        z = self._xp.matmul(x, self.weight, out=self._z)
        return self._activate(z, out=self._y)

    def backward(self, grad: Array, *, input_gradient: bool = True) -> Array:
        """dL/dy (N, O) -> dL/dx (N, I), or None where no ``input_gradient`` is wanted.

        With D = dL/dz: dL/dW = x^T D and dL/db = 1^T D, sums over the batch; dL/dx = D W^T.
        """
        xp = self._xp
        kept = self._y if self.activation.keeps == "output" else self._z
        self.activation.backward(xp, grad, kept, self._scratch)
        xp.matmul(self._x.mT, grad, out=self.weight_gradient)
        xp.matmul(self._ones, grad, out=self.bias_gradient)  # a product sums faster than sum() here
        if not input_gradient:
            return None
        return xp.matmul(grad, self.weight.mT, out=self._x_gradient)

    def _activate(self, z: Array, out: Array) -> Array:
        self._xp.add(z, self.bias, out=z)
        self.activation.function(self._xp, z, out)
        return out

    def _reserve(self, x: Array) -> None:
        """Set the working arrays to the batch size of x, allocating only when it is the largest so far."""
        xp, batch = self._xp, x.shape[-2]
        if batch == self._batch:
            return
        if batch > self._capacity:
            self._capacity = batch
            leading = self.weight.shape[:-2]  # () for one network, (K,) for K of them side by side
            outputs, inputs = (*leading, batch, self.output_dim), (*leading, batch, self.input_dim)
            shapes = [outputs, outputs, inputs] + [outputs] * (self.activation.keeps == "input")
            self._buffers = [xp.empty(shape, dtype=x.dtype) for shape in shapes]
        self._batch = batch
        self._z, self._scratch, self._x_gradient, *y = (buffer[..., :batch, :] for buffer in self._buffers)
        self._y = y[0] if y else self._z  # in place where z is not needed again
        self._ones = xp.ones((1, batch), dtype=x.dtype)
