"""The scikit-learn estimators: scikit-learn's own checks and tools, and a comparison with
``ann.fit``.
"""

import importlib
import pickle
import sys
import tracemalloc
import warnings
from collections import Counter

import numpy as np
import pytest

import ann
from support import optional
from support.backends import Column
from support.readme import blocks

optional("sklearn")

from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from ann.estimator import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
SMALL = {"hidden_layer_sizes": (16,), "epochs": 30, "random_state": 0}
BRIEF = {**SMALL, "epochs": 5}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def checked(estimator):
    """The names of scikit-learn's checks, and their results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    return Counter((result["check_name"], result["status"]) for result in results), results


@pytest.mark.parametrize(
    ("estimator", "peer", "passed"),
    [(MLPClassifier, Theirs, 60), (MLPRegressor, TheirRegressor, 55)],
)
@pytest.mark.slow
def test_the_checks_of_scikit_learn_that_its_own_estimators_pass(estimator, peer, passed):
    ours, results = checked(estimator())
    for result in results:
        assert result["status"] in ("passed", "skipped"), (
            f"{result['check_name']}: {result['exception']}"
        )
    theirs, _ = checked(peer(max_iter=100))
    assert not theirs - ours
    assert sum(count for (_, status), count in ours.items() if status == "passed") >= passed


def tensor(array):
    return optional("torch").from_numpy(array)


@BOTH
@pytest.mark.parametrize("wrapped", [Column, tensor])
def test_arrays_of_other_libraries(digits, estimator, wrapped):
    X, y = digits
    plain = estimator(**BRIEF).fit(X, y)
    other = estimator(**BRIEF).fit(wrapped(X), wrapped(y))
    np.testing.assert_array_equal(other.predict(wrapped(X)), plain.predict(X))
    np.testing.assert_array_equal(other.network_.apply(wrapped(X)), plain.network_.apply(X))


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_inputs_are_not_copied(estimator, dtype, rng):
    X = 0.01 + rng.random((20_000, 64)).astype(dtype)
    y = (X[:, 0] > 0.5).astype(dtype if estimator is MLPRegressor else int)
    one = estimator(16, activation="tanh", epochs=2, batch_size=500, random_state=0)
    for use in (lambda: one.fit(X, y), lambda: one.partial_fit(X, y), lambda: one.predict(X)):
        tracemalloc.start()
        use()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 0.6 * X.nbytes


@BOTH
def test_every_device_does_the_same(digits, estimator, backend):
    X, y = (array[:200] for array in digits)
    options = {"hidden_layer_sizes": 8, "epochs": 2, "random_state": 0, "warm_start": True}
    found = []
    for device in ("cpu", backend):
        one = clone(estimator(**options, device=device, early_stopping=True)).fit(X, y).fit(X, y)
        one.set_params(early_stopping=False).partial_fit(X, y).partial_fit(X, y)
        assert one.network_.backend.name == getattr(device, "name", device)
        found.append(np.concatenate([weights.ravel() for weights in one.coefs_]))
    np.testing.assert_allclose(*found, atol=1e-3)


def test_float32_stays_float32(digits):
    X, y = digits
    for inputs, dtype, expected in (
        (X, None, "float32"),
        (X.astype(float), "float32", "float32"),
        (X.astype(float), None, "float64"),
    ):
        classifier = MLPClassifier(**BRIEF, dtype=dtype).fit(inputs, y)
        assert classifier.network_.dtype_name == expected
        assert classifier.predict_proba(inputs).dtype == expected


def test_it_is_fit(digits):
    X, y = digits
    classifier = MLPClassifier(**BRIEF, weight_decay=0.1).fit(X, y)
    network = classifier.network_
    same = {"hidden": (16,), "activation": "relu", "weight_decay": 0.1, "epochs": 5}
    recipe = ann.Recipe(**same, output_activation="softmax", batch_size=50)
    twin = ann.NeuralNetwork(recipe.layer_list(64, 10), seed=network.seed)
    reports = ann.fit(twin, ann.Dataset(X, y, X, y), recipe)
    np.testing.assert_array_equal(twin.parameters, network.parameters)
    assert classifier.loss_curve_ == [report.loss for report in reports]
    assert classifier.n_iter_ == 5
    np.testing.assert_array_equal(classifier.predict(X), twin.predict(X))


@pytest.mark.slow
def test_as_good_as_scikit_learn_s_own(digits):
    """In cross-validation on scikit-learn's digits of 8 x 8 pixels, with the defaults of each."""
    X, y = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cross_val_score(Theirs(random_state=0, max_iter=100), X, y, cv=3).mean()
    ours = cross_val_score(MLPClassifier(random_state=0), X, y, cv=3).mean()
    print(f"cross-validation on load_digits: ours {ours:.4f}, theirs {theirs:.4f}")
    assert ours > theirs - 0.01 and ours > 0.93


