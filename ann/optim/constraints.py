"""Limits for gradients and weights, and averaged parameters: a training step calls each before or
after the update.
"""

from collections.abc import Sequence
from typing import Any

from ann.backends.base import Array, Backend
from ann.optim.scalars import Scalars


def shortened(xp: Any, x: Array, squares: Array, limit: float) -> Array:
    """x limit / max(|x|, limit), where ``squares`` is |x|^2."""
    return x * (limit / xp.maximum(xp.sqrt(squares), limit))


class GradientClipping:
    """Before the update: g = g limit / max(|g|, limit) for the gradients g (..., P).

    Pascanu et al. (2013), algorithm 1. The direction does not change.
    """

    def __init__(self, backend: Backend, gradients: Array, limit: float) -> None:
        xp, leading = backend.xp, gradients.shape[:-1]
        self._backend, self._limit = backend, limit
        self._row = xp.reshape(gradients, (*leading, 1, -1), copy=False)
        self._squares = xp.empty((*leading, 1, 1), dtype=gradients.dtype)

    def __call__(self) -> None:
        g, limit = self._row, self._limit
        self._backend.matmul(g, g.mT, out=self._squares)
        self._backend.elementwise(shortened, g, self._squares, limit, out=g)


class MaxNorm:
    """After the update: limit the norm of the weights (I,) into each hidden neuron.

    Srivastava et al. (2014), section 5.1; appendix A.3 suggests limits of 3 to 4. Biases are not
    limited. Nor is the output layer, which needs large weights to be confident.
    """

    def __init__(self, backend: Backend, weights: Sequence[Array], limit: float) -> None:
        """``weights``: the hidden layers' matrices (..., I, O)."""
        xp = backend.xp
        self._backend, self._limit = backend, limit
        self._layers = []
        for weight in weights:
            *leading, inputs, outputs = weight.shape
            ones = xp.ones((1, inputs), dtype=weight.dtype)
            sums = xp.empty((*leading, 1, outputs), dtype=weight.dtype)
            self._layers.append((weight, xp.empty_like(weight), ones, sums))

    def __call__(self) -> None:
        for weight, squares, ones, sums in self._layers:
            self._backend.xp.multiply(weight, weight, out=squares)
            self._backend.matmul(ones, squares, out=sums)
            self._backend.elementwise(shortened, weight, sums, self._limit, out=weight)


class MovingAverage:
    """After the update: a = d a + (1 - d) p, an average over about the last 1 / (1 - decay) steps.

    Polyak & Juditsky (1992) weight all steps equally; today it is usual to weight recent steps
    more. In step k, d = min(decay, (k - 1) / (k + 8)), so that the random start is soon forgotten.

    Attributes:
        parameters: a, a vector (..., P).
    """

    def __init__(self, backend: Backend, parameters: Array, decay: float, scalars: Scalars) -> None:
        self._backend, self._p = backend, parameters
        self._decay = scalars.add(lambda k, rate: min(decay, (k - 1) / (k + 8)))
        self.parameters = backend.xp.asarray(parameters, copy=True)

    def __call__(self) -> None:
        average = self.parameters
        self._backend.elementwise(_averaged, average, self._p, self._decay, out=average)


def _averaged(xp: Any, average: Array, p: Array, decay: Array) -> Array:
    return decay * average + (1 - decay) * p
