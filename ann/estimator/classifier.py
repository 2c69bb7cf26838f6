"""The classifier: labels, probabilities and accuracy."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ann.estimator.base import Perceptron, dense, training
from ann.estimator.parameters import constructor
from ann.neural_network import probabilities


class MLPClassifier(ClassifierMixin, Perceptron):  # type: ignore[misc]
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
        device: "cpu", "gpu", "auto" or a ``Backend``, of which a pickle holds only the name.
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
    __init__ = constructor()
    _loss = "cross-entropy"

    @training
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
        labels = dense(y) if self._several else column_or_1d(y, warn=True)
        if not known:
            several = self._several
            self.classes_ = np.arange(labels.shape[1]) if several else np.unique(labels)
        if self._several:
            return labels
        if len(others := np.setdiff1d(labels, self.classes_)):
            raise ValueError(f"y: expected only the classes {self.classes_}, got {others}")
        return np.asarray(np.searchsorted(self.classes_, labels))

    def _outputs(self) -> tuple[int, str]:
        return len(self.classes_), "sigmoid" if self._several else "softmax"

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