def test_pipelines_and_searches(digits):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    pipeline = make_pipeline(MinMaxScaler(), MLPClassifier(**SMALL))
    choices = {"hidden_layer_sizes": [4, (16,)], "dropout": [0.0, 0.1]}
    grid = {f"mlpclassifier__{name}": values for name, values in choices.items()}
    search = GridSearchCV(pipeline, grid, cv=2)
    search.fit(255 * X[:600], names[:600])
    assert search.best_params_["mlpclassifier__hidden_layer_sizes"] == (16,)
    assert search.score(255 * X[600:], names[600:]) > 0.8
    assert list(search.classes_) == sorted(set(names))


def test_convolution_on_square_pictures(digits):
    X, y = digits
    layers = "conv8x3", "pool2", 16
    classifier = MLPClassifier(epochs=20, random_state=0)
    search = GridSearchCV(classifier, {"hidden_layer_sizes": [layers]}, cv=2)
    search.fit(X[:600], y[:600])
    network = search.best_estimator_.network_
    assert network.layer_list[0]["input_shape"] == [1, 8, 8]
    assert search.score(X[600:], y[600:]) > 0.5
    twin = clone(search.best_estimator_).fit(csr_array(X[:600]), y[:600])
    np.testing.assert_array_equal(twin.network_.parameters, network.parameters)
    not_square = "conv8x3 needs pictures, but images of 63 pixels are not square"
    for hidden, features, message in (
        (layers, 63, f"hidden_layer_sizes: {not_square}"),
        (("conv4x9",), 64, "layer 1: kernel 9 is larger than its image, 8x8"),
        (("pool3",), 64, "layer 1: size 3 does not divide its image, 8x8"),
    ):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(hidden).fit(X[:, :features], y)


def test_pickles_and_clones(digits):
    X, y = digits
    classifier = MLPClassifier(**BRIEF).fit(X, y)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    twin = clone(classifier).fit(X, y)
    np.testing.assert_array_equal(twin.predict_proba(X), classifier.predict_proba(X))
    other = clone(classifier).set_params(random_state=1).fit(X, y)
    assert (other.predict_proba(X) != classifier.predict_proba(X)).any()


@BOTH
def test_a_pickle_holds_the_name_of_a_backend(digits, estimator):
    X, y = digits
    device = ann.get_backend("cpu")
    one = estimator(**BRIEF, device=device).fit(X, y)
    assert one.device is device is clone(one).device
    again = pickle.loads(pickle.dumps(one))
    assert again.device == "cpu"
    np.testing.assert_array_equal(again.predict(X), one.predict(X))


