"""Every device computes the same numbers."""

import dataclasses

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.losses import get_loss
from support.backends import assert_device_array
from support.networks import CASES, REGULARIZED, network_of, recipe_of


@pytest.mark.parametrize("case", CASES)
def test_twelve_steps(backend_pair, dataset, case):
    """With momentum, weight decay, a schedule and a smaller last batch, all results agree."""
    activation, output, loss, optimizer = case
    recipe = recipe_of(activation, output, loss, optimizer, epochs=3, validation=10)
    if activation == "tanh":
        recipe = dataclasses.replace(recipe, **REGULARIZED, batch_norm=optimizer != "adam")
    results = []
    for backend in backend_pair:
        net = network_of(backend, 64, 12, 8, 10, activation=activation, output=output, loss=loss)
        reports = ann.fit(net, dataset, recipe)
        assert_device_array(backend, net.parameters, (64 * 12 + 12 * 8 + 8 * 10 + 12 + 8 + 10,))
        losses = [report.loss for report in reports]
        results.append((losses, backend.to_host(net.parameters), net.apply(dataset.test_images)))
    # Sums in another order differ in their last bits (NumPy replays recorded steps, which BLAS sums
    # in one pass), and so do exp and tanh on a GPU. Twelve steps multiply that.
    for left, right in zip(*results, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(backend_pair, name, rng):
    z = np.concatenate(
        [rng.standard_normal((20, 5)) * scale for scale in (0.1, 1, 10, 1e4)]
    ).astype(np.float32)
    results = []
    for backend in backend_pair:
        out = backend.xp.empty_like(backend.from_host(z))
        with backend.ignore_overflow():
            backend.elementwise(ACTIVATIONS[name].function, backend.from_host(z), out=out)
        results.append(backend.to_host(out))
    np.testing.assert_allclose(*results, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_losses(backend_pair, output, rng):
    z = (rng.standard_normal((20, 10)) * 5).astype(np.float32)
    t = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 20)]
    loss = get_loss("cross-entropy", output)
    results = []
    for backend in backend_pair:
        logits, targets = backend.from_host(z), backend.from_host(t)
        gradient = backend.xp.empty_like(logits)
        loss.gradient(backend, logits, targets, gradient)
        results.append((float(loss.value(backend, logits, targets)), backend.to_host(gradient)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-8)


def test_seeded_start_is_the_same(backend_pair):
    vectors = [
        backend.to_host(network_of(backend, 64, 12, 10, seed=5).parameters)
        for backend in backend_pair
    ]
    np.testing.assert_array_equal(*vectors)


def test_models_move_between_devices(backend_pair, dataset, tmp_path):
    recipe = ann.Recipe(hidden=(12,), batch_size=40, epochs=1)
    first, second = backend_pair
    net = network_of(first, 64, 12, 10)
    ann.fit(net, dataset, dataclasses.replace(recipe))
    net.save(tmp_path / "model")
    moved = ann.load_model(tmp_path / "model", second)
    np.testing.assert_array_equal(second.to_host(moved.parameters), first.to_host(net.parameters))
    np.testing.assert_allclose(
        moved.apply(dataset.test_images), net.apply(dataset.test_images), rtol=1e-5, atol=1e-7
    )
