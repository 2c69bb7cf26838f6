"""Activation functions. Each formula is written once, with operators, next to its derivative. Where
possible, the derivative is computed from the *output* y, so the input z need not be stored.

All of them stay finite for inputs of +-1e4. Constants are Python numbers, so float32 stays float32.
Letters: z (..., N, O) weighted sums, y (..., N, O) outputs, for N images and O neurons.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from ann.backends.base import Array, Formula
from ann.errors import printable
from ann.nn.initializers import GLOROT, Deviation, glorot, he
from ann.spelling import check_known
from ann.validation import check_curve


@dataclass(eq=False)
class Activation:
    """y = f(z), and its derivative.

    Attributes:
        name: as in a layer list.
        function: (xp, z) -> y.
        derivative: (xp, y) -> dy/dz, or (xp, z) -> dy/dz if ``derivative_of`` is "input".
        init: gives the standard deviation of the initial weights; see ``initializers``.
        derivative_of: whether ``derivative`` and ``chain_rule`` take the output y or the input z.
    """

    name: str
    function: Formula
    derivative: Formula
    init: Deviation = GLOROT
    derivative_of: Literal["output", "input"] = "output"

    def chain_rule(self, xp: Any, grad: Array, saved: Array) -> Array:
        """dL/dz = dL/dy dy/dz; for ``saved`` see ``derivative_of``."""
        return grad * self.derivative(xp, saved)


class Softmax(Activation):
    """Probabilities that sum to one. ``derivative`` is only the diagonal, dy_i/dz_i."""

    def chain_rule(self, xp: Any, grad: Array, saved: Array) -> Array:
        """dL/dz_j = y_j (dL/dy_j - sum_i dL/dy_i y_i), since dy_i/dz_j = y_i (delta_ij - y_j)."""
        return saved * (grad - xp.sum(grad * saved, axis=-1, keepdims=True))


def _softmax(xp: Any, z: Array) -> Array:
    """y_i = exp(z_i) / sum_j exp(z_j)."""
    # Subtracting the largest z leaves the ratios unchanged and keeps exp() from overflowing.
    powers = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


LARGEST = 3.4e38  # about the largest float32: clip(z, 0, LARGEST) is faster than maximum(z, 0)
LEAK = 0.01
SIZE, STEEPNESS = 1.7159, 2 / 3  # LeCun et al. (1998), section 4.4: maps 1 to 1 and -1 to -1
GELU_SCALE, GELU_CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


def _sigmoid(xp: Any, z: Array) -> Array:
    # where exp(-z) overflows, y = 1 / inf = 0, which is the correct limit
    return 1 / (1 + xp.exp(-z))


def _is_positive(xp: Any, y: Array) -> Array:
    # 1 or 0; for relu and leaky-relu, y > 0 where z > 0
    return xp.astype(y > 0, y.dtype)


def _gelu_gate(xp: Any, z: Array) -> Array:
    """sigmoid(u), u = scale (z + cube z^3): about the standard normal distribution function.

    Hendrycks & Gimpel (2016), section 2. They write it as (1 + tanh(u / 2)) / 2, which loses
    precision for z < -4.
    """
    return 1 / (1 + xp.exp(-GELU_SCALE * z * (1 + GELU_CUBE * z * z)))


def _gelu_derivative(xp: Any, z: Array) -> Array:
    """The derivative of z gate(z): gate + z gate (1 - gate) du/dz."""
    gate = _gelu_gate(xp, z)
    slope = GELU_SCALE * (1 + 3 * GELU_CUBE * z * z)  # du/dz
    return gate * (1 + z * (1 - gate) * slope)


def _swish_derivative(xp: Any, z: Array) -> Array:
    """The derivative of z sigmoid(z): sigmoid + z sigmoid (1 - sigmoid)."""
    gate = _sigmoid(xp, z)
    return gate * (1 + z * (1 - gate))


def _softplus(xp: Any, z: Array) -> Array:
    """ln(1 + exp(z)) = max(z, 0) + ln(1 + exp(-|z|)), which cannot overflow.

    Its derivative is sigmoid(z) = 1 - exp(-y).
    """
    return xp.clip(z, 0.0, LARGEST) + xp.log(1 + xp.exp(-xp.abs(z)))


_BUILT_IN = (
    Activation("sigmoid", _sigmoid, lambda xp, y: y * (1 - y), glorot(4)),
    Activation("tanh", lambda xp, z: xp.tanh(z), lambda xp, y: 1 - y * y),
    Activation(
        "scaled-tanh",
        lambda xp, z: SIZE * xp.tanh(STEEPNESS * z),
        lambda xp, y: STEEPNESS * (SIZE - y * y / SIZE),
    ),
    Activation("relu", lambda xp, z: xp.clip(z, 0.0, LARGEST), _is_positive, he),
    Activation(  # the derivative is 1 for y > 0, and the leak otherwise
        "leaky-relu",
        lambda xp, z: xp.maximum(z, LEAK * z),
        lambda xp, y: xp.clip(_is_positive(xp, y), LEAK, 1.0),
        he,
    ),
    Activation("softplus", _softplus, lambda xp, y: 1 - xp.exp(-y), he),
    Activation("gelu", lambda xp, z: z * _gelu_gate(xp, z), _gelu_derivative, he, "input"),
    # z sigmoid(z): Ramachandran et al. (2017), with beta = 1; also called SiLU
    Activation("swish", lambda xp, z: z / (1 + xp.exp(-z)), _swish_derivative, he, "input"),
    Softmax("softmax", _softmax, lambda xp, y: y * (1 - y)),
    Activation("identity", lambda xp, z: z, lambda xp, y: xp.ones_like(y)),
)
ACTIVATIONS = {activation.name: activation for activation in _BUILT_IN}
BUILT_IN = frozenset(ACTIVATIONS)


def get_activation(name: str) -> Activation:
    """The activation with this name. Raises ValueError, with the known names, if it is unknown."""
    own = "; add your own with ann.register_activation (--import FILE)"
    check_known("activation", name, ACTIVATIONS, own)
    return ACTIVATIONS[name]


def register_activation(name: str, function: Formula, derivative: Formula) -> None:
    """Add a custom activation, for use in layer lists, recipes and model files.

    Args:
        name: a word of letters, digits and dashes. Registering a name again replaces its
            activation; built-in activations cannot be replaced.
        function: (xp, z) -> y, of the shape and dtype of z, computed element by element with
            operators and functions of the array library ``xp``. It must not change z.
        derivative: (xp, z) -> dy/dz, likewise.

    Raises:
        ValueError: the name is not allowed or is that of a built-in activation, or the functions
            fail a test on a few numbers: they must return float32 for float32 and float64 for
            float64, and the derivative must be the slope of the function.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(
            f"activation name: expected a word of letters, digits and dashes, got {printable(name)}"
        )
    if name in BUILT_IN:
        raise ValueError(f"activation {name!r} is built in; choose another name")
    check_curve(name, function, derivative)
    ACTIVATIONS[name] = Activation(str(name), function, derivative, derivative_of="input")
