"""What keeps training within bounds: gradients that are not too long, weights that are not too large, and parameters
averaged over the last steps. Each does its part once a step, on whole vectors and matrices, and can be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ann.backends.base import Array, Backend

_LARGEST = 3.4e38  # about the largest float32


class GradientClipping:
    """Gradients g (..., P) shortened to a norm of at most ``limit``: g = g limit / max(|g|, limit).

    Pascanu et al. (2013), algorithm 1. The direction stays.
    """

    def __init__(self, backend: Backend, gradients: Array, limit: float) -> None:
        xp, leading = backend.xp, gradients.shape[:-1]
        self._backend, self._limit = backend, limit
        self._row = xp.reshape(gradients, (*leading, 1, -1), copy=False)
        self._factor = xp.empty((*leading, 1, 1), dtype=gradients.dtype)

    def apply(self) -> None:
        """Shorten them, if they are too long."""
        xp, factor = self._backend.xp, self._factor
        self._backend.matmul(self._row, self._row.mT, out=factor)
        _shrinking(xp, factor, self._limit)
        xp.multiply(self._row, factor, out=self._row)


class MaxNorm:
    """Limits the norm of the weights (I,) into each hidden neuron to ``limit``. Biases are not limited.

    Srivastava et al. (2014), section 5.1, with limits of 3 to 4. Like there, the output layer is not limited. It needs
    large weights to be confident.
    """

    def __init__(self, backend: Backend, weights: Sequence[Array], limit: float) -> None:
        """``weights``: the layers' matrices (..., I, O)."""
        xp = backend.xp
        self._backend, self._limit = backend, limit
        self._layers = [
            (
                weight,
                xp.empty_like(weight),
                xp.ones((1, weight.shape[-2]), dtype=weight.dtype),
                xp.empty((*weight.shape[:-2], 1, weight.shape[-1]), dtype=weight.dtype),
            )
            for weight in weights
        ]

    def apply(self) -> None:
        """Shorten those that are too long."""
        xp = self._backend.xp
        for weight, squares, ones, factors in self._layers:
            xp.multiply(weight, weight, out=squares)
            self._backend.matmul(ones, squares, out=factors)
            _shrinking(xp, factors, self._limit)
            xp.multiply(weight, factors, out=weight)


class MovingAverage:
    """The mean of the parameters over about the last 1 / (1 - decay) steps: a = d a + (1 - d) p.

    Polyak & Juditsky (1992) average all steps alike; that recent ones weigh more is usual since. Early steps weigh less
    yet, d = min(decay, (k - 1) / (k + 8)) in step k, so that the random start is soon forgotten.

    Attributes:
        parameters: a, a vector (..., P).
    """

    def __init__(self, backend: Backend, parameters: Array, decay: float) -> None:
        self._backend, self._p, self._decay = backend, parameters, decay
        self.parameters = backend.xp.asarray(parameters, copy=True)

    def numbers(self, step: int) -> list[float]:
        """[1 - d, d] for a step, counted from 1."""
        decay = min(self._decay, (step - 1.0) / (step + 8.0))
        return [1.0 - decay, decay]

    def update(self, numbers: Any) -> None:
        """Take in the present parameters; ``numbers`` is a device vector of what the method gave."""
        self._backend.axpby(self._p, self.parameters, numbers[0, ...], numbers[1, ...])


def _shrinking(xp: Any, squares: Array, limit: float) -> None:
    """Squared norms -> the factors that bring them to the limit, or 1, in place."""
    xp.sqrt(squares, out=squares)
    xp.clip(squares, limit, _LARGEST, out=squares)
    xp.divide(limit, squares, out=squares)
