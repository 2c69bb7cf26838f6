import numpy as np
import pytest

from ann.nn.activations import ACTIVATIONS
from ann.nn.losses import get_loss
from support.backends import assert_device_array
from support.gradients import assert_gradient

PAIRS = [("cross-entropy", "sigmoid"), ("cross-entropy", "softmax")] + [
    ("quadratic", name) for name in ACTIVATIONS
]


def value(backend, loss, logits, targets):
    with backend.ignore_overflow():
        return float(loss.value(backend, backend.from_host(logits), backend.from_host(targets)))


def gradient(backend, loss, logits, targets):
    """dL/dz; neither argument may change."""
    device = [backend.from_host(array.copy()) for array in (logits, targets)]
    out = backend.xp.empty_like(device[0])
    with backend.ignore_overflow():
        loss.gradient(backend, *device, out)
    for array, before in zip(device, (logits, targets), strict=True):
        np.testing.assert_array_equal(backend.to_host(array), before)
    return out


def one_hot(rng, count, dtype=np.float64):
    return np.eye(4, dtype=dtype)[rng.integers(0, 4, count)]


@pytest.mark.parametrize(("name", "output"), PAIRS)
def test_gradient(backend, name, output, rng):
    loss = get_loss(name, output)
    logits, targets = rng.standard_normal((6, 4)) * 2, one_hot(rng, 6)
    found = gradient(backend, loss, logits, targets)
    assert_gradient(
        lambda point: value(backend, loss, point, targets), backend.to_host(found), logits, rng
    )


@pytest.mark.parametrize(("name", "output"), PAIRS)
def test_value_leaves_its_arguments_and_float32_alone(backend, name, output, rng):
    loss = get_loss(name, output)
    logits, targets = rng.standard_normal((6, 4)).astype(np.float32), one_hot(rng, 6, np.float32)
    device_logits, device_targets = (
        backend.from_host(logits.copy()),
        backend.from_host(targets.copy()),
    )
    assert_device_array(backend, loss.value(backend, device_logits, device_targets), ())
    np.testing.assert_array_equal(backend.to_host(device_logits), logits)
    assert_device_array(backend, gradient(backend, loss, logits, targets), (6, 4))
    np.testing.assert_array_equal(backend.to_host(device_targets), targets)


@pytest.mark.parametrize(("name", "output"), PAIRS)
def test_each_member_of_a_committee_has_the_loss_it_has_alone(backend, name, output, rng):
    loss = get_loss(name, output)
    logits = rng.standard_normal((3, 6, 4))
    targets = np.stack([one_hot(rng, 6) for _ in range(3)])
    arrays = backend.from_host(logits), backend.from_host(targets)
    losses = backend.to_host(loss.value(backend, *arrays))
    gradients = backend.to_host(gradient(backend, loss, logits, targets))
    alone = [value(backend, loss, *member) for member in zip(logits, targets, strict=True)]
    np.testing.assert_allclose(losses, alone, rtol=1e-12)
    for found, *member in zip(gradients, logits, targets, strict=True):
        expected = backend.to_host(gradient(backend, loss, *member))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_sigmoid_cross_entropy_is_the_textbook_formula(backend, rng):
    z, t = rng.standard_normal((6, 4)), one_hot(rng, 6)
    y = 1 / (1 + np.exp(-z))
    expected = -(t * np.log(y) + (1 - t) * np.log(1 - y)).sum() / 6
    assert value(backend, get_loss("cross-entropy", "sigmoid"), z, t) == pytest.approx(
        expected, rel=1e-12
    )


def test_softmax_cross_entropy_is_the_textbook_formula(backend, rng):
    z, t = rng.standard_normal((6, 4)), one_hot(rng, 6)
    y = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -(t * np.log(y)).sum() / 6
    assert value(backend, get_loss("cross-entropy", "softmax"), z, t) == pytest.approx(
        expected, rel=1e-12
    )


def test_quadratic_is_the_textbook_formula(backend, rng):
    z, t = rng.standard_normal((6, 4)), one_hot(rng, 6)
    expected = 0.5 * ((np.tanh(z) - t) ** 2).sum() / 6
    assert value(backend, get_loss("quadratic", "tanh"), z, t) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "output"), PAIRS)
def test_logits_of_ten_thousand(backend, name, output):
    loss = get_loss(name, output)
    logits = np.array([[1e4, -1e4, 0, 1], [-1e4, 1e4, 0, 1]], dtype=np.float32)
    targets = np.eye(4, dtype=np.float32)[[0, 0]]
    assert np.isfinite(value(backend, loss, logits, targets))
    assert np.isfinite(backend.to_host(gradient(backend, loss, logits, targets))).all()


@pytest.mark.parametrize(("output", "expected"), [("sigmoid", 2e4 / 2), ("softmax", 2e4 / 2)])
def test_cross_entropy_of_a_sure_mistake_is_its_distance(backend, output, expected):
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], dtype=np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 1]]  # right, then wrong
    found = value(backend, get_loss("cross-entropy", output), logits, targets)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("output", ["tanh", "relu", "identity", "gelu", "leaky-relu"])
def test_cross_entropy_needs_probabilities(output):
    with pytest.raises(ValueError, match="needs outputs between 0 and 1"):
        get_loss("cross-entropy", output)


def test_unknown_loss():
    with pytest.raises(ValueError, match="unknown loss 'hinge'; known: cross-entropy, quadratic"):
        get_loss("hinge", "sigmoid")
