"""Batch normalisation: its gradients, the textbook's formulas, and the plain network that it
becomes.
"""

import dataclasses
import itertools

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.batch_norm import BatchNorm
from ann.nn.initializers import he
from ann.nn.layers import ActivationLayer, Dense
from support.backends import slow_on_strict
from support.gradients import assert_gradient
from support.layers import backward
from support.networks import network_of, network_on, recipe_of, without_black_pixels


def normalised(backend, rng, *dims, activation="sigmoid", dtype="float64"):
    """A network whose hidden layers are normalised, with random gains and shifts."""
    layers = []
    for inputs, outputs in itertools.pairwise(dims[:-1]):
        norm = BatchNorm(outputs)
        norm.statistics = backend.xp.zeros((2, outputs), dtype=getattr(backend.xp, dtype))
        layers += [Dense(inputs, outputs, he, bias=False), norm, ActivationLayer(activation)]
    return network_on(backend, [*layers, Dense(*dims[-2:], he)], rng, dtype=dtype)


def bound(backend, values):
    """A layer with these gains and shifts, and its gradients by name, still those of an earlier
    batch.
    """
    norm = BatchNorm(values["gain"].shape[-1])
    leading = values["gain"].shape[:-2]
    norm.statistics = backend.xp.zeros((*leading, 2, norm.dim), dtype=backend.xp.float64)
    device = {name: backend.from_host(array) for name, array in values.items()}
    gradients = {name: backend.xp.ones_like(array) for name, array in device.items()}
    norm.bind(backend, device, gradients)
    return norm, gradients


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients(backend, activation, rng):
    net = normalised(backend, rng, 5, 6, 4, 3, activation=activation)
    x, targets = (
        backend.from_host(rng.random((7, 5))),
        backend.from_host(np.eye(3)[rng.integers(0, 3, 7)]),
    )
    start = backend.to_host(net.parameters).copy()

    def loss(vector):
        net.parameters[...] = backend.from_host(vector)
        return float(net.loss.value(backend, net.forward(x), targets))

    net.compute_gradients(x, targets)
    assert_gradient(loss, backend.to_host(net.gradients).copy(), start, rng)


def test_gradients_of_the_inputs(backend, rng):
    norm, _ = bound(backend, {name: rng.standard_normal((1, 4)) for name in ("gain", "shift")})
    x, weights = rng.standard_normal((7, 4)), rng.standard_normal((7, 4))

    def total(inputs):
        return float(
            (weights * backend.to_host(norm.forward(backend.from_host(inputs.copy())))).sum()
        )

    norm.forward(backend.from_host(x.copy()))
    assert_gradient(
        total, backend.to_host(backward(norm, backend.from_host(weights.copy()))).copy(), x, rng
    )


def test_outputs_have_mean_shift_and_deviation_gain(backend, rng):
    net = normalised(backend, rng, 5, 6, 3, dtype="float32")
    dense, norm = net.layers[:2]
    y = backend.to_host(
        norm.forward(dense.forward(backend.from_host(rng.random((50, 5), dtype=np.float32))))
    )
    np.testing.assert_allclose(y.mean(axis=0), backend.to_host(norm.shift)[0], atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), np.abs(backend.to_host(norm.gain)[0]), rtol=1e-2)
    one = norm.forward(dense.forward(backend.from_host(rng.random((1, 5), dtype=np.float32))))
    np.testing.assert_array_equal(backend.to_host(one), backend.to_host(norm.shift))


def test_the_statistics_are_those_of_the_batch(backend, rng):
    net = normalised(backend, rng, 5, 6, 3)
    x = rng.standard_normal((50, 5))
    net.forward(backend.from_host(x))
    z = x @ backend.to_host(net.layers[0].weight)
    found = backend.to_host(net.layers[1].statistics)
    np.testing.assert_allclose(found, np.stack([z.mean(axis=0), z.var(axis=0)]), rtol=1e-10)


def test_normalising_is_the_formula(backend, rng):
    """With columns that hardly vary, so that the number added to the variance matters."""
    values = {name: rng.standard_normal((1, 4)) for name in ("gain", "shift")}
    norm, gradients = bound(backend, values)
    x = rng.standard_normal((7, 4)) * [1.0, 1e-2, 1e-3, 0.0]
    unit = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    found = backend.to_host(norm.forward(backend.from_host(x)))
    np.testing.assert_allclose(found, values["gain"] * unit + values["shift"], rtol=1e-10)
    grad = rng.standard_normal((7, 4))
    backward(norm, backend.from_host(grad.copy()))
    for name, expected in (("gain", grad * unit), ("shift", grad)):
        found = backend.to_host(gradients[name])[0]
        np.testing.assert_allclose(found, expected.sum(axis=0), rtol=1e-9, atol=1e-12)


