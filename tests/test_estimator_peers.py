"""scikit-learn's own tests of its MLPs (sklearn/neural_network/tests/test_mlp.py, 1.9), for our
estimators.

Some of them do not apply here:

- L-BFGS (``max_fun``, no ``partial_fit``): our optimizers work on batches. Tests of its accuracy
  are below.
- ``learning_rate="invscaling"`` and ``"adaptive"``: our schedules follow from the number of epochs.
- ``shuffle=False``: samples are always shuffled.
- The poisson loss, and gradients through private methods: we have no such loss, and tests/analysis
  checks gradients.
- ``ConvergenceWarning`` after all epochs: a schedule always uses all of them, which is no bad sign.
- Training with early stopping that diverges and ends with scores of NaN: ours raises
  ``DivergenceError``.
- Names of the columns of a pandas DataFrame with early stopping: ours scores arrays.
- The private ``_no_improvement_count``, ``best_loss_`` and ``_optimizer``: n_iter_ and loss_curve_
  show the same.
"""

import copy
import functools
import pickle
from io import StringIO

import numpy as np
import pytest

import ann
from support import optional

optional("sklearn")

from scipy.sparse import csc_array, csr_array
from sklearn.datasets import (
    load_digits,
    load_iris,
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import scale

from ann.estimator import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
ACTIVATIONS = pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu"])
IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = scale(IRIS)
LINEAR, TARGETS = make_regression(200, 10, bias=20.0, noise=100.0, random_state=7)
# a constant learning rate, as in partial_fit, and all epochs
CONSTANT = {"schedule": "constant", "warmup": 0.0, "n_iter_no_change": np.inf}


def improvements(scores, tol):
    """For each score but the first, whether it is better than all before it by more than tol."""
    return [scores[end] > max(scores[:end]) + tol for end in range(1, len(scores))]


@functools.cache
def digits(classes, count=200):
    X, y = load_digits(n_class=classes, return_X_y=True)
    return X[:count] / 16, y[:count]


def several_labels():
    X, Y = make_multilabel_classification(50, random_state=0)
    return scale(X), Y


def test_more_weight_decay_gives_smaller_weights():
    X, y = digits(2)
    networks = [MLPClassifier(8, weight_decay=decay, random_state=0) for decay in (0.0, 1.0)]
    weights = [[np.abs(weight).sum() for weight in one.fit(X, y).coefs_] for one in networks]
    assert all(plain > decayed for plain, decayed in zip(*weights, strict=True))


def test_a_step_worked_out_by_hand():
    """Plain gradient descent with weight decay: 3 inputs, 2 sigmoids, a linear output."""
    x = np.array([[0.6, 0.8, 0.7]])
    options = {"optimizer": "sgd", "momentum": 0, "learning_rate": 0.1, "weight_decay": 0.1}
    regressor = MLPRegressor(2, activation="sigmoid", random_state=0, **options)
    regressor.partial_fit(x, [0.0])
    W1, b1 = np.array([[0.1, 0.2], [0.3, 0.1], [0.5, 0.0]]), np.array([0.1, 0.1])
    W2, b2 = np.array([[0.1], [0.2]]), np.array([1.0])
    regressor.network_.parameters[...] = np.concatenate([W1.ravel(), W2.ravel(), b1, b2])
    regressor.partial_fit(x, [0.0])
    h = 1 / (1 + np.exp(-(x @ W1 + b1)))  # [[0.679, 0.575]]
    output = h @ W2 + b2  # [[1.183]], which is also dL/dz
    slope = output @ W2.T * h * (1 - h)
    coefs, intercepts = regressor.coefs_, regressor.intercepts_
    np.testing.assert_allclose(coefs[1], W2 - 0.1 * (h.T @ output + 0.1 * W2))
    np.testing.assert_allclose(intercepts[1], b2 - 0.1 * output[0])
    np.testing.assert_allclose(coefs[0], W1 - 0.1 * (x.T @ slope + 0.1 * W1))
    np.testing.assert_allclose(intercepts[0], b1 - 0.1 * slope[0])
    assert output[0, 0] == pytest.approx(1.183, abs=5e-4)
    assert regressor.loss_ == pytest.approx(output[0, 0] ** 2 / 2)


@ACTIVATIONS
@pytest.mark.parametrize("classes", [2, 3])
def test_every_activation_learns_digits(activation, classes):
    X, y = digits(classes)
    classifier = MLPClassifier(50, activation=activation, random_state=1).fit(X[:150], y[:150])
    assert classifier.score(X[:150], y[:150]) > 0.95
    assert classifier.predict(X[150:]).dtype.kind == y.dtype.kind


@ACTIVATIONS
def test_every_activation_learns_a_regression(activation):
    regressor = MLPRegressor(50, activation=activation, weight_decay=0, epochs=200, random_state=1)
    score = regressor.fit(LINEAR, TARGETS).score(LINEAR, TARGETS)
    assert score > (0.8 if activation == "identity" else 0.95)


def test_several_labels():
    X, Y = several_labels()
    options = {"activation": "sigmoid", "weight_decay": 0, "random_state": 0, "epochs": 400}
    assert MLPClassifier(50, **options).fit(X, Y).score(X, Y) > 0.97
    classifier = MLPClassifier(50, learning_rate=0.01, **options)
    for _ in range(100):
        classifier.partial_fit(X, Y, classes=[0, 1, 2, 3, 4])
    assert classifier.score(X, Y) > 0.9
    stopped = MLPClassifier(early_stopping=True, **options).fit(X, Y)  # not stratified
    assert stopped.predict(X).shape == Y.shape


def test_several_targets():
    X, Y = make_regression(200, 100, n_targets=5, random_state=11)
    regressor = MLPRegressor(50, random_state=1).fit(X, Y)
    assert regressor.score(X, Y) > 0.9 and regressor.predict(X).shape == Y.shape
    assert MLPRegressor(5, epochs=1, random_state=0).fit(X, Y[:, :1]).predict(X).shape == (200, 1)


def test_other_classes_in_a_later_call():
    X, y = [[0.3, 0.2]], [0]
    classifier = MLPClassifier(random_state=0).partial_fit(X, y, classes=[0, 1])
    for one, labels, classes, message in (
        (
            classifier,
            y,
            [1, 2],
            r"classes: expected those of the first call, \[0 1\], got \[1 2\]",
        ),
        (classifier, [2], None, r"y: expected only the classes \[0 1\], got \[2\]"),
        (MLPClassifier(), y, [2], r"y: expected only the classes \[2\], got \[0\]"),
        (MLPClassifier(), y, None, "classes: pass all labels to the first call of partial_fit"),
    ):
        with pytest.raises(ValueError, match=message):
            one.partial_fit(X, labels, classes=classes)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_partial_fit_does_the_same_as_fit(classes, optimizer):
    X, y = digits(classes)
    X += 0.01  # fit leaves out inputs that are always 0, which changes the rounding
    options = {"optimizer": optimizer, "weight_decay": 0.01, "random_state": 1, "epochs": 30}
    options |= CONSTANT
    whole = MLPClassifier(**options).fit(X, y)
    parts = MLPClassifier(**options)
    for _ in range(30):
        parts.partial_fit(X, y, classes=np.unique(y))
    np.testing.assert_array_equal(parts.network_.parameters, whole.network_.parameters)
    assert parts.loss_curve_ == whole.loss_curve_ and parts.n_iter_ == 30
    assert parts.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"optimizer": "adamw"}, {"optimizer": "sgd"}),
        ({"optimizer": "sgd"}, {"optimizer": "muon"}),
        ({"average": 0.9}, {"average": 0.0}),
        ({"average": 0.0}, {"average": 0.9}),
        ({"batch_norm": True}, {"batch_norm": False}),
    ],
)
def test_another_optimizer_between_calls_of_partial_fit(before, after):
    """It starts anew, from the network of the last call, as it does after ``fit``."""
    options = {"random_state": 0, "learning_rate": 0.01, "weight_decay": 0.01, **CONSTANT}
    one = MLPClassifier(8, **options, **before)
    one.partial_fit(IRIS, SPECIES, classes=np.unique(SPECIES))
    other = MLPClassifier(8, **options, **before, epochs=1).fit(IRIS, SPECIES)
    for estimator in (one, other):
        estimator.set_params(**after).partial_fit(IRIS, SPECIES)
    np.testing.assert_array_equal(one.network_.parameters, other.network_.parameters)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("extras", [{}, {"average": 0.9, "batch_norm": True}])
