"""What the classifier and the regressor share: checks of the samples, and training."""

import copy
import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, Self, TypeVar, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ann.data.datasets import Dataset
from ann.errors import TrainingWarning
from ann.estimator.parameters import recipe_of
from ann.estimator.watch import Watch
from ann.neural_network import NeuralNetwork
from ann.training.fit import fit
from ann.training.incremental import Progress, fit_epoch
from ann.training.recipe import Recipe
from ann.validation import check_flag, check_number, check_weights, host_array

# The name in an error of ``ann.fit`` or ``Recipe`` -> the name in an error of the estimators
_OUR_NAMES = {
    "hidden": "hidden_layer_sizes",
    "train_images": "X",
    "train_labels": "y",
    "weights": "sample_weight",
}

_Method = TypeVar("_Method", bound=Callable[..., Any])


def training(method: _Method) -> _Method:
    """Make a method that trains an estimator leave it unchanged if training fails.

    Its errors name arguments as the estimators do, not as ``ann.fit`` and ``Recipe`` do.
    """

    @functools.wraps(method)
    def train(self: Any, *arguments: Any, **named: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *arguments, **named)
        except BaseException as error:
            self.__dict__ = before
            name, _, rest = str(error).partition(": ")
            if isinstance(error, ValueError) and name in _OUR_NAMES:
                raise ValueError(f"{_OUR_NAMES[name]}: {rest}") from None
            raise

    return cast(_Method, train)


