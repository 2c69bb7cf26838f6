"""Batch normalisation: right gradients, the textbook's formulas, and a plain network at the end."""

import dataclasses

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.batch_norm import BatchNorm
from support.digits import write_mnist_like
from support.gradients import assert_gradient
from support.networks import network_of, recipe_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return ann.load_dataset(write_mnist_like(tmp_path_factory.mktemp("data") / "small", train=160))


def normalized(net, random):
    """The network with its hidden layers normalised, with random gains, and the vectors of gains."""
    backend, widths = net.backend, [layer.output_dim for layer in net.layers[:-1]]
    gains, gradients = (net.xp.zeros(sum(widths), dtype=net.dtype) for _ in range(2))
    norm = BatchNorm(backend, widths, gains, gradients)
    np.testing.assert_array_equal(backend.to_host(gains), 1)
    gains[...] = backend.from_host(1 + random.random(sum(widths)).astype(net.dtype_name))
    vars(net)["layers"] = norm.layers(net.layers)
    return norm, gains, gradients


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients(backend, activation, rng):
    net = network_of(backend, 5, 6, 4, 3, activation=activation, dtype="float64")
    _, gains, gain_gradients = normalized(net, rng)
    images, targets = backend.from_host(rng.random((7, 5))), backend.from_host(np.eye(3)[rng.integers(0, 3, 7)])
    x, _ = net.inputs(images)

    def loss(vector, place):
        place[...] = backend.from_host(vector)
        return float(net.loss.value(backend, net.forward(x, 0.7), targets))

    for place, gradient in ((net.parameters, net.gradients), (gains, gain_gradients)):
        start = backend.to_host(place).copy()
        net.compute_gradients(x, targets, 0.7)
        found = backend.to_host(gradient).copy()
        assert_gradient(lambda point, place=place: loss(point, place), found, start, rng)
        place[...] = backend.from_host(start)


def test_outputs_have_mean_bias_and_deviation_gain(backend, rng):
    net = network_of(backend, 5, 6, 3, activation="identity")
    _, gains, _ = normalized(net, rng)
    net.layers[0].bias[...] = backend.from_host(rng.standard_normal((1, 6)).astype(np.float32))
    x, _ = net.inputs(backend.from_host(rng.random((50, 5), dtype=np.float32)))
    y = backend.to_host(net.layers[0].forward(x))[:, :-1]
    np.testing.assert_allclose(y.mean(axis=0), backend.to_host(net.layers[0].bias)[0], atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), backend.to_host(gains), rtol=1e-2)
    assert (backend.to_host(net.layers[0].forward(x[:1, :]))[:, :-1] == backend.to_host(net.layers[0].bias)).all()


@pytest.mark.parametrize("black", [True, False])
def test_training_is_the_formula(backend, dataset, black):
    """An epoch of plain steps worked out here, and the plain network that comes of it."""
    if not black:
        dataset = dataclasses.replace(dataset, train_images=np.maximum(dataset.train_images, 1))
    recipe = dataclasses.replace(
        recipe_of("tanh", "softmax", "cross-entropy", "sgd", epochs=1),
        momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0, batch_norm=True,
    )  # fmt: skip
    net = network_of(backend, 64, 12, 10, activation="tanh", output="softmax")
    (w, v), (b, c) = (
        [backend.to_host(part).astype(np.float64) for part in parts]
        for parts in zip(*((layer.weight, layer.bias) for layer in net.layers), strict=True)
    )
    gain, mean, variance = np.ones(12), 0.0, 0.0
    images = dataset.train_images.reshape(-1, 64) / 255
    order = ann.nn.rng.generator(0, "order", 1).permutation(160)
    loss = 0.0
    for k, chosen in enumerate((order[start : start + 45] for start in range(0, 160, 45)), start=1):
        x, t = images[chosen], np.eye(10)[dataset.train_labels[chosen]]
        z = x @ w
        unit = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
        y = np.tanh(gain * unit + b)
        o = np.exp(y @ v + c)
        o /= o.sum(axis=1, keepdims=True)
        loss -= (t * np.log(o)).sum()
        memory = 1 - (1 - min(0.9, (k - 1) / (k + 8))) * len(x) / 45
        mean, variance = (memory * a + (1 - memory) * n for a, n in ((mean, z.mean(axis=0)), (variance, z.var(axis=0))))
        d2 = (o - t) / len(x)
        d = (d2 @ v.T) * (1 - y * y)
        dz = gain / np.sqrt(z.var(axis=0) + 1e-5) * (d - d.mean(axis=0) - unit * (d * unit).mean(axis=0))
        v, c = v - 0.1 * y.T @ d2, c - 0.1 * d2.sum(axis=0)
        w, b, gain = w - 0.1 * x.T @ dz, b - 0.1 * d.sum(axis=0), gain - 0.1 * (d * unit).sum(axis=0)
    reports = ann.fit(net, dataset, recipe)
    assert reports[0].loss == pytest.approx(loss / 160, rel=1e-5)
    factor = gain / np.sqrt(variance + 1e-5)
    found = [backend.to_host(part) for part in (net.layers[0].weight, net.layers[0].bias, net.layers[1].weight)]
    for ours, expected in zip(found, (factor * w, b - factor * mean, v), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)
    outputs = np.exp(np.tanh((images @ w - mean) * factor + b) @ v + c)
    outputs /= outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.apply(dataset.train_images), outputs, rtol=1e-3, atol=1e-5)


def test_an_ordinary_model_is_saved(dataset, tmp_path):
    net = network_of(ann.get_backend("cpu"), 64, 12, 8, 10)
    ann.fit(net, dataset, recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", epochs=4, batch_norm=True))
    net.save(tmp_path / "model")
    again = ann.load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.apply(dataset.test_images), net.apply(dataset.test_images))
    assert again.recipe["batch_norm"] is True
    assert {type(layer).__name__ for layer in net.layers} == {"Dense"}


def test_without_hidden_layers_there_is_nothing_to_normalise(backend, dataset):
    nets = []
    for batch_norm in (False, True):
        recipe = recipe_of("sigmoid", "sigmoid", "cross-entropy", "nesterov", epochs=2, batch_norm=batch_norm)
        nets.append(network_of(backend, 64, 10))
        ann.fit(nets[-1], dataset, recipe)
    np.testing.assert_array_equal(*(backend.to_host(net.parameters) for net in nets))


def test_it_learns(backend, dataset):
    net = network_of(backend, 64, 12, 8, 10)
    recipe = recipe_of("sigmoid", "sigmoid", "cross-entropy", "adamw", epochs=30, batch_norm=True)
    reports = ann.fit(net, dataset, dataclasses.replace(recipe, learning_rate=0.05))
    assert reports[-1].loss < 0.3 * reports[0].loss
    assert (net.predict(dataset.test_images) != dataset.test_labels).mean() < 0.1