def test_partial_fit_does_the_same_as_fit_in_a_regression(momentum, extras):
    """Up to rounding: the last layer is rescaled after each call."""
    options = {"optimizer": "sgd", "momentum": momentum, "learning_rate": 0.01, "random_state": 1}
    options |= {"batch_size": 200, **CONSTANT, **extras}
    whole = MLPRegressor(**options).fit(LINEAR, TARGETS)
    parts = MLPRegressor(**options)
    for _ in range(100):
        parts.partial_fit(LINEAR, TARGETS)
    np.testing.assert_allclose(parts.predict(LINEAR), whole.predict(LINEAR))
    assert parts.score(LINEAR, TARGETS) > 0.65


def test_classes_that_only_later_calls_have():
    classifier = MLPClassifier(random_state=0)
    classifier.partial_fit([[1], [2], [3]], ["a", "b", "c"], classes=["a", "b", "c", "d"])
    classifier.partial_fit([[4]], ["d"])
    assert classifier.score([[1], [2], [3], [4]], ["a", "b", "c", "d"]) > 0
    assert list(classifier.classes_) == ["a", "b", "c", "d"]


@pytest.mark.filterwarnings("ignore::ann.TrainingWarning")  # about the scale of X
def test_inputs_that_overflow_are_an_error(rng):
    X = np.finfo(np.float64).max * rng.random((10, 2))
    with pytest.raises((ValueError, ann.DivergenceError), match=r"diverged|finite"):
        MLPRegressor(random_state=0).fit(X, rng.standard_normal(10))


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities(classes):
    X, y = digits(classes, 50)
    classifier = MLPClassifier(5, activation="sigmoid", random_state=1).fit(X, y)
    rows, logarithms = classifier.predict_proba(X), classifier.predict_log_proba(X)
    assert rows.shape == (50, classes)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    np.testing.assert_allclose(logarithms, np.log(rows))
    if classes == 2:
        assert roc_auc_score(y, rows[:, 1]) == 1.0


