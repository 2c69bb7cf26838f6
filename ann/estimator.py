"""A classifier and a regressor with scikit-learn's interface, for its pipelines, grid searches and
cross-validation, also on a GPU. They need the extra ``sklearn``, so import them explicitly:
``import ann.estimator``.
"""

import copy
import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from inspect import Parameter, Signature
from typing import Any, Self, TypeVar, cast

import numpy as np

from ann.data.datasets import Dataset
from ann.data.distortion import DistortionStrengths
from ann.errors import TrainingWarning, require
from ann.neural_network import NeuralNetwork, probabilities
from ann.optim.registry import CLASSES
from ann.training.callback import Callback
from ann.training.fit import fit
from ann.training.incremental import Progress, fit_epoch
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.validation import check_count, check_flag, check_number, check_weights, host_array

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError:
    require("sklearn.base", "sklearn", "ann.estimator needs scikit-learn")
    raise


# Fields of ``Recipe`` that are only for images, or that have other names here
_LEFT_OUT = {
    *("hidden", "loss", "output_activation", "validation", "early_stopping"),
    *(field.name for field in fields(DistortionStrengths)),
}
_RECIPE = {field.name: field.default for field in fields(Recipe) if field.name not in _LEFT_OUT}
_RECIPE |= {"activation": "relu", "batch_size": 50, "epochs": 100}
# With few samples there are few steps, in which the default weight decay would have hardly any
# effect. If learning rate x steps x weight decay is 2, weights shrink to exp(-1), about a third, as
# the linear schedule halves the mean learning rate. The decay needs a limit, because steps are about
# as long as the learning rate, so no weight can grow beyond 1 / weight decay. Both numbers were
# tuned on scikit-learn's small data sets.
_SHRINKING, _MOST_DECAY = 2.0, 1.0
_OWN = {
    "early_stopping": False,
    "validation_fraction": 0.1,
    "n_iter_no_change": 10,
    "tol": 1e-4,
    "warm_start": False,
    "verbose": False,
    "device": "cpu",
    "dtype": None,
    "random_state": None,
}
# The name in an error of ``ann.fit`` or ``Recipe`` -> the name here
_OUR_NAMES = {
    "hidden": "hidden_layer_sizes",
    "train_images": "X",
    "train_labels": "y",
    "weights": "sample_weight",
}

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _constructor(*left_out: str) -> Any:
    """An ``__init__`` with all parameters except these. scikit-learn reads its signature."""
    own = {name: value for name, value in (_RECIPE | _OWN).items() if name not in left_out}
    first = [
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("hidden_layer_sizes", Parameter.POSITIONAL_OR_KEYWORD, default=(100,)),
    ]
    others = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in own.items()]
    signature = Signature([*first, *others])

    def __init__(self: Any, *hidden_layer_sizes: Any, **parameters: Any) -> None:  # noqa: N807
        bound = signature.bind(self, *hidden_layer_sizes, **parameters)
        bound.apply_defaults()
        del bound.arguments["self"]
        self.__dict__.update(bound.arguments)  # unchanged, as scikit-learn requires

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def _training(method: _Method) -> _Method:
    """Make a method that trains an estimator leave it unchanged if training fails.

    Its errors name arguments as the estimators do, not as ``ann.fit`` and ``Recipe`` do.
    """

    @functools.wraps(method)
    def train(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            trained = method(copy.copy(self), *arguments, **named)
        except ValueError as error:
            name, _, rest = str(error).partition(": ")
            if name not in _OUR_NAMES:
                raise
            raise ValueError(f"{_OUR_NAMES[name]}: {rest}") from None
        self.__dict__ = trained.__dict__
        return self

    return cast(_Method, train)


class _Perceptron(BaseEstimator):  # type: ignore[misc]
    """The code that the classifier and the regressor share. Subclasses define the targets."""

    _loss: str

    @property
    def coefs_(self) -> list[np.ndarray]:
        return [weight for weight, _ in self.network_.weights_and_biases()]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        return [bias for _, bias in self.network_.weights_and_biases()]

    @_training
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
        if again and targets.ndim == 1 and len(np.unique(targets)) < self._output_dim():
            raise ValueError(f"y: with warm_start, it must have all classes, {self.classes_}")
        rows, validation = self._split(targets, seed)
        recipe = self._recipe(len(rows))
        network = self._network(X, recipe, seed, again)
        watch = _Watch(network, self.n_iter_no_change, self.tol, verbose=bool(self.verbose))
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
        """The ``partial_fit`` of both classes."""
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
        """Arrays for ``ann.fit``: inputs, targets, weights; and a seed."""
        if not (self.dtype is None or self.dtype in ("float32", "float64")):
            raise ValueError(f"dtype: expected 'float32', 'float64' or None, got {self.dtype!r}")
        dtypes = [np.float64, np.float32] if self.dtype is None else self.dtype
        if again:
            dtypes = self.network_.dtype_name
        X, y = validate_data(
            *(self, _array(X), y),
            accept_sparse="csr",
            dtype=dtypes,
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
        return _dense(X), self._targets(y, weights, known), weights, seed

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
        """The recipe for this many samples."""
        fields = {name: value for name, value in self.get_params().items() if name in _RECIPE}
        sizes = self.hidden_layer_sizes
        single = isinstance(sizes, (int, np.integer, str)) and not isinstance(sizes, bool)
        fields["hidden"] = (sizes,) if single else sizes
        if incremental:
            fields["schedule"] = "constant"
        recipe = Recipe(**fields, loss=self._loss, output_activation=self._output_activation())
        # Default rates follow the full batch size: a duplicated sample equals a doubled weight
        recipe = replace(recipe, batch_size=max(1, min(recipe.batch_size, count)))
        decays = CLASSES[recipe.optimizer].decoupled_decay and recipe.weight_decay > 0
        if decays and self.weight_decay is None and not incremental:
            steps = -(-count // recipe.batch_size) * recipe.epochs
            enough = min(_SHRINKING / (recipe.learning_rate * steps), _MOST_DECAY)
            recipe = replace(recipe, weight_decay=max(recipe.weight_decay, enough))
        return recipe

    def _network(self, X: np.ndarray, recipe: Recipe, seed: int, again: bool) -> NeuralNetwork:
        """A new network, or a copy of the last one."""
        layers = recipe.layer_list(X.shape[1], self._output_dim())
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
        return np.asarray(self.network_.apply(_dense(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MLPClassifier(ClassifierMixin, _Perceptron):  # type: ignore[misc]
    """A multilayer perceptron with scikit-learn's interface, for classification.

    y holds labels (N,) of any type; the outputs are then a softmax. If a sample may have several
    labels, y holds rows (N, C) of 0 and 1, and the outputs are sigmoids. Inputs are used as they
    are: scale them so that most lie between -1 and 1, with
    ``sklearn.preprocessing.StandardScaler``, or with ``X / 255`` for pixels.

    Args:
        hidden_layer_sizes: the widths of the hidden layers, or one width. This is the only
            positional argument. If samples are the pixels of square pictures, layers such as
            "conv16x5" and "pool2" may come before them.
        batch_size: the number of samples in a step, or all samples if X has fewer.
        early_stopping: whether to set some of the samples aside for validation, and to keep the
            network of the epoch with the best validation score, the last one of equally good
            epochs.
        validation_fraction: the fraction of validation samples. It is the same in all classes,
            unless a sample may have several labels.
        n_iter_no_change: training ends after this many epochs in which the validation score (with
            ``early_stopping``) or the training loss has not improved by more than ``tol``;
            ``math.inf``: never.
        warm_start: whether ``fit`` continues from the network of the last call.
        verbose: whether to print a line for each epoch.
        device: "cpu", "gpu" or "auto", as in ``NeuralNetwork``.
        dtype: "float32" or "float64", which takes more than twice as long; None: float32 if X is
            float32, otherwise float64, as elsewhere in scikit-learn.
        random_state: an int, a ``numpy.random.RandomState``, or None for a random seed each time.
        parameters: the above, and the other fields of ``Recipe``, except the loss, the output
            activation, the number of validation images and distortions. The defaults are those of
            ``Recipe``, except one hidden layer of 100, 100 epochs, batches of 50 samples, and the
            activation "relu". With few steps, the default weight decay of AdamW and Muon is higher.

    Attributes:
        classes_: (C,) the labels, sorted. The columns of probabilities are in this order.
        coefs_, intercepts_: copies of the weights (I, O) and biases (O,) of each layer. In a
            committee of K networks, they have one more axis, the first.
        n_features_in_: I.
        n_iter_: the number of epochs.
        loss_curve_: the mean loss of each epoch.
        loss_: the mean loss of the last epoch.
        validation_scores_: with ``early_stopping``, the score after each epoch, otherwise None.
        best_validation_score_: the best of them, or None.
        network_: the trained ``NeuralNetwork``, which can be saved.
    """

    classes_: np.ndarray
    __init__ = _constructor()
    _loss = "cross-entropy"

    @_training
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on these samples, with a constant learning rate.

        Args:
            X: as for ``fit``.
            y: as for ``fit``.
            sample_weight: as for ``fit``.
            classes: all labels that y will have in any call. Only the first call needs them.

        Raises:
            ValueError, DeviceError, DivergenceError: as for ``fit``.
        """
        if classes is not None:
            classes = np.unique(classes)
            if not np.array_equal(classes, getattr(self, "classes_", classes)):
                raise ValueError(
                    f"classes: expected those of the first call, {self.classes_}, got {classes}"
                )
            self.classes_ = classes
        elif not hasattr(self, "classes_"):
            raise ValueError("classes: pass all labels to the first call of partial_fit")
        return self._fit_epoch(X, y, sample_weight)

    def predict_proba(self, X: Any) -> np.ndarray:
        """X (N, I) -> probabilities (N, C), in the order of ``classes_``."""
        outputs = self._apply(X)
        return outputs if self._several else probabilities(outputs)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of ``predict_proba``."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> np.ndarray:
        """X (N, I) -> the most probable label (N,) of each sample, or rows (N, C) of 0 and 1."""
        decided = self._decided(self._apply(X))
        return decided if self._several else np.asarray(self.classes_[decided])

    def _targets(self, y: Any, weights: np.ndarray | None, known: bool) -> np.ndarray:
        """Labels -> what ``ann.fit`` takes: indices into ``classes_``, or rows."""
        check_classification_targets(y)
        self._several = type_of_target(y) == "multilabel-indicator"
        if self._several:
            rows = _dense(y)
            if not known:
                self.classes_ = np.arange(rows.shape[1])
            return rows
        labels = column_or_1d(y, warn=True)
        if not known:
            self.classes_ = np.unique(labels)
        if len(others := np.setdiff1d(labels, self.classes_)):
            raise ValueError(f"y: expected only the classes {self.classes_}, got {others}")
        return np.asarray(np.searchsorted(self.classes_, labels))

    def _output_dim(self) -> int:
        return len(self.classes_)

    def _output_activation(self) -> str:
        return "sigmoid" if self._several else "softmax"

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        """The accuracy. If a sample has several labels, all must be right."""
        return float(accuracy_score(targets, self._decided(outputs), sample_weight=weights))

    def _decided(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs (N, C) -> indices into ``classes_`` (N,), or rows (N, C) of 0 and 1."""
        return (outputs > 0.5).astype(int) if self._several else outputs.argmax(axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _Perceptron):  # type: ignore[misc]
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

    __init__ = _constructor("label_smoothing")
    _loss = "quadratic"

    @_training
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
        elif rows.shape[1] != self._output_dim():
            raise ValueError(f"y: expected {self._output_dim()} targets, got {rows.shape[1]}")
        return np.asarray((rows - self._mean) / self._scale)

    def _output_dim(self) -> int:
        return len(self._mean)

    def _output_activation(self) -> str:
        return "identity"

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class _Watch(Callback):
    """Records and prints losses and scores, stops training, and keeps the best network.

    Attributes:
        score: computes the score on validation samples; None: the training loss decides.
        losses, scores: a number for each epoch.
        best: the best score, or minus the smallest loss.
    """

    def __init__(self, network: NeuralNetwork, patience: Any, tol: Any, verbose: bool) -> None:
        forever = isinstance(patience, float) and patience == math.inf
        self._patience = (
            patience if forever else check_count("n_iter_no_change", patience, at_least=1)
        )
        self._tol = check_number("tol", tol, at_least=0)
        self._network, self._verbose = network, verbose
        self._parameters: Any = None  # of the best epoch
        self._waited = 0
        self.score: Callable[[], float] | None = None
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best = -math.inf

    def after_epoch(self, report: EpochReport) -> bool:
        self.losses.append(report.loss)
        value, text = -report.loss, str(report)
        if self.score:
            value = self.score()
            self.scores.append(value)
            text += f"  validation score {value:.4f}"
        if self._verbose:
            print(text)
        self._waited = 0 if value > self.best + self._tol else self._waited + 1
        if value >= self.best:
            self.best = value
            if self.score:
                self._parameters = self._network.backend.xp.asarray(
                    self._network.parameters, copy=True
                )
        return self._waited >= self._patience

    def at_end(self) -> None:
        if self._parameters is not None:
            self._network.parameters[...] = self._parameters


def _rescale(network: NeuralNetwork, factors: np.ndarray, shifts: np.ndarray) -> None:
    """Make a linear last layer multiply its outputs by factors (O,), and add shifts (O,)."""
    last: Any = network.network.layers[-1]
    factors, shifts = (
        network.backend.from_host(row.astype(network.dtype_name)) for row in (factors, shifts)
    )
    last.weight[...] = last.weight * factors
    last.bias[...] = last.bias * factors + shifts


def _array(X: Any) -> Any:
    """A tensor of another library as an array of the same dtype; other values unchanged.

    scikit-learn would convert a tensor to float64. A DataFrame stays one, because scikit-learn
    needs the names of its columns.
    """
    is_tensor = hasattr(X, "__array__") and not isinstance(X, np.ndarray)
    return host_array("X", X) if is_tensor and not hasattr(X, "columns") else X


def _dense(array: Any) -> np.ndarray:
    """A sparse or dense array as a NumPy array."""
    return np.asarray(array.toarray() if hasattr(array, "toarray") else array)