class Perceptron(BaseEstimator):  # type: ignore[misc]
    """The code that the classifier and the regressor share.

    A subclass defines its ``_loss``, and these methods: ``_targets`` converts y for ``ann.fit``,
    ``_outputs`` returns the number of outputs and their activation, and ``_score`` compares targets
    with outputs.
    """

    _loss: str

    def __getstate__(self) -> dict[str, Any]:
        """A pickle or copy holds the name of a ``Backend``, whose library cannot be pickled."""
        return {**super().__getstate__(), "device": getattr(self.device, "name", self.device)}

    @property
    def coefs_(self) -> list[np.ndarray]:
        return [weight for weight, _ in self.network_.weights_and_biases()]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        return [bias for _, bias in self.network_.weights_and_biases()]

    @training
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network or, with ``warm_start``, the network of the last call.

        If training fails, the estimator does not change. Ctrl-C ends training with a warning and
        keeps the network as it is at that moment.

        Args:
            X: (N, I) numbers, dense or sparse.
            y: the targets; see the class.
            sample_weight: (N,) weights of the samples; None or one number: equal weights.

        Raises:
            ValueError: an argument, or a parameter of the estimator, is wrong.
            DeviceError: the device cannot be used.
            DivergenceError: the loss or a parameter is no longer finite.
        """
        again = check_flag("warm_start", self.warm_start) and hasattr(self, "network_")
        X, targets, weights, seed = self._checked(X, y, sample_weight, again, known=again)
        if again and targets.ndim == 1 and len(np.unique(targets)) < len(self.classes_):
            raise ValueError(f"y: with warm_start, it must have all classes, {self.classes_}")
        rows, validation = self._split(targets, seed)
        recipe = self._recipe(len(rows))
        network = self._network(X, recipe, seed, again)
        watch = Watch(network, self.n_iter_no_change, self.tol, verbose=bool(self.verbose))
        if len(validation):
            images, expected = X[validation], targets[validation]
            counted = None if weights is None else weights[validation]
            if counted is not None and not counted.any():
                raise ValueError(
                    "sample_weight: all validation samples have weight zero; use a larger "
                    "validation_fraction"
                )
            watch.score = lambda: self._score(expected, network.apply(images), counted)
            X, targets = X[rows], targets[rows]
            weights = None if weights is None else weights[rows]
        dataset = Dataset(X, targets, X[:0], targets[:0])  # no test images
        network.warn_of_unscaled("X", X, stacklevel=4)
        try:
            fit(network, dataset, recipe, [watch], weights=weights)
        except KeyboardInterrupt:
            watch.at_end()
            text = f"training was interrupted after {len(watch.losses)} of {recipe.epochs} epochs"
            warnings.warn(f"{text}; the network is kept", TrainingWarning, stacklevel=3)
        self._finish(network, watch.losses)
        self.validation_scores_ = watch.scores if watch.score else None
        self.best_validation_score_ = watch.best if watch.score else None
        self._progress = Progress()
        return self

    def _fit_epoch(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """What ``partial_fit`` does in both classes."""
        if self.early_stopping:
            raise ValueError("early_stopping: partial_fit does not support it")
        again = hasattr(self, "network_")
        known = again or hasattr(self, "classes_")
        X, targets, weights, seed = self._checked(X, y, sample_weight, again, known)
        recipe = self._recipe(len(X), incremental=True)
        network = self._network(X, recipe, seed, again)
        network.warn_of_unscaled("X", X, stacklevel=5)
        dataset = Dataset(X, targets, X[:0], targets[:0])
        before = self._progress if again else Progress()
        loss, self._progress = fit_epoch(network, dataset, recipe, before, weights)
        self._finish(network, [*(self.loss_curve_ if again else []), loss])
        if self.verbose:
            print(f"epoch {self.n_iter_}  loss {loss:.4f}")
        self.validation_scores_ = self.best_validation_score_ = None
        return self

    def _finish(self, network: NeuralNetwork, losses: list[float]) -> None:
        network.warned = True  # about the scale of inputs
        self.network_ = network
        self.loss_curve_, self.n_iter_ = losses, len(losses)
        self.loss_ = losses[-1] if losses else math.nan

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, again: bool, known: bool
    ) -> tuple[Any, ...]:
        """Arrays for ``ann.fit`` (inputs, targets and weights), and a seed.

        ``again``: training continues from the last network. ``known``: the classes, or how targets
        are standardised, are those of an earlier call.
        """
        if self.dtype not in (None, "float32", "float64"):
            raise ValueError(f"dtype: expected 'float32', 'float64' or None, got {self.dtype!r}")
        X, y = validate_data(
            *(self, _array(X), y),
            accept_sparse="csr",
            dtype=self.network_.dtype_name if again else self.dtype or [np.float64, np.float32],
            reset=not again,
            multi_output=True,
            y_numeric=self._loss == "quadratic",
        )
        weights = None
        if sample_weight is not None:
            given = np.asarray(sample_weight, dtype=np.float64)
            given = np.full(X.shape[0], given) if given.ndim == 0 else given
            weights = check_weights("sample_weight", given, X.shape[0])
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return dense(X), self._targets(y, weights, known), weights, seed

    def _split(self, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The indices of the samples to train on, and of the validation samples."""
        rows = np.arange(len(targets))
        if not check_flag("early_stopping", self.early_stopping):
            return rows, rows[:0]
        share = check_number("validation_fraction", self.validation_fraction, above=0, below=1)
        labels = targets if targets.ndim == 1 else None
        rows, validation = train_test_split(
            rows, test_size=share, stratify=labels, random_state=seed
        )
        if len(validation) < 2:
            raise ValueError(
                f"validation_fraction: {share:g} of {len(targets)} samples is less than 2 samples"
            )
        if labels is not None and len(np.unique(labels[rows])) < len(np.unique(labels)):
            raise ValueError(f"validation_fraction: {share:g} leaves no sample of some class")
        return rows, validation

    def _recipe(self, count: int, incremental: bool = False) -> Recipe:
        return recipe_of(self.get_params(), count, self._loss, self._outputs()[1], incremental)

    def _network(self, X: np.ndarray, recipe: Recipe, seed: int, again: bool) -> NeuralNetwork:
        """A new network, or a copy of the last one."""
        layers = recipe.layer_list(X.shape[1], self._outputs()[0])
        if again:
            old = self.network_
            if (layers, recipe.committee) != (old.layer_list, old.committee):
                raise ValueError(
                    "the layers of the network have changed since the last call: to begin with a "
                    "new network, use fit and warm_start=False"
                )
            network = copy.deepcopy(old)
            network.warned = True
            return network
        return NeuralNetwork(
            layers, recipe.loss, self.device, seed, X.dtype.name, committee=recipe.committee
        )

    def _apply(self, X: Any) -> np.ndarray:
        """X (N, I) -> the network's outputs (N, O)."""
        check_is_fitted(self)
        dtype = self.network_.dtype_name
        X = validate_data(self, _array(X), accept_sparse="csr", dtype=dtype, reset=False)
        return np.asarray(self.network_.apply(dense(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _array(X: Any) -> Any:
    """A tensor of another library as an array of the same dtype; other values unchanged.

    scikit-learn would convert a tensor to float64. A DataFrame stays one, because scikit-learn
    needs the names of its columns.
    """
    is_tensor = hasattr(X, "__array__") and not isinstance(X, np.ndarray)
    return host_array("X", X) if is_tensor and not hasattr(X, "columns") else X


def dense(array: Any) -> np.ndarray:
    """A sparse or dense array as a NumPy array."""
    return np.asarray(array.toarray() if hasattr(array, "toarray") else array)
