"""Loss functions. A loss includes the output activation and takes the *logits*, the last layer's
weighted sums: the combined formulas are simple, and stable where their parts would overflow.

Letters: z (..., N, O) logits, y (..., N, O) outputs, t (..., N, O) target rows. A value is a mean
over the N images.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.activations import Activation, get_activation
from ann.spelling import check_known


class Loss(ABC):
    """A loss combined with an output activation.

    Attributes:
        output: the output activation: logits -> outputs.
        targets: which target rows are valid: "any" numbers, numbers in the "unit" interval, or a
            "distribution": numbers in the unit interval that sum to 1. One-hot rows are all three.
    """

    targets = "any"

    def __init__(self, output: Activation) -> None:
        self.output = output

    def value(
        self, backend: Backend, logits: Array, targets: Array, weights: Array | None = None
    ) -> Array:
        """The mean of the losses, each times its weight (..., N, 1), as a device array (...)."""
        xp = backend.xp
        terms = xp.empty_like(logits)
        backend.elementwise(self.terms, logits, targets, out=terms)
        if weights is not None:
            xp.multiply(terms, weights, out=terms)
        return xp.sum(terms, axis=(-2, -1)) * (1.0 / logits.shape[-2])

    @abstractmethod
    def terms(self, xp: Any, z: Array, t: Array) -> Array:
        """One term (..., N, O) for each output: the loss of an image is the sum of its terms."""

    def gradient(
        self, backend: Backend, logits: Array, targets: Array, out: Array, scale: float = 1.0
    ) -> None:
        """Write dL/dz, for the mean loss times ``scale``, to ``out``."""
        backend.elementwise(self.slope, logits, targets, scale / logits.shape[-2], out=out)

    @abstractmethod
    def slope(self, xp: Any, z: Array, t: Array, share: float) -> Array:
        """dL/dz for the loss of each image, times ``share``, such as 1 / N."""


class CrossEntropy(Loss):
    """The negative logarithm of the probability that the outputs assign to the targets."""

    def slope(self, xp: Any, z: Array, t: Array, share: float) -> Array:
        """dL/dz = y - t: the derivative of the output activation cancels.

        For the sigmoid, dL/dy = (y - t) / (y (1 - y)) and dy/dz = y (1 - y). For softmax,
        dL/dy_o = -t_o / y_o and ``Softmax.chain_rule`` give dL/dz = y sum_o t_o - t, so the targets
        must sum to 1.
        """
        return (self.output.function(xp, z) - t) * share


class SigmoidCrossEntropy(CrossEntropy):
    """L = -sum_o [t ln y + (1 - t) ln(1 - y)], y = sigmoid(z): each output is a separate yes or no.

    Nielsen, Neural Networks and Deep Learning, chapter 3, equation 63.
    """

    targets = "unit"

    def terms(self, xp: Any, z: Array, t: Array) -> Array:
        """-[...] = max(z, 0) - t z + ln(1 + exp(-|z|)), which never takes ln(0)."""
        # log(1 + e), not log1p(e): it takes a third of the time and loses less than 1e-7 per output
        return xp.maximum(z, 0.0) - t * z + xp.log(1.0 + xp.exp(-xp.abs(z)))


class SoftmaxCrossEntropy(CrossEntropy):
    """L = -sum_o t ln y, y = softmax(z): probabilities of mutually exclusive classes."""

    targets = "distribution"

    def terms(self, xp: Any, z: Array, t: Array) -> Array:
        """-t ln y = t (ln sum_o exp(z - m) - (z - m)); m = max z keeps exp() from overflowing."""
        z = z - xp.max(z, axis=-1, keepdims=True)
        return t * (xp.log(xp.sum(xp.exp(z), axis=-1, keepdims=True)) - z)


class Quadratic(Loss):
    """L = 1/2 sum_o (y - t)^2, for any output activation. Nielsen, chapter 1, equation 6."""

    def terms(self, xp: Any, z: Array, t: Array) -> Array:
        """1/2 (y - t)^2"""
        difference = self.output.function(xp, z) - t
        return 0.5 * (difference * difference)

    def slope(self, xp: Any, z: Array, t: Array, share: float) -> Array:
        """dL/dz = (y - t) dy/dz."""
        y = self.output.function(xp, z)
        saved = y if self.output.derivative_of == "output" else z
        return self.output.chain_rule(xp, (y - t) * share, saved)


# By name, and by output activation; "" stands for all activations
LOSSES: dict[str, dict[str, type[Loss]]] = {
    "cross-entropy": {"sigmoid": SigmoidCrossEntropy, "softmax": SoftmaxCrossEntropy},
    "quadratic": {"": Quadratic},
}


def get_loss(name: str, output_activation: str) -> Loss:
    """The loss with this name, combined with this output activation.

    Raises:
        ValueError: the name is unknown, or the loss does not support the output activation.
    """
    output = get_activation(output_activation)
    check_known("loss", name, LOSSES)
    kind = LOSSES[name].get(output.name, LOSSES[name].get(""))
    if kind is None:
        raise ValueError(
            f"loss {name!r} needs outputs between 0 and 1: output activation "
            f"{' or '.join(LOSSES[name])}, not {output_activation!r}; or use loss 'quadratic'"
        )
    return _loss(kind, output)


# One object for each pair, because a GPU compiles kernels for each object
_loss: Callable[..., Loss] = functools.cache(lambda kind, output: kind(output))
