"""The network as a scikit-learn classifier, for its pipelines, grid searches and cross-validation,
also on a GPU. It needs the extra ``sklearn``, so it must be imported explicitly: ``import
ann.estimator``.
"""

import copy
from dataclasses import fields, replace
from inspect import Parameter, Signature
from typing import Any, Self

import numpy as np

from ann.data.datasets import Dataset
from ann.data.distortion import DistortionStrengths
from ann.neural_network import NeuralNetwork
from ann.training.fit import fit
from ann.training.recipe import Recipe
from ann.validation import check_weights

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError:
    raise ImportError("ann.estimator needs scikit-learn: pip install -e '.[sklearn]'") from None


# Hyperparameters that inputs other than images do not have, or that ``fit`` chooses
_LEFT_OUT = {*("loss", "output_activation"), *(field.name for field in fields(DistortionStrengths))}
_NOT_IN_RECIPE = {"device": "cpu", "dtype": None, "random_state": None}
_DEFAULTS = {field.name: field.default for field in fields(Recipe) if field.name not in _LEFT_OUT}
_DEFAULTS |= {"activation": "relu", "batch_size": 50, "epochs": 100, **_NOT_IN_RECIPE}


def _parameter(name: str, default: Any) -> Parameter:
    positional = name in ("self", "hidden")
    kind = Parameter.POSITIONAL_OR_KEYWORD if positional else Parameter.KEYWORD_ONLY
    return Parameter(name, kind, default=default)


_ARGUMENTS = {"self": Parameter.empty, **_DEFAULTS}
_SIGNATURE = Signature([_parameter(name, default) for name, default in _ARGUMENTS.items()])
# the name of an argument in an error of ``ann.fit`` -> its name here
_OUR_NAMES = {"train_images": "X", "train_labels": "y", "weights": "sample_weight"}


class MLPClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A multilayer perceptron with scikit-learn's interface.

    Outputs are probabilities: a softmax for exclusive classes, and sigmoids if a sample may have
    several labels. Inputs are floats and are not changed; scale them so that most lie between -1
    and 1 (with ``sklearn.preprocessing.StandardScaler``, or ``X / 255`` for pixels).

    Args:
        device: "cpu", "gpu" or "auto", as in ``NeuralNetwork``.
        dtype: "float32" or "float64", which takes more than twice as long; None: float32 if X is
            float32, otherwise float64, as elsewhere in scikit-learn.
        random_state: an int, a ``numpy.random.RandomState``, or None for a new network each time.
        batch_size: the most samples in a step; fewer if X has fewer.
        validation: the number of randomly chosen samples that ``early_stopping`` watches. They are
            not trained on, and their weights are ignored.
        hidden: the hidden layers, the only positional argument: widths and, if samples are the
            pixels of square pictures, layers such as "conv16x5" and "pool2" before them.
        parameters: the above, and the other fields of ``Recipe`` except for the loss, the output
            activation and distortions. Defaults are a ``Recipe``'s, except for 100 epochs, batches
            of 50 samples and the activation "relu".

    Attributes:
        classes_: (C,) the labels, sorted; probabilities have this order.
        n_features_in_: I.
        n_iter_: the number of epochs.
        loss_curve_: the mean loss of each epoch.
        loss_: the last of them.
        network_: the trained ``NeuralNetwork``, which can be saved.
    """

    def __init__(self, *hidden: Any, **parameters: Any) -> None:
        arguments = _SIGNATURE.bind(self, *hidden, **parameters)
        arguments.apply_defaults()
        del arguments.arguments["self"]
        self.__dict__.update(arguments.arguments)  # unchanged, as scikit-learn requires

    __init__.__signature__ = _SIGNATURE  # type: ignore[attr-defined]  # read by scikit-learn

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network. If training fails, the estimator does not change.

        Args:
            X: (N, I) numbers, dense or sparse.
            y: (N,) labels of any type, or (N, C) rows of 0 and 1 if a sample may have several.
            sample_weight: (N,) weights of the samples; None or one number: all have the same.

        Raises:
            ValueError: an argument, or a parameter of the estimator, is wrong.
            DeviceError: the device cannot be used.
            DivergenceError: the loss or a parameter is no longer finite.
        """
        fitted = copy.copy(self)
        fitted._fit(X, y, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Train and set all fitted attributes, or only some of them if it fails."""
        known = isinstance(self.dtype, str) and self.dtype in ("float32", "float64")
        if not (known or self.dtype is None):
            raise ValueError(f"dtype: expected 'float32', 'float64' or None, got {self.dtype!r}")
        dtypes = [np.float64, np.float32] if self.dtype is None else self.dtype
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=dtypes, multi_output=True)
        images, targets, weights = _dense(X), self._targets(y), None
        if sample_weight is not None:
            given = np.asarray(sample_weight, dtype=np.float64)
            given = np.full(len(images), given) if given.ndim == 0 else given
            weights = check_weights("sample_weight", given, len(images))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        recipe = self._recipe(len(images))
        if recipe.validation:  # samples may be sorted
            order = np.random.default_rng(seed).permutation(len(images))
            images, targets = images[order], targets[order]
            weights = None if weights is None else weights[order]
        layers = recipe.layer_list(images.shape[1], len(self.classes_))
        dtype = images.dtype.name
        network = NeuralNetwork(
            layers, recipe.loss, self.device, seed, dtype, committee=recipe.committee
        )
        dataset = Dataset(images, targets, images[:0], targets[:0])  # no test images
        network.warn_of_unscaled("X", images, stacklevel=4)
        try:
            reports = fit(network, dataset, recipe, weights=weights)
        except ValueError as error:
            name, colon, rest = str(error).partition(": ")
            raise ValueError(f"{_OUR_NAMES.get(name, name)}{colon}{rest}") from None
        self.network_ = network
        self.loss_curve_ = [report.loss for report in reports]
        self.loss_, self.n_iter_ = self.loss_curve_[-1], len(reports)

    def predict_proba(self, X: Any) -> np.ndarray:
        """X (N, I) -> probabilities (N, C), in the order of ``classes_``."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=self.network_.dtype_name, reset=False)
        self.network_.warned = True  # ``fit`` has checked the scale of inputs
        outputs: np.ndarray = self.network_.apply(_dense(X))
        return outputs if self._several else outputs / outputs.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of ``predict_proba``."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> np.ndarray:
        """X (N, I) -> the most probable label (N,) of each sample, or rows (N, C) of 0 and 1."""
        probabilities = self.predict_proba(X)
        if self._several:
            return (probabilities > 0.5).astype(int)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def _targets(self, y: Any) -> np.ndarray:
        """Labels -> what ``ann.fit`` takes: indices into ``classes_``, or rows."""
        check_classification_targets(y)
        self._several = type_of_target(y) == "multilabel-indicator"
        if self._several:
            rows = _dense(y)
            self.classes_ = np.arange(rows.shape[1])
            return rows
        self.classes_, indices = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        return np.asarray(indices)

    def _recipe(self, count: int) -> Recipe:
        """The recipe for this many samples."""
        fields = {
            name: value for name, value in self.get_params().items() if name not in _NOT_IN_RECIPE
        }
        recipe = Recipe(**fields, output_activation="sigmoid" if self._several else "softmax")
        # Default rates follow the full batch size: a duplicated sample equals a doubled weight
        return replace(recipe, batch_size=max(1, min(recipe.batch_size, count - recipe.validation)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags


def _dense(array: Any) -> np.ndarray:
    """A sparse or dense array as a NumPy array."""
    return np.asarray(array.toarray() if hasattr(array, "toarray") else array)
