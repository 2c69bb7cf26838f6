import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ann
from ann.analysis import inspection
from ann.neural_network import probabilities
from support.backends import slow_on_strict
from support.networks import network_of

CONV = {"type": "conv2d", "filters": 4, "kernel": 3, "activation": "relu"}


@given(st.integers(0, 10**6))
def test_calibration_against_a_loop(seed):
    random = np.random.default_rng(seed)
    rows = random.dirichlet(np.full(4, 0.3), 60)
    labels = random.integers(0, 4, 60)
    found = inspection.calibration(rows, labels, bins=10)
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == labels
    expected, total = 0.0, 0
    for low in range(10):
        inside = (confidence >= low / 10) & (confidence < (low + 1) / 10 + (low == 9))
        if inside.any():
            expected += abs(right[inside].mean() - confidence[inside].mean()) * inside.sum() / 60
            assert inside.sum() in found.counts
            total += inside.sum()
    assert total == found.counts.sum() == 60
    assert found.expected_error == pytest.approx(expected, abs=1e-6)


def test_calibration_of_what_is_known():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert inspection.calibration(sure, np.array([0, 1, 2, 0])).expected_error == pytest.approx(
        0, abs=1e-9
    )
    assert inspection.calibration(sure, np.array([1, 2, 0, 1])).expected_error == pytest.approx(
        1, abs=1e-9
    )
    with pytest.raises(ValueError, match="labels: expected labels from 0 to 2"):
        inspection.calibration(sure, np.array([0, 1, 2, 3]))


@pytest.mark.parametrize(
    "outputs", [np.zeros((2, 3)), -np.ones((2, 3)), np.array([[-1, 2.0, 0], [1, 1, 2]])]
)
def test_outputs_of_any_kind_become_probabilities(outputs):
    rows = probabilities(outputs)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert (rows >= 0).all() and np.isfinite(inspection.losses(outputs, np.array([0, 1]))).all()


def test_answers_stay_the_largest_outputs(rng):
    """Also if some or all outputs are negative."""
    outputs, labels = rng.normal(-1, 1, (200, 5)), rng.integers(0, 5, 200)
    rows = probabilities(outputs)
    np.testing.assert_array_equal(rows.argmax(axis=1), outputs.argmax(axis=1))
    found = inspection.calibration(outputs, outputs.argmax(axis=1))
    assert (found.accuracy == 1).all()
    assert (
        inspection.losses(outputs, outputs.argmax(axis=1)) <= inspection.losses(outputs, labels)
    ).all()


def test_losses_are_cross_entropies():
    rows = np.array([[0.2, 0.8], [0.5, 0.5]])
    np.testing.assert_allclose(inspection.losses(rows, np.array([0, 1])), -np.log([0.2, 0.5]))


def test_nearest_against_a_loop(rng, monkeypatch):
    monkeypatch.setattr(inspection, "_ROWS", 7)
    images = rng.integers(0, 256, (30, 5), dtype=np.uint8)
    for place, found in zip((3, 29), inspection.nearest(images, [3, 29], 4), strict=True):
        distances = [
            (((images[place].astype(int) - image) ** 2).sum(), n) for n, image in enumerate(images)
        ]
        assert list(found) == [n for _, n in sorted(distances) if n != place][:4]


def test_the_nearest_of_few_images():
    """An image is not its own neighbour, even if there are no others left."""
    images = np.array([[0], [5], [2]], dtype=np.uint8)
    assert inspection.nearest(images, [0, 1], 4).tolist() == [[2, 1], [2, 0]]


@pytest.mark.parametrize(
    ("activation", "committee"), [("sigmoid", 1), ("relu", 3), ("gelu", 1), ("sigmoid", 3)]
)
@slow_on_strict
def test_ideal_inputs_are_taken_for_their_classes(backend, activation, committee):
    net = network_of(
        backend, 30, 20, 5, activation=activation, output="softmax", committee=committee
    )
    before = backend.to_host(net.parameters).copy()
    ideals = inspection.ideal_inputs(net)
    assert ideals.shape == (5, 30) and ideals.min() >= 0 and ideals.max() <= 1
    sure = net.predict_proba(ideals.astype(np.float32))
    grey = net.apply(np.full((1, 30), 0.1, np.float32))[0]
    assert (sure.diagonal() > grey).all() and list(sure.argmax(axis=1)) == list(range(5))
    np.testing.assert_array_equal(backend.to_host(net.parameters), before)


@pytest.mark.parametrize("committee", [1, 3])
def test_feature_maps_by_their_formula(backend, committee, rng):
    layers = [
        CONV | {"input_shape": [8, 8]},
        {"type": "max_pool2d", "size": 2},
        {"type": "conv2d", "filters": 5, "kernel": 2, "activation": "tanh"},
        {"output_dim": 3, "activation": "softmax"},
    ]
    net = ann.NeuralNetwork(layers, device=backend, committee=committee)
    image = rng.integers(0, 256, 64, dtype=np.uint8)
    first, second = inspection.feature_maps(net, image)
    weight = net.weights_and_biases()[0][0].reshape(-1, 9, 4)[0]
    for row, column in np.ndindex(6, 6):
        window = image.reshape(8, 8)[row : row + 3, column : column + 3].reshape(9) / 255
        expected = np.maximum(window @ weight, 0)
        np.testing.assert_allclose(first[:, row, column], expected, rtol=1e-4, atol=1e-6)
    assert second.shape == (5, 2, 2) and np.abs(second).max() < 1


