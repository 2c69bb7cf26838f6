"""Layers. Forward, a layer computes outputs from inputs. Backward, it turns the gradient with
respect to its outputs into the gradient with respect to its inputs. A network is a sequence of
layers; backpropagation is their backward methods in reverse order.

Letters and shapes: x (..., N, I) inputs and y (..., N, O) outputs, one row for each of N images;
W (..., I, O) weights and b (..., 1, O) biases. ``...`` stands for the members of a committee, or
for nothing. ``grad`` is the derivative of the mean loss with respect to the layer's output, dL/dy,
and has the shape of y. It already contains the 1 / N of the mean, so the gradients of parameters
are sums over the batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

from ann.backends.base import Array, Backend
from ann.nn.activations import get_activation
from ann.nn.initializers import Deviation


@dataclass(frozen=True)
class Parameter:
    """A parameter that a layer learns.

    Attributes:
        name: of the attribute that holds it, such as "weight".
        shape: without the axis of a committee's members.
        decays: whether weight decay applies to it, as it does to weights but not to biases.
    """

    name: str
    shape: tuple[int, ...]
    decays: bool = False


class Layer(ABC):
    """Maps rows to rows. Results are in the layer's own arrays, which the next call overwrites.

    Attributes:
        parameters: what it learns. ``bind`` sets two attributes for each: the values and their
            gradient, such as ``weight`` and ``weight_gradient``.
        input_shape, output_shape: of one input and one output: (I,) and (O,), or (channels, height,
            width) for pictures. Only layers in a layer list have them, and ``width``.
        width: how many numbers the layer stores for one image, at most.
    """

    parameters: tuple[Parameter, ...] = ()
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    width: int

    def initial_values(self, random: Any) -> dict[str, Any]:
        """Random host arrays by name, from a NumPy generator. Parameters without one start at 0."""
        return {}

    def bind(self, backend: Backend, values: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Attach a backend, and views of the parameters and their gradients by name."""
        self.backend, self.xp, self.count = backend, backend.xp, 0
        for parameter in self.parameters:
            setattr(self, parameter.name, values[parameter.name])
            setattr(self, f"{parameter.name}_gradient", gradients[parameter.name])

    def with_own_arrays(self, backend: Backend) -> Self:
        """A copy with the same parameters but new working arrays. Every prediction makes one."""
        other = object.__new__(type(self))  # faster than copy.copy
        other.__dict__.update(self.__dict__)
        other.backend, other.xp, other.count = backend, backend.xp, 0
        return other

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """x -> y. The gradients read x again, so it must not change in between."""

    def compute_gradients(self, grad: Array, accumulate: float = 0.0) -> None:  # noqa: B027
        """From dL/dy, set each parameter's gradient to the new one + accumulate * the old one.

        SGD's momentum and the second pass of adversarial training accumulate.
        """

    @abstractmethod
    def backward(self, grad: Array) -> Array:
        """dL/dy -> dL/dx. It may overwrite ``grad``, so ``compute_gradients`` comes first."""

    def reserve(self, x: Array) -> None:
        """Allocate the working arrays if the batch size has changed."""
        if x.shape[-2] != self.count:
            self.count = x.shape[-2]
            self.allocate(x)

    @abstractmethod
    def allocate(self, x: Array) -> None:
        """Allocate the working arrays for batches like x."""


class Dense(Layer):
    """y = x W + b

    Args:
        input_dim, output_dim: I and O.
        init: (I, O) -> the standard deviation of the initial weights. Biases start at 0.
        bias: False for a layer without b.
    """

    weight: Array
    bias: Array
    weight_gradient: Array
    bias_gradient: Array

    def __init__(
        self, input_dim: int, output_dim: int, init: Deviation, *, bias: bool = True
    ) -> None:
        self.init = init
        self.has_bias = bias
        self.input_shape = (input_dim,)
        self.output_shape = (output_dim,)
        self.width = output_dim
        weight = Parameter("weight", (input_dim, output_dim), decays=True)
        self.parameters = (weight, Parameter("bias", (1, output_dim))) if bias else (weight,)

    def __repr__(self) -> str:
        return f"<Dense {self.input_shape[0]} -> {self.output_shape[0]}>"

    def initial_values(self, random: Any) -> dict[str, Any]:
        shape = *self.input_shape, *self.output_shape
        return {"weight": random.standard_normal(shape) * self.init(*shape)}

    def allocate(self, x: Array) -> None:
        xp, leading = self.xp, self.weight.shape[:-2]
        shape = *leading, *x.shape[-2:]
        self.y = xp.empty((*leading, self.count, *self.output_shape), dtype=x.dtype)
        # dx has the memory order of x, which is faster for the layer before
        self.dx = xp.empty_like(x) if x.shape == shape else xp.empty(shape, dtype=x.dtype)
        self.ones = xp.ones((1, self.count), dtype=x.dtype)  # ones @ rows is the sum of the rows

    def forward(self, x: Array) -> Array:
        self.reserve(x)
        self.x = x  # for the gradients
        self.backend.matmul(x, self.weight, out=self.y)
        if self.has_bias:
            self.xp.add(self.y, self.bias, out=self.y)
        return self.y

    def compute_gradients(self, grad: Array, accumulate: float = 0.0) -> None:
        """dL/dW = x^T dL/dy; dL/db = the sum of dL/dy over the batch

        W_io contributes x_ni W_io to y_no of image n, so dL/dW_io = sum_n x_ni dL/dy_no.
        """
        self.backend.matmul(self.x.mT, grad, out=self.weight_gradient, beta=accumulate)
        if self.has_bias:
            self.backend.matmul(self.ones, grad, out=self.bias_gradient, beta=accumulate)

    def backward(self, grad: Array) -> Array:
        """dL/dx = dL/dy W^T, since dL/dx_ni = sum_o dL/dy_no W_io"""
        self.backend.matmul(grad, self.weight.mT, out=self.dx)
        return self.dx


class ActivationLayer(Layer):
    """y = f(x), where f is the activation with this name."""

    def __init__(self, name: str) -> None:
        self.f = get_activation(name)

    def __repr__(self) -> str:
        return f"<Activation {self.f.name}>"

    def allocate(self, x: Array) -> None:
        self.y = self.xp.empty_like(x)

    def forward(self, x: Array) -> Array:
        self.reserve(x)
        self.x = x  # for backward
        self.backend.elementwise(self.f.function, x, out=self.y)
        return self.y

    def backward(self, grad: Array) -> Array:
        """dL/dx = dL/dy f'(x). The derivative is computed from y where that suffices."""
        saved = self.y if self.f.derivative_of == "output" else self.x
        self.backend.elementwise(self.f.chain_rule, grad, saved, out=grad)
        return grad
