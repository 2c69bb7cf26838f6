"""Activations: what a neuron does with its weighted sum. Each stands beside its derivative, which is taken from
the activation's *output* where that suffices, so that the sum need not be kept.

Every function writes into ``out``, which may be the array it reads, and stays finite for sums of
+-1e4. They call ``xp`` rather than write a + b, so that a step can be recorded and, on a GPU, fused into one kernel
(see ``backends.base``). Letters: z (N, O) weighted sums, y (N, O) outputs, N images in the batch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, Protocol

from ann.backends.base import Array, Backend
from ann.errors import printable
from ann.spelling import did_you_mean
from ann.validation import check_curve


class Activation(Protocol):
    """What a layer asks of its activation."""

    @property
    def name(self) -> str:
        """As in a layer list."""

    @property
    def keeps(self) -> Literal["output", "input"]:
        """What ``backward`` reads: the output y, or the input z where y does not determine the derivative."""

    @property
    def factor(self) -> float:
        """What the formula multiplies z by at first: a layer's product can do it for nothing."""

    def function(self, backend: Backend, z: Array, out: Array, *, multiplied: bool = False) -> None:
        """Write y into ``out``. ``multiplied``: z has been, by the ``factor``."""

    def backward(self, backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
        """Turn ``grad`` from dL/dy into dL/dz, in place (the chain rule). ``scratch`` is overwritten."""


class Elementwise:
    """An activation of each sum alone: ``curve(xp, factor * z, out)`` and its ``derivative(xp, kept, out)``."""

    def __init__(
        self,
        name: str,
        curve: Callable[[Any, Array, Array], object],
        derivative: Callable[[Any, Array, Array], object],
        keeps: Literal["output", "input"] = "output",
        factor: float = 1.0,
    ) -> None:
        if keeps == "input" and factor != 1.0:
            raise ValueError(f"{name}: what is kept would be the input times the factor")
        self.name, self.keeps, self.factor = name, keeps, factor

        def function(backend: Backend, z: Array, out: Array) -> None:
            curve(backend.xp, z, out)

        def whole_function(backend: Backend, z: Array, out: Array) -> None:
            backend.xp.multiply(z, factor, out=out)
            curve(backend.xp, out, out)

        def chain(backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
            derivative(backend.xp, kept, scratch)
            backend.xp.multiply(grad, scratch, out=grad)

        self._function, self._chain = function, chain
        self._whole_function = function if factor == 1.0 else whole_function

    def function(self, backend: Backend, z: Array, out: Array, *, multiplied: bool = False) -> None:
        """Write y into ``out``."""
        backend.fused(self._function if multiplied else self._whole_function, z, out)

    def backward(self, backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
        """dL/dz = dL/dy * dy/dz."""
        backend.fused(self._chain, grad, kept, scratch)


class Identity:
    """No activation: y = z."""

    name = "identity"
    keeps: Literal["output", "input"] = "output"
    factor = 1.0

    def function(self, backend: Backend, z: Array, out: Array, *, multiplied: bool = False) -> None:
        """Write y into ``out``."""
        if out is not z:
            backend.copyto(z, out)

    def backward(self, backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
        """dL/dz = dL/dy."""


class Softmax:
    """Probabilities that sum to one: y_i = exp(z_i) / sum_j exp(z_j). Each output depends on every sum."""

    name = "softmax"
    keeps: Literal["output", "input"] = "output"
    factor = 1.0

    def function(self, backend: Backend, z: Array, out: Array, *, multiplied: bool = False) -> None:
        """Write y into ``out``."""
        xp = backend.xp
        # Subtracting the largest sum changes nothing in the ratio and keeps exp() at 1 or below.
        xp.subtract(z, xp.max(z, axis=-1, keepdims=True), out=out)
        xp.exp(out, out=out)
        xp.divide(out, xp.sum(out, axis=-1, keepdims=True), out=out)

    def backward(self, backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
        """dL/dz_j = y_j (dL/dy_j - sum_i dL/dy_i y_i), since dy_i/dz_j = y_i (delta_ij - y_j)."""
        xp = backend.xp
        xp.multiply(grad, kept, out=scratch)
        xp.subtract(grad, xp.sum(scratch, axis=-1, keepdims=True), out=grad)
        xp.multiply(grad, kept, out=grad)


def _sigmoid(xp: Any, minus_z: Array, out: Array) -> None:
    # y = 1 / (1 + exp(-z)). Where exp() overflows, y is 1 / inf = 0, as it should be.
    xp.exp(minus_z, out=out)
    xp.add(out, 1.0, out=out)
    xp.divide(1.0, out, out=out)


def _sigmoid_derivative(xp: Any, y: Array, out: Array) -> None:
    xp.subtract(1.0, y, out=out)
    xp.multiply(out, y, out=out)


def _tanh(xp: Any, z: Array, out: Array) -> None:
    xp.tanh(z, out=out)


def _tanh_derivative(xp: Any, y: Array, out: Array) -> None:
    xp.multiply(y, y, out=out)
    xp.subtract(1.0, out, out=out)


_LARGEST = 3.4e38  # about the largest float32


def _relu(xp: Any, z: Array, out: Array) -> None:
    xp.clip(z, 0.0, _LARGEST, out=out)  # a third of the time of maximum() with a number


def _relu_derivative(xp: Any, y: Array, out: Array) -> None:
    xp.greater(y, 0.0, out=out)


_LEAK = 0.01


def _leaky_relu(xp: Any, z: Array, out: Array) -> None:
    xp.maximum(z, xp.multiply(z, _LEAK), out=out)


def _leaky_relu_derivative(xp: Any, y: Array, out: Array) -> None:
    xp.greater(y, 0.0, out=out)
    xp.clip(out, _LEAK, 1.0, out=out)


_GELU_SCALE, _GELU_CUBE = 2.0 * math.sqrt(2.0 / math.pi), 0.044715


def _gelu_gate(xp: Any, z: Array) -> Array:
    """sigmoid(u) with u = scale (z + cube z^3): about the probability that a standard normal number is below z.

    Hendrycks & Gimpel (2016), section 2, where it stands as (1 + tanh(u / 2)) / 2, which loses its digits for z < -4.
    """
    u = xp.add(xp.multiply(xp.multiply(z, z), _GELU_CUBE), 1.0)
    u = xp.multiply(xp.multiply(u, z), -_GELU_SCALE)
    _sigmoid(xp, u, out=u)
    return u


def _gelu(xp: Any, z: Array, out: Array) -> None:
    xp.multiply(z, _gelu_gate(xp, z), out=out)


def _gelu_derivative(xp: Any, z: Array, out: Array) -> None:
    gate = _gelu_gate(xp, z)
    slope = xp.multiply(xp.add(xp.multiply(xp.multiply(z, z), 3.0 * _GELU_CUBE), 1.0), _GELU_SCALE)  # du/dz
    # gate + z gate (1 - gate) slope, in this order, because for large |z| the gate is 0 or 1 and the slope is huge.
    falls = xp.multiply(xp.subtract(1.0, gate), xp.multiply(gate, z))
    xp.add(gate, xp.multiply(falls, slope), out=out)


_LECUN_SIZE, _LECUN_STEEPNESS = 1.7159, 2.0 / 3.0


def _scaled_tanh(xp: Any, two_thirds_z: Array, out: Array) -> None:
    # y = 1.7159 tanh(2 z / 3), which maps 1 to 1 and -1 to -1. LeCun et al., Efficient BackProp (1998), section 4.4.
    xp.tanh(two_thirds_z, out=out)
    xp.multiply(out, _LECUN_SIZE, out=out)


def _scaled_tanh_derivative(xp: Any, y: Array, out: Array) -> None:
    xp.multiply(y, y, out=out)
    xp.multiply(out, -_LECUN_STEEPNESS / _LECUN_SIZE, out=out)
    xp.add(out, _LECUN_STEEPNESS * _LECUN_SIZE, out=out)


def _softplus(xp: Any, z: Array, out: Array) -> None:
    # y = ln(1 + exp(z)) = max(z, 0) + ln(1 + exp(-|z|)), in which nothing overflows.
    tail = xp.log(xp.add(xp.exp(xp.negative(xp.abs(z))), 1.0))
    xp.clip(z, 0.0, _LARGEST, out=out)
    xp.add(out, tail, out=out)


def _softplus_derivative(xp: Any, y: Array, out: Array) -> None:
    # the sigmoid of z, from the output: exp(-y) = 1 / (1 + exp(z))
    xp.exp(xp.negative(y), out=out)
    xp.subtract(1.0, out, out=out)


def _gate(xp: Any, z: Array) -> Array:
    """sigmoid(z), a new array."""
    gate = xp.negative(z)
    _sigmoid(xp, gate, out=gate)
    return gate


def _swish(xp: Any, z: Array, out: Array) -> None:
    # y = z sigmoid(z). Ramachandran et al. (2017), with beta = 1; also called SiLU.
    xp.multiply(z, _gate(xp, z), out=out)


def _swish_derivative(xp: Any, z: Array, out: Array) -> None:
    # gate + z gate (1 - gate)
    gate = _gate(xp, z)
    falls = xp.multiply(xp.multiply(xp.subtract(1.0, gate), gate), z)
    xp.add(gate, falls, out=out)


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Elementwise("sigmoid", _sigmoid, _sigmoid_derivative, factor=-1.0),
        Elementwise("tanh", _tanh, _tanh_derivative),
        Elementwise("scaled-tanh", _scaled_tanh, _scaled_tanh_derivative, factor=_LECUN_STEEPNESS),
        Elementwise("relu", _relu, _relu_derivative),
        Elementwise("leaky-relu", _leaky_relu, _leaky_relu_derivative),
        Elementwise("softplus", _softplus, _softplus_derivative),
        Elementwise("gelu", _gelu, _gelu_derivative, keeps="input"),
        Elementwise("swish", _swish, _swish_derivative, keeps="input"),
        Softmax(),
        Identity(),
    )
}


def known_activations() -> str:
    """Their names in a row, and how others become known."""
    return f"{', '.join(ACTIVATIONS)}; your own after ann.register_activation (--import FILE)"


def get_activation(name: str) -> Activation:
    """The activation of this name. Raises ValueError for an unknown one, with the known names."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        meant = did_you_mean(name, ACTIVATIONS)
        raise ValueError(f"unknown activation {printable(name)}; known: {known_activations()}{meant}")
    return ACTIVATIONS[name]


class Registered:
    """A user's activation: y = curve(xp, z), with the derivative dy/dz = derivative(xp, z), both out of place."""

    keeps: Literal["output", "input"] = "input"
    factor = 1.0

    def __init__(
        self, name: str, curve: Callable[[Any, Array], Array], derivative: Callable[[Any, Array], Array]
    ) -> None:
        self.name, self.curve, self.derivative = name, curve, derivative

    def function(self, backend: Backend, z: Array, out: Array, *, multiplied: bool = False) -> None:
        """Write y into ``out``."""
        backend.evaluate(self.curve, z, out)

    def backward(self, backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
        """dL/dz = dL/dy * dy/dz."""
        backend.evaluate(self.derivative, kept, scratch)
        backend.xp.multiply(grad, scratch, out=grad)


def register_activation(
    name: str, curve: Callable[[Any, Array], Array], derivative: Callable[[Any, Array], Array]
) -> None:
    """Make an activation of your own known by a name, in layer lists, recipes and model files.

    Args:
        name: a word of letters, digits and dashes. Registering it again replaces it; the names here already stay.
        curve: (xp, z) -> y, an array of the shape and type of z, by functions and operators of the array library
            ``xp``, each element for itself; z is not to be changed.
        derivative: (xp, z) -> dy/dz, in the same way.

    Raises:
        ValueError: the name is taken or no such word, or the functions, tried on a few numbers, do not give what they
            should: float32 for float32, and a derivative that is the slope of the curve.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"activation name: expected a word of letters, digits and dashes, got {printable(name)}")
    if name in ACTIVATIONS and not isinstance(ACTIVATIONS[name], Registered):
        raise ValueError(f"activation {name!r} is there already; take another name")
    check_curve(name, curve, derivative)
    ACTIVATIONS[name] = Registered(str(name), curve, derivative)