def test_probabilities_of_several_labels():
    """Each is separate, so they need not sum to 1."""
    X, Y = several_labels()
    classifier = MLPClassifier(30, random_state=0, weight_decay=0, epochs=400).fit(X, Y)
    rows = classifier.predict_proba(X)
    np.testing.assert_array_equal(rows > 0.5, Y)
    assert np.abs(rows.sum(axis=1) - 1).max() > 0.5
    np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(rows))


def test_the_order_of_samples_follows_from_the_seed():
    one, same, other = (
        MLPRegressor(1, epochs=1, batch_size=1, random_state=seed).fit(LINEAR, TARGETS).coefs_[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("sparse", [csr_array, csc_array])
def test_sparse_inputs(sparse):
    X, y = digits(2, 50)
    dense = MLPClassifier(15, epochs=20, random_state=1).fit(X, y)
    other = MLPClassifier(15, epochs=20, random_state=1).fit(sparse(X), y)
    np.testing.assert_array_equal(other.predict_proba(sparse(X)), dense.predict_proba(X))


def test_a_large_tolerance_ends_training():
    classifier = MLPClassifier(tol=0.5, epochs=3000, random_state=0).fit([[3, 2], [1, 6]], [1, 0])
    assert classifier.n_iter_ < 3000


def test_verbose(capsys):
    X, y = [[3, 2], [1, 6]], [1, 0]
    options = {"epochs": 2, "random_state": 0, "verbose": True}
    classifier = MLPClassifier(2, optimizer="sgd", **options).fit(X, y)
    classifier.partial_fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2", "epoch 3"]
    assert all("loss" in line for line in lines)
    MLPRegressor(**options, early_stopping=True).fit(LINEAR, TARGETS)
    assert capsys.readouterr().out.count("validation score") == 2
    classifier.set_params(verbose=False).fit(X, y)
    assert capsys.readouterr().out == ""


@BOTH
def test_early_stopping(estimator):
    X, y = digits(2, 100)
    one = estimator(tol=0.2, epochs=3000, early_stopping=True, random_state=0).fit(X, y)
    scores = one.validation_scores_
    assert one.n_iter_ == len(scores) < 3000
    assert one.best_validation_score_ == max(scores)
    assert not any(improvements(scores, 0.2)[-10:])
    one.set_params(early_stopping=False).fit(X, y)
    assert one.validation_scores_ is None and one.best_validation_score_ is None


def test_the_best_network_is_kept():
    """With a learning rate at which most epochs make the network worse."""
    options = {"activation": "tanh", "learning_rate": 0.2, "epochs": 60, "random_state": 0}
    options["weight_decay"] = 0
    classifier = MLPClassifier(8, early_stopping=True, **options, **CONSTANT).fit(IRIS, SPECIES)
    scores = classifier.validation_scores_
    best = max(range(60), key=lambda epoch: (scores[epoch], epoch))
    assert scores[-1] < scores[best]
    twin = MLPClassifier(**(classifier.get_params() | {"epochs": best + 1}))
    np.testing.assert_array_equal(twin.fit(IRIS, SPECIES).coefs_[0], classifier.coefs_[0])


def test_warm_start_and_other_classes():
    classifier = MLPClassifier(2, epochs=20, warm_start=True, random_state=42).fit(IRIS, SPECIES)
    classifier.fit(IRIS, SPECIES[::-1])
    for counts, message in (
        ((75, 75), "with warm_start, it must have all classes"),
        ((50, 50, 0, 50), r"expected only the classes \[0 1 2\], got \[3\]"),
        ((30, 30, 30, 30, 30), r"expected only the classes \[0 1 2\], got \[3 4\]"),
    ):
        with pytest.raises(ValueError, match=f"y: {message}"):
            classifier.fit(IRIS, np.repeat(np.arange(len(counts)), counts))


@BOTH
def test_warm_start_continues_from_the_last_network(estimator):
    options = {"epochs": 3, "optimizer": "sgd", "random_state": 0, "warm_start": True}
    one = estimator(2, **options).fit(IRIS, SPECIES)
    first = one.loss_
    assert one.n_iter_ == 3
    before = one.predict(IRIS)
    one.set_params(learning_rate=1e-12).fit(IRIS, SPECIES)  # it stays where it was
    np.testing.assert_allclose(one.predict(IRIS), before, rtol=1e-6)
    one.set_params(learning_rate=None, epochs=10).fit(IRIS, SPECIES)
    assert one.n_iter_ == 10 == len(one.loss_curve_) and one.loss_ < first
    with pytest.raises(ValueError, match="the layers of the network have changed"):
        one.set_params(hidden_layer_sizes=3).fit(IRIS, SPECIES)
    one.set_params(warm_start=False).fit(IRIS, SPECIES)
    assert one.coefs_[0].shape == (4, 3)


@pytest.mark.parametrize("epochs", [2, 5, 10, 50])
def test_n_iter_no_change(epochs):
    """Training ends after this many losses that are not better than the best before them."""
    X, y = digits(2, 100)
    options = {"epochs": 3000, "learning_rate": 0.01, "random_state": 0}
    classifier = MLPClassifier(tol=0.01, n_iter_no_change=epochs, **options).fit(X, y)
    better = improvements([-loss for loss in classifier.loss_curve_], 0.01)
    assert better[-epochs - 1 :] == [True] + [False] * epochs
    assert classifier.n_iter_ < 3000


def test_training_that_never_ends_early():
    X, y = digits(2, 100)
    options = {"tol": 1e9, "epochs": 100, "n_iter_no_change": np.inf}
    classifier = MLPClassifier(4, random_state=0, **options).fit(X, y)
    assert classifier.n_iter_ == 100


def test_validation_samples_of_all_classes():
    X = np.array([[1, 2], [2, 3], [3, 4], [4, 5]])
    with pytest.raises(ValueError, match="least populated class"):
        MLPClassifier(early_stopping=True).fit(X, [0, 0, 0, 1])
    y = np.repeat([0, 1], [198, 2])
    nine_tenths = MLPClassifier(early_stopping=True, validation_fraction=0.9, random_state=0)
    with pytest.raises(ValueError, match=r"validation_fraction: 0.9 leaves no sample of some cl"):
        nine_tenths.fit(np.arange(200)[:, None] / 200, y)
    with pytest.raises(ValueError, match=r"validation_fraction: 0.1 of 2 samples is less than 2"):
        MLPRegressor(early_stopping=True).fit(X[:2], [0.0, 1.0])
    with pytest.raises(ValueError, match="validation_fraction: expected a number above 0"):
        MLPRegressor(early_stopping=True, validation_fraction=1.0).fit(X, [0.0, 1.0, 2.0, 3.0])


def test_early_stopping_with_labels_of_text():
    X, y = make_classification(200, 10, n_classes=3, n_informative=5, random_state=42)
    y = np.array(["class_a", "class_b", "class_c"], dtype=object)[y]
    classifier = MLPClassifier(early_stopping=True, epochs=50, random_state=42).fit(X, y)
    assert len(classifier.validation_scores_) == classifier.n_iter_
    assert np.isfinite(classifier.validation_scores_).all()
    assert set(classifier.predict(X)) == set(y)


@BOTH
def test_float32_and_float64_agree(estimator):
    X, y = digits(3, 300)
    options = {"hidden_layer_sizes": (15, 10), "random_state": 1, "epochs": 20}
    found = {}
    for dtype in (np.float32, np.float64):
        one = estimator(**options).fit(X.astype(dtype), y)
        assert {array.dtype for array in [*one.coefs_, *one.intercepts_]} == {np.dtype(dtype)}
        found[dtype] = one.predict(X.astype(dtype))
        if estimator is MLPRegressor:
            assert found[dtype].dtype == dtype
    np.testing.assert_allclose(found[np.float32], found[np.float64], rtol=5e-3, atol=1e-3)


def test_partial_fit_after_a_pickle():
    regressor = MLPRegressor(42, random_state=42, learning_rate=0.01).fit([[0.2]], [4])
    again = pickle.loads(pickle.dumps(regressor))
    for _ in range(200):
        again.partial_fit([[0.2]], [1])
    np.testing.assert_allclose(again.predict([[0.2]]), [1], rtol=0.02)
    np.testing.assert_allclose(regressor.predict([[0.2]]), [4], rtol=0.05)


@BOTH
def test_early_stopping_with_warm_start(estimator):
    one = estimator(epochs=10, random_state=0, warm_start=True, early_stopping=True)
    one.set_params(n_iter_no_change=np.inf).fit(IRIS, SPECIES)
    assert len(one.validation_scores_) == 10
    one.set_params(epochs=20).fit(IRIS, SPECIES)
    assert len(one.validation_scores_) == 20
    with pytest.raises(ValueError, match="early_stopping: partial_fit does not support it"):
        one.partial_fit(IRIS, SPECIES)


def test_a_diverging_regression_is_an_error():
    options = {"activation": "identity", "optimizer": "sgd", "learning_rate": 1e30}
    with pytest.raises(ann.DivergenceError):
        MLPRegressor(early_stopping=True, **options).fit(IRIS, SPECIES)


@BOTH
def test_equal_weights_change_nothing_with_early_stopping(estimator):
    options = {"early_stopping": True, "random_state": 42, "epochs": 30}
    one = estimator(**options).fit(IRIS, SPECIES, np.ones(150))
    other = estimator(**options).fit(IRIS, SPECIES)
    np.testing.assert_allclose(one.coefs_[0], other.coefs_[0], rtol=1e-6)


@BOTH
def test_ctrl_c_keeps_the_network(estimator, monkeypatch):
    """The interrupt comes while the line of the third epoch is printed."""

    class Interrupting(StringIO):
        def write(self, text):
            if text.startswith("epoch  3"):
                raise KeyboardInterrupt
            return super().write(text)

    monkeypatch.setattr("sys.stdout", Interrupting())
    one = estimator(epochs=50, random_state=0, verbose=True)
    with pytest.warns(ann.TrainingWarning, match="interrupted after 3 of 50 epochs") as caught:
        one.fit(IRIS, SPECIES)
    assert caught[0].filename == __file__
    assert one.n_iter_ == len(one.loss_curve_) == 3
    twin = estimator(random_state=0, epochs=50, verbose=False, tol=1e9, n_iter_no_change=2)
    np.testing.assert_array_equal(twin.fit(IRIS, SPECIES).coefs_[0], one.coefs_[0])
    assert one.score(IRIS, SPECIES) == twin.score(IRIS, SPECIES)


@pytest.mark.parametrize("options", [{}, {"average": 0.9}, {"batch_norm": True, "dropout": 0.2}])
def test_partial_fit_prepares_nothing_that_changes_its_results(options, rng):
    """A pickle contains nothing that earlier calls prepared."""
    one = MLPClassifier(8, random_state=0, batch_size=20, **options)
    other = copy.deepcopy(one)
    for count, labels, weights in [
        (30, 1, None),
        (30, 1, None),
        (30, 1, rng.random(30)),
        (30, 2, rng.random(30)),  # all targets are one-hot in the first calls, but not in this one
        (50, 2, None),
        (30, 1, None),
    ]:
        X = rng.standard_normal((count, 4))
        Y = np.zeros((count, 3), dtype=int)
        for column in range(labels):
            Y[np.arange(count), (np.arange(count) + column) % 3] = 1
        before = X.copy()
        one.partial_fit(X, Y, weights, classes=range(3))
        other.partial_fit(X, Y, weights, classes=range(3))
        np.testing.assert_array_equal(X, before)
        X[...] = 0  # the samples are the caller's again
        np.testing.assert_array_equal(one.predict_proba(before), other.predict_proba(before))
        assert one.loss_ == other.loss_
        other = pickle.loads(pickle.dumps(other))


def test_partial_fit_after_a_failure(rng):
    """It continues from where it was before. Copies of an estimator do not disturb each other."""
    X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    one = MLPRegressor(8, dtype="float32", random_state=0).partial_fit(X, y)
    other, copied = copy.deepcopy(one), copy.copy(one)
    with pytest.raises(ann.DivergenceError):
        one.partial_fit(X, 1e30 * y)
    copied.partial_fit(-X, y)
    for estimator in (one, other, one, other):
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_targets_and_weights_without_a_score():
    """Targets whose squares overflow, and validation samples with weight 0."""
    with pytest.raises(ValueError, match="y: its numbers are too large to be standardised"):
        MLPRegressor().fit(LINEAR, 1e200 * np.asarray(TARGETS))
    one_counts = np.zeros(len(IRIS))
    one_counts[1] = 1
    with pytest.raises(ValueError, match="sample_weight: all validation samples have weight zero"):
        MLPClassifier(early_stopping=True, random_state=0).fit(IRIS, SPECIES, one_counts)