def test_several_labels_per_sample():
    X, Y = make_multilabel_classification(600, n_classes=4, n_labels=2, random_state=0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    train, test = slice(0, 300), slice(300, 600)
    classifier = MLPClassifier((16,), random_state=0).fit(X[train], Y[train])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Theirs((16,), random_state=0).fit(X[train], Y[train])
    right, by_theirs = ((one.predict(X[test]) == Y[test]).mean() for one in (classifier, theirs))
    print(f"labels that are right: ours {right:.3f}, theirs {by_theirs:.3f}")
    assert classifier.predict(X[test]).shape == (300, 4)
    assert right > by_theirs - 0.03
    assert list(classifier.classes_) == [0, 1, 2, 3]


def test_early_stopping_with_sorted_samples(digits):
    X, y = digits
    order = y.argsort()  # the last ones are all nines
    classifier = MLPClassifier(**{**SMALL, "epochs": 200}, early_stopping=True)
    classifier.fit(X[order], y[order])
    assert classifier.n_iter_ < 200
    assert classifier.score(X, y) > 0.9


def test_early_stopping_with_several_labels(rng):
    """A sample is wrong unless all its labels are right; the first label alone does not rank
    epochs.
    """
    X = rng.normal(size=(600, 5))
    Y = (X[:, :3] > 0).astype(int)
    Y[:, 0] = 1
    options = {"epochs": 40, "learning_rate": 0.01, "weight_decay": 0.01, "random_state": 0}
    options["hidden_layer_sizes"] = (8,)
    whole = MLPClassifier(**options).fit(X, Y)
    stopped = MLPClassifier(**options, early_stopping=True).fit(X, Y)
    assert stopped.score(X, Y) > whole.score(X, Y) - 0.03


def test_weights_of_other_kinds_and_widths_from_a_search(digits):
    X, y = digits
    plain = MLPClassifier(**BRIEF).fit(X, y)
    for weights in (2.0, np.ones(len(y), bool), [1] * len(y)):
        other = MLPClassifier(**BRIEF).fit(X, y, weights)
        np.testing.assert_allclose(other.predict_proba(X), plain.predict_proba(X), atol=1e-4)
    other = MLPClassifier(**{**BRIEF, "hidden_layer_sizes": np.array([16])}).fit(X, y)
    np.testing.assert_array_equal(other.predict_proba(X), plain.predict_proba(X))


def test_a_committee(digits):
    X, y = digits
    classifier = MLPClassifier(**BRIEF, committee=3).fit(X, y)
    assert classifier.network_.committee == 3
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes: expected a whole number of at least 1"),
        ({"activation": "step"}, "unknown activation 'step'"),
        ({"optimizer": "lbfgs"}, "optimizer: unknown 'lbfgs'"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs: expected a whole number"),
        ({"hidden_layer_sizes": True}, "hidden_layer_sizes: expected a tuple of widths"),
        ({"early_stopping": 5}, "early_stopping: expected True or False, got 5"),
        ({"warm_start": 1}, "warm_start: expected True or False, got 1"),
        ({"n_iter_no_change": 0}, "n_iter_no_change: expected a whole number of at least 1"),
        ({"tol": -1}, "tol: expected a number of at least 0"),
        ({"dtype": "float16"}, "dtype: expected 'float32', 'float64' or None, got 'float16'"),
        ({"dtype": 3}, "dtype: expected 'float32', 'float64' or None, got 3"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_wrong_parameters(digits, parameters, message):
    X, y = digits
    with pytest.raises((ValueError, ann.DeviceError), match=message):
        MLPClassifier(**parameters).fit(X[:100], y[:100])
    clone(MLPClassifier(**parameters))  # scikit-learn wants them checked in fit, and not before


def test_wrong_weights(digits):
    X, y = digits
    for weights, message in (
        (-np.ones(100), "at least 0"),
        (np.ones(99), "shape"),
        (np.full(100, np.nan), "finite"),
    ):
        with pytest.raises(ValueError, match=f"sample_weight: .*{message}"):
            MLPClassifier(**SMALL).fit(X[:100], y[:100], weights)


@pytest.mark.parametrize(
    ("parameters", "change"),
    [
        ({}, lambda X, y: (np.where(X > 0.5, np.nan, X), y)),
        ({"epochs": 0}, lambda X, y: (X[:, :9], y)),
        ({"epochs": 0}, lambda X, y: (X, np.eye(10, dtype=int)[y - 100])),
        ({"device": "tpu"}, lambda X, y: (X, y)),
        ({"learning_rate": 1e30, "optimizer": "sgd"}, lambda X, y: (X, y)),
        ({}, lambda X, y: (X, y, np.zeros(len(y)))),
        ({}, lambda X, y: (X, y / 7)),
    ],
)
def test_a_fit_that_fails_changes_nothing(digits, parameters, change):
    """Otherwise the old network would predict the new labels."""
    X, y = digits
    classifier = MLPClassifier(**{**SMALL, "epochs": 3}).fit(X, y)
    expected, proba = dict(vars(classifier)), classifier.predict_proba(X)
    old = {name: classifier.get_params()[name] for name in parameters}
    classifier.set_params(**parameters)
    with pytest.raises((ValueError, ann.AnnError)):
        classifier.fit(*change(X, y + 100))
    classifier.set_params(**old)
    assert vars(classifier) == expected
    np.testing.assert_array_equal(classifier.predict_proba(X), proba)
    np.testing.assert_array_equal(classifier.predict(X), proba.argmax(axis=1))


def test_pixels_that_were_not_scaled_are_warned_of_once(digits):
    """With any dtype, although scikit-learn's checks convert it to float."""
    X, y = digits
    for pixels in ((X * 255).astype(np.uint8), X * 255):
        with pytest.warns(ann.TrainingWarning) as caught:
            MLPClassifier(**{**SMALL, "epochs": 6}).fit(pixels, y).predict(pixels)
        found = [one for one in caught if str(one.message).startswith("X: ")]
        assert [str(one.message) for one in found] == [
            "X: inputs reach 255 but should lie between 0 and 1: divide pixels by 255, and "
            "standardise other inputs"
        ]
        assert found[0].filename == __file__


def test_errors_name_the_arguments_that_were_given(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"^sample_weight: all training images have weight zero"):
        MLPClassifier(**SMALL).fit(X, y, np.zeros(len(y)))
    with pytest.raises(
        ValueError, match=r"^y: expected rows of numbers from 0 to 1 for this loss, got -1 to 1"
    ):
        MLPClassifier(**SMALL).fit(X, 2 * np.eye(10, dtype=int)[y] - 1)


def test_regression_is_refused(digits):
    X, _ = digits
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, X[:, 3] + 0.123)


def test_targets_of_any_size(digits):
    """The network is trained on standardised targets, so predictions scale with them, up to
    rounding.
    """
    X, y = digits
    X = X.astype(float)
    plain = MLPRegressor(**SMALL).fit(X, y)
    large = MLPRegressor(**SMALL).fit(X, 1e6 * y - 3e7)
    np.testing.assert_allclose(large.predict(X), 1e6 * plain.predict(X) - 3e7, rtol=1e-9)
    np.testing.assert_allclose(large.network_.apply(X)[:, 0], large.predict(X))
    constant = MLPRegressor(**SMALL).fit(X, np.full(len(X), 0.1))
    np.testing.assert_allclose(constant.predict(X), 0.1, atol=0.05)
    with pytest.raises(ValueError, match="y: expected 1 targets, got 2"):
        plain.partial_fit(X, np.stack([y, y], axis=1))


def test_a_regressor_keeps_its_targets_in_a_warm_start(digits):
    """The targets are standardised as in the first call."""
    X, y = digits
    one = MLPRegressor(**SMALL, warm_start=True).fit(X, 100.0 * y)
    assert one.score(X, 100.0 * y) > 0.8
    one.set_params(learning_rate=1e-12).fit(X, 200.0 * y)  # the network stays as it is
    assert one.score(X, 100.0 * y) > 0.8


def test_without_scikit_learn(monkeypatch):
    module = sys.modules["ann.estimator"]
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(
        ImportError, match=r'ann.estimator needs scikit-learn: pip install -e ".\[sklearn\]"'
    ):
        importlib.reload(module)


@pytest.mark.slow
def test_the_example_of_the_readme(capsys):
    exec(compile(blocks("python scikit-learn", "ann/README.md")[0], "ann/README.md", "exec"), {})
    found = capsys.readouterr().out
    assert "mlpclassifier__hidden_layer_sizes" in found and float(found.split()[-1]) > 0.92
