"""Losses: how wrong the outputs are, and the gradient that says which way to change them. A loss is fused with
the output activation and reads the *logits* (the last layer's weighted sums), because the composed formulas
are simple and stable where their parts overflow.

Letters: z (..., N, O) logits, y (..., N, O) outputs, t (..., N, O) target rows. A value is a mean over the N images.
"""

from __future__ import annotations

from typing import Literal, Protocol

from ann.backends.base import Array, Backend
from ann.errors import printable
from ann.nn.activations import ACTIVATIONS, Activation, get_activation
from ann.spelling import did_you_mean

TargetRange = Literal["any", "unit", "distribution"]


class Loss(Protocol):
    """A loss fused with an output activation.

    Attributes:
        output: the output activation: logits -> outputs.
        targets: which target rows make sense: "any" numbers, each in the "unit" interval, or a "distribution",
            in [0, 1] and summing to one. One-hot rows are all three.
    """

    output: Activation
    targets: TargetRange

    def value(self, backend: Backend, logits: Array, targets: Array) -> Array:
        """The mean loss of the batch, an array (...) on the device. Changes nothing."""

    def gradient(self, backend: Backend, logits: Array, targets: Array, out: Array) -> None:
        """Write dL/dz of the mean loss into ``out``, which is not ``logits``."""


class SigmoidCrossEntropy:
    """L = -sum_o [t ln y + (1 - t) ln(1 - y)], y = sigmoid(z): each output is a yes-or-no question of its own.

    Nielsen, Neural Networks and Deep Learning, chapter 3, equation 63.
    """

    targets: TargetRange = "unit"

    def __init__(self, output: Activation) -> None:
        self.output = output

    def value(self, backend: Backend, logits: Array, targets: Array) -> Array:
        """L = sum_o [max(z, 0) - t z + ln(1 + exp(-|z|))], the same with no logarithm of 0."""
        # log(1 + e), not log1p(e): it takes a third of the time, and what it loses is below 1e-7 an output.
        xp = backend.xp
        tail = xp.log(1.0 + xp.exp(-xp.abs(logits)))
        return xp.sum(xp.maximum(logits, 0.0) - targets * logits + tail, axis=(-2, -1)) * (1.0 / logits.shape[-2])

    def gradient(self, backend: Backend, logits: Array, targets: Array, out: Array) -> None:
        """dL/dz = y - t: the slope of the sigmoid cancels."""
        _outputs_minus_targets(self.output, backend, logits, targets, out)


class SoftmaxCrossEntropy:
    """L = -sum_o t ln y, y = softmax(z): the outputs are probabilities of classes that exclude each other."""

    targets: TargetRange = "distribution"

    def __init__(self, output: Activation) -> None:
        self.output = output

    def value(self, backend: Backend, logits: Array, targets: Array) -> Array:
        """L = ln sum_o exp(z - m) - sum_o t (z - m) with m the largest logit, so that exp() cannot overflow."""
        xp = backend.xp
        z = logits - xp.max(logits, axis=-1, keepdims=True)
        log_sum = xp.sum(xp.log(xp.sum(xp.exp(z), axis=-1)), axis=-1)
        return (log_sum - xp.sum(targets * z, axis=(-2, -1))) * (1.0 / logits.shape[-2])

    def gradient(self, backend: Backend, logits: Array, targets: Array, out: Array) -> None:
        """dL/dz = y - t, for target rows that sum to one."""
        _outputs_minus_targets(self.output, backend, logits, targets, out)


class Quadratic:
    """L = 1/2 sum_o (y - t)^2, for any output activation. Nielsen, chapter 1, equation 6."""

    targets: TargetRange = "any"

    def __init__(self, output: Activation) -> None:
        self.output = output

    def value(self, backend: Backend, logits: Array, targets: Array) -> Array:
        """The formula above."""
        xp = backend.xp
        difference = xp.empty_like(logits)
        self.output.function(backend, logits, difference)
        xp.subtract(difference, targets, out=difference)
        return xp.sum(xp.multiply(difference, difference), axis=(-2, -1)) * (0.5 / logits.shape[-2])

    def gradient(self, backend: Backend, logits: Array, targets: Array, out: Array) -> None:
        """dL/dz = (y - t) dy/dz."""
        outputs = backend.xp.empty_like(logits)
        self.output.function(backend, logits, outputs)
        _mean_difference(backend, outputs, targets, out)
        kept = outputs if self.output.keeps == "output" else logits
        self.output.backward(backend, out, kept, backend.xp.empty_like(logits))


def _outputs_minus_targets(output: Activation, backend: Backend, logits: Array, targets: Array, out: Array) -> None:
    output.function(backend, logits, out)
    _mean_difference(backend, out, targets, out)


def _mean_difference(backend: Backend, outputs: Array, targets: Array, out: Array) -> None:
    backend.xp.subtract(outputs, targets, out=out)
    backend.xp.multiply(out, 1.0 / out.shape[-2], out=out)


LOSSES = ("cross-entropy", "quadratic")


def get_loss(name: str, output_activation: str) -> Loss:
    """The loss of this name over outputs of this activation.

    Raises:
        ValueError: an unknown name, or cross-entropy over outputs that are no probabilities.
    """
    output = get_activation(output_activation)
    if not isinstance(name, str) or name not in LOSSES:
        meant = did_you_mean(name, LOSSES)
        raise ValueError(f"unknown loss {printable(name)}; known: {', '.join(LOSSES)}{meant}")
    if name == "quadratic":
        return Quadratic(output)
    if output is ACTIVATIONS["sigmoid"]:
        return SigmoidCrossEntropy(output)
    if output is ACTIVATIONS["softmax"]:
        return SoftmaxCrossEntropy(output)
    raise ValueError(
        f"loss 'cross-entropy' needs outputs between 0 and 1: output activation sigmoid or softmax, "
        f"not {output_activation!r}; or take loss 'quadratic'"
    )