def test_members_of_a_committee_are_normalised_as_if_alone(backend, rng):
    x, grad = rng.standard_normal((2, 3, 7, 4))
    values = {name: rng.standard_normal((3, 1, 4)) for name in ("gain", "shift")}
    results = []
    for member in (slice(None), 0, 1, 2):
        norm, gradients = bound(backend, {name: array[member] for name, array in values.items()})
        y = backend.to_host(norm.forward(backend.from_host(x[member]))).copy()
        dx = backward(norm, backend.from_host(grad[member].copy()))
        arrays = norm.statistics, dx, *gradients.values()
        results.append([y, *(backend.to_host(array) for array in arrays)])
    for together, *alone in zip(*results, strict=True):
        np.testing.assert_allclose(together, np.stack(alone), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("accumulate", [0.0, 0.5])
def test_backward_adds_to_the_last_gradients(backend, accumulate, rng):
    net = normalised(backend, rng, 5, 6, 3)
    x, grad = backend.from_host(rng.random((7, 5))), rng.standard_normal((7, 3))
    before = backend.to_host(net.gradients).copy()
    results = []
    for _ in range(2):
        net.forward(x)
        options = {"accumulate": accumulate} if accumulate else {}  # 0 is the default
        assert net.backward(backend.from_host(grad.copy()), **options) is None
        results.append(backend.to_host(net.gradients).copy())
    np.testing.assert_allclose(
        results[1], results[0] + accumulate * (results[0] - before), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("black", [True, False])
def test_training_is_the_formula(backend, dataset, black):
    """An epoch of plain steps, worked out here, and the plain network that results."""
    if not black:
        dataset = dataclasses.replace(dataset, train_images=np.maximum(dataset.train_images, 1))
    recipe = dataclasses.replace(
        recipe_of("tanh", "softmax", "cross-entropy", "sgd", epochs=1),
        momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0, batch_norm=True,
    )  # fmt: skip
    net = network_of(backend, 64, 12, 10, activation="tanh", output="softmax")
    (w, v), (b, c) = (
        [part.astype(np.float64) for part in parts]
        for parts in zip(*net.weights_and_biases(), strict=True)
    )
    w = without_black_pixels(w, net, dataset, recipe)
    gain, mean, variance = np.ones(12), 0.0, 0.0
    images = dataset.train_images.reshape(-1, 64) / 255
    order = ann.nn.rng.generator(0, "order", 1).permutation(170)
    loss = 0.0
    for k, chosen in enumerate((order[start : start + 45] for start in range(0, 170, 45)), start=1):
        x, t = images[chosen], np.eye(10)[dataset.train_labels[chosen]]
        z = x @ w
        unit = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
        y = np.tanh(gain * unit + b)
        o = np.exp(y @ v + c)
        o /= o.sum(axis=1, keepdims=True)
        loss -= (t * np.log(o)).sum()
        decay = min(0.9, (k - 1) / (k + 8))
        mean, variance = (
            decay * a + (1 - decay) * n
            for a, n in ((mean, z.mean(axis=0)), (variance, z.var(axis=0)))
        )
        d2 = (o - t) / len(x)
        d = (d2 @ v.T) * (1 - y * y)
        dz = (
            gain
            / np.sqrt(z.var(axis=0) + 1e-5)
            * (d - d.mean(axis=0) - unit * (d * unit).mean(axis=0))
        )
        v, c = v - 0.1 * y.T @ d2, c - 0.1 * d2.sum(axis=0)
        w, b, gain = (
            w - 0.1 * x.T @ dz,
            b - 0.1 * d.sum(axis=0),
            gain - 0.1 * (d * unit).sum(axis=0),
        )
    reports = ann.fit(net, dataset, recipe)
    assert reports[0].loss == pytest.approx(loss / 170, rel=1e-5)
    factor = gain / np.sqrt(variance + 1e-5)
    (weight, bias), (last, _) = net.weights_and_biases()
    found = [weight, bias, last]
    for ours, expected in zip(found, (factor * w, b - factor * mean, v), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)
    outputs = np.exp(np.tanh((images @ w - mean) * factor + b) @ v + c)
    outputs /= outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.apply(dataset.train_images), outputs, rtol=1e-3, atol=1e-5)


def test_an_ordinary_model_is_saved(dataset, tmp_path):
    net = network_of(ann.get_backend("cpu"), 64, 12, 8, 10)
    ann.fit(
        net,
        dataset,
        recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", epochs=4, batch_norm=True),
    )
    net.save(tmp_path / "model")
    again = ann.load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.apply(dataset.test_images), net.apply(dataset.test_images))
    assert again.recipe["batch_norm"] is True
    assert {type(layer).__name__ for layer in net.network.layers} == {"Dense", "ActivationLayer"}


@slow_on_strict
def test_it_learns(backend, dataset):
    net = network_of(backend, 64, 12, 8, 10)
    recipe = recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", epochs=30, batch_norm=True)
    reports = ann.fit(net, dataset, dataclasses.replace(recipe, learning_rate=0.05))
    assert reports[-1].loss < 0.3 * reports[0].loss
    assert (net.predict(dataset.test_images) != dataset.test_labels).mean() < 0.1
