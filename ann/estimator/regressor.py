"""The regressor: targets of any size, and R^2."""

from typing import Any, Self

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score

from ann.estimator.base import Perceptron, training
from ann.estimator.parameters import constructor
from ann.neural_network import NeuralNetwork
from ann.training.recipe import Recipe


class MLPRegressor(MultiOutputMixin, RegressorMixin, Perceptron):  # type: ignore[misc]
    """A multilayer perceptron with scikit-learn's interface, for regression.

    y holds one target for each sample (N,), or several (N, T). The loss is quadratic, and the
    output layer is linear. Scale inputs as for ``MLPClassifier``. Targets need no scaling: training
    uses standardised targets, and rescales the last layer afterwards.

    Args:
        parameters: those of ``MLPClassifier``, without ``label_smoothing``.

    Attributes:
        loss_curve_: the mean loss of each epoch, for standardised targets. ``tol`` refers to it.
        validation_scores_: with ``early_stopping``, R^2 after each epoch, otherwise None.
        others: as in ``MLPClassifier``, without ``classes_``.
    """

    __init__ = constructor("label_smoothing")
    _loss = "quadratic"

    @training
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, with a constant learning rate.

        The first call determines how the targets of all calls are standardised. Arguments and
        errors are those of ``fit``.
        """
        return self._fit_epoch(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """X (N, I) -> targets (N,) or (N, T)."""
        outputs = self._apply(X)
        return outputs[:, 0] if self._one else outputs

    def _targets(self, y: Any, weights: np.ndarray | None, known: bool) -> np.ndarray:
        """Standardised targets (N, T)."""
        rows = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if not known:
            self._one = np.ndim(y) == 1
            weights = weights if weights is not None and weights.any() else None
            self._mean = np.average(rows, axis=0, weights=weights)
            with np.errstate(over="ignore"):
                squares = np.average((rows - self._mean) ** 2, axis=0, weights=weights)
            if not np.isfinite(squares).all():
                raise ValueError("y: its numbers are too large to be standardised; divide them")
            deviation = np.sqrt(squares)
            constant = deviation <= 1e-9 * np.abs(self._mean)  # up to rounding
            self._scale = np.where(constant, 1.0, deviation)
        elif rows.shape[1] != len(self._mean):
            raise ValueError(f"y: expected {len(self._mean)} targets, got {rows.shape[1]}")
        return np.asarray((rows - self._mean) / self._scale)

    def _outputs(self) -> tuple[int, str]:
        return len(self._mean), "identity"

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        return float(r2_score(targets, outputs, sample_weight=weights))

    def _network(self, X: np.ndarray, recipe: Recipe, seed: int, again: bool) -> NeuralNetwork:
        network = super()._network(X, recipe, seed, again)
        if again:
            _rescale(network, 1.0 / self._scale, -self._mean / self._scale)
        return network

    def _finish(self, network: NeuralNetwork, losses: list[float]) -> None:
        _rescale(network, self._scale, self._mean)
        super()._finish(network, losses)


def _rescale(network: NeuralNetwork, factors: np.ndarray, shifts: np.ndarray) -> None:
    """Make a linear last layer multiply its outputs by factors (O,), and add shifts (O,)."""
    last: Any = network.network.layers[-1]
    factors, shifts = (
        network.backend.from_host(row.astype(network.dtype_name)) for row in (factors, shifts)
    )
    last.weight[...] = last.weight * factors
    last.bias[...] = last.bias * factors + shifts