@pytest.mark.parametrize("committee", [1, 3])
@pytest.mark.parametrize(
    ("first", "shape", "count"),
    [
        ({"output_dim": 7, "activation": "relu", "input_dim": 96}, (8, 12), 7),
        ({"type": "average_pool2d", "size": 2, "input_shape": [8, 12]}, (4, 6), 2),
        (CONV | {"input_shape": [8, 12]}, (3, 3), 4),
        (CONV | {"input_shape": [2, 6, 8]}, (3, 3), 8),  # two channels for each filter
    ],
    ids=["dense", "pooled", "convolution", "channels"],
)
def test_first_weights_are_pictures(first, shape, count, committee):
    layers = [first, {"output_dim": 2, "activation": "softmax"}]
    net = ann.NeuralNetwork(layers, committee=committee)
    weights = inspection.first_weights(net, (8, 12))
    assert weights.shape == (count, *shape)
    matrix, _ = net.member(0).weights_and_biases()[0]
    size = weights[0].size
    np.testing.assert_array_equal(weights[0].ravel(), matrix[:size, 0])
    np.testing.assert_array_equal(weights[-1].ravel(), matrix[-size:, -1])


def test_feature_maps_of_large_numbers():
    net = ann.NeuralNetwork(
        [{**CONV, "activation": "sigmoid"}, {"output_dim": 3, "activation": "softmax"}]
    )
    net.parameters[...] *= 1e6
    (maps,) = inspection.feature_maps(net, np.full(784, 255, np.uint8))
    assert set(np.unique(maps)) == {0, 1}


def test_feature_maps_without_activations():
    """The activation "identity" has no layer of its own."""
    layers = [
        CONV | {"input_shape": [4, 4], "activation": "identity"},
        {"type": "conv2d", "filters": 5, "kernel": 1, "activation": "identity"},
        {"output_dim": 3, "activation": "softmax"},
    ]
    net = ann.NeuralNetwork(layers)
    image = np.arange(16, dtype=np.uint8)
    first, second = inspection.feature_maps(net, image)
    (first_weight, _), (second_weight, _), _ = net.weights_and_biases()
    window = image.reshape(4, 4)[:3, :3].reshape(9) / 255
    np.testing.assert_allclose(first[:, 0, 0], window @ first_weight, rtol=1e-4, atol=1e-6)
    expected = np.tensordot(second_weight.T, first, axes=1)
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-6)


def test_a_dense_network_has_no_feature_maps():
    net = network_of(ann.get_backend("cpu"), 64, 5, 3)
    assert inspection.feature_maps(net, np.zeros(64, np.uint8)) == []


@pytest.fixture
def changes():
    return {change.name.split(",")[0]: change for change in inspection.changes()}


def test_changes_of_strength_zero_change_nothing(changes, rng):
    images = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for change in changes.values():
        assert 0 in change.levels and list(change.levels) == sorted(change.levels)
        for stack in change.make(images, 0):
            np.testing.assert_array_equal(stack, images)
        for stack in change.make(images, change.levels[-1]):
            assert stack.dtype == np.uint8 and stack.shape == images.shape


def test_what_changes_do(changes):
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 1, 4] = 200  # above the middle
    (turned,) = changes["rotation"].make(image, 90)
    assert turned[0, 4, 7] == 200  # to the right of it
    moved = changes["shift"].make(image, 1)
    assert sorted(tuple(np.argwhere(stack[0])[0]) for stack in moved) == [
        (0, 4),
        (1, 3),
        (1, 5),
        (2, 4),
    ]
    thick, thin = (changes["stroke thickening"].make(image, level)[0] for level in (2, -1))
    assert np.count_nonzero(thick) == 9 and not thin.any()
    (blurred,) = changes["blur"].make(image, 1.0)
    assert 0 < blurred.max() < 60
    (noisy,) = changes["noise"].make(np.full((1, 50, 50), 128, np.uint8), 0.1)
    assert noisy.std() == pytest.approx(25.5, rel=0.1)


def test_robustness_counts_mistakes(changes, rng):
    net = network_of(ann.get_backend("cpu"), 64, 10)
    images, labels = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8), rng.integers(0, 10, 20)
    change = changes["shift"]
    shares = inspection.robustness(net, images, labels, change)
    assert len(shares) == len(change.levels)
    assert shares[0] == (net.predict(images) != labels).mean()
    wrong = [(net.predict(stack) != labels).sum() for stack in change.make(images, 2)]
    assert shares[2] == pytest.approx(sum(wrong) / 80)


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(ImportError, match=r'the report needs SciPy: pip install -e ".\[report\]"'):
        inspection.changes()
