"""Each against its formula, on every backend, and all of them together in training."""

import dataclasses

import numpy as np
import pytest

import ann
from ann.optim.constraints import GradientClipping, MaxNorm, MovingAverage
from ann.optim.scalars import Scalars
from support.networks import REGULARIZED, network_of, recipe_of, without_black_pixels

ALL = {
    name: value for name, value in REGULARIZED.items() if "dropout" not in name
}  # which has tests of its own


@pytest.mark.parametrize("limit", [0.5, 3.0, 1e4])
def test_clipping(backend, limit, rng):
    g = rng.standard_normal(100)
    device = backend.from_host(g.copy())
    GradientClipping(backend, device, limit)()
    expected = g * min(1, limit / np.linalg.norm(g))
    np.testing.assert_allclose(backend.to_host(device), expected, rtol=1e-10)


def test_clipping_nothing(backend):
    device = backend.from_host(np.zeros(3))
    GradientClipping(backend, device, 1.0)()
    np.testing.assert_array_equal(backend.to_host(device), np.zeros(3))


def test_max_norm(backend, rng):
    weights = [rng.standard_normal(shape) for shape in ((5, 4), (4, 3))]
    weights[0][:, 1] = 0
    device = [backend.from_host(weight.copy()) for weight in weights]
    MaxNorm(backend, device, 1.5)()
    for weight, found in zip(weights, device, strict=True):
        norms = np.maximum(np.linalg.norm(weight, axis=0), 1.5)
        np.testing.assert_allclose(backend.to_host(found), weight * 1.5 / norms, rtol=1e-10)


def test_members_of_a_committee_are_limited_as_if_alone(backend, rng):
    gradients, weights = rng.standard_normal((3, 20)), rng.standard_normal((3, 5, 4))
    clipped, limited = backend.from_host(gradients.copy()), backend.from_host(weights.copy())
    GradientClipping(backend, clipped, 2.0)()
    MaxNorm(backend, [limited], 1.5)()
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    np.testing.assert_allclose(backend.to_host(clipped), gradients * 2 / np.maximum(norms, 2))
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(backend.to_host(limited), weights * 1.5 / np.maximum(norms, 1.5))


def test_moving_average(backend, rng):
    p = backend.from_host(rng.standard_normal(6))
    scalars = Scalars(backend, p.dtype)
    average = MovingAverage(backend, p, 0.8, scalars)
    table = scalars.table(0, [0.1] * 60)
    expected = np.zeros(6)
    for step in range(1, 60):
        values = rng.standard_normal(6)
        p[...] = backend.from_host(values)
        scalars.vector[...] = table[step - 1, :]
        average()
        decay = min(0.8, (step - 1) / (step + 8))
        expected = decay * expected + (1 - decay) * values
    np.testing.assert_allclose(backend.to_host(average.parameters), expected, rtol=1e-10)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw", "rmsprop"])
def test_training_with_all_of_them_is_the_formulas(backend, dataset, optimizer):
    """Compared with steps that are computed one by one with the network's own gradients."""
    recipe = dataclasses.replace(
        recipe_of("tanh", "softmax", "cross-entropy", optimizer, epochs=3),
        **ALL,
        schedule="constant",
        warmup=0.0,
    )
    net, twin = (
        network_of(backend, 64, 12, 8, 10, activation="tanh", output="softmax", dtype="float64")
        for _ in "ab"
    )
    ann.fit(net, dataset, recipe)
    expected = by_hand(twin, dataset, recipe)
    np.testing.assert_allclose(backend.to_host(net.parameters), expected, rtol=1e-7, atol=1e-9)


def by_hand(net, dataset, recipe):
    backend = net.backend
    p, v, s = backend.to_host(net.parameters).copy(), 0, 0
    average, k = 0, 0
    places = [slice(0, 768), slice(768, 864), slice(864, 944)]  # 64 x 12, 12 x 8 and 8 x 10 weights
    decays = np.zeros(len(p))
    for place in places:
        decays[place] = recipe.weight_decay
    images = dataset.train_images.reshape(-1, 64)
    targets = 0.9 * np.eye(10)[dataset.train_labels] + 0.1 / 10
    first = p[places[0]].reshape(64, 12)
    p[places[0]] = without_black_pixels(first, net, dataset, recipe).ravel()
    for epoch in range(1, recipe.epochs + 1):
        order = ann.nn.rng.generator(net.seed, "order", epoch).permutation(len(images))
        for start in range(0, len(images), recipe.batch_size):
            chosen, k = order[start : start + recipe.batch_size], k + 1
            net.parameters[...] = backend.from_host(p)
            x = backend.from_host(images[chosen] / 255)
            net.network.compute_gradients(x, backend.from_host(targets[chosen]))
            g = backend.to_host(net.network.gradients).copy()
            g *= min(1, recipe.clip / np.linalg.norm(g))
            rate, m = recipe.learning_rate, recipe.momentum
            if recipe.optimizer == "adamw":
                p = p * (1 - rate * decays)
                v, s = m * v + (1 - m) * g, 0.99 * s + 0.01 * g**2
                p = p - rate * v / (1 - m**k) / (np.sqrt(s / (1 - 0.99**k)) + 1e-8)
            else:
                g = g + decays * p
                s = 0.99 * s + 0.01 * g**2
                v = m * v + (g / (np.sqrt(s) + 1e-8) if recipe.optimizer == "rmsprop" else g)
                p = p - rate * (g + m * v if recipe.optimizer == "nesterov" else v)
            for place, (inputs, outputs) in zip(
                places[:-1], ((64, 12), (12, 8)), strict=True
            ):  # the hidden layers
                w = p[place].reshape(inputs, outputs)
                p[place] = (
                    w * recipe.max_norm / np.maximum(np.linalg.norm(w, axis=0), recipe.max_norm)
                ).ravel()
            decay = min(recipe.average, (k - 1) / (k + 8))
            average = decay * average + (1 - decay) * p
    return average


def test_they_matter(dataset):
    """In the recipe of the test above, each changes something."""
    recipe = recipe_of("tanh", "softmax", "cross-entropy", "sgd", epochs=3)
    results = set()
    for name in (None, *REGULARIZED):
        net = network_of(ann.get_backend("cpu"), 64, 12, 8, 10, activation="tanh", output="softmax")
        ann.fit(
            net, dataset, dataclasses.replace(recipe, **({name: REGULARIZED[name]} if name else {}))
        )
        results.add(net.parameters.tobytes())
    assert len(results) == 7


def test_max_norm_holds_after_training(dataset):
    net = network_of(ann.get_backend("cpu"), 64, 12, 10)
    ann.fit(net, dataset, ann.Recipe(hidden=(12,), batch_size=45, epochs=3, max_norm=0.7))
    (hidden, _), (output, _) = net.weights_and_biases()
    assert np.linalg.norm(hidden, axis=0).max() < 0.7001
    assert np.linalg.norm(output, axis=0).max() > 0.8  # the outputs are not limited


def test_validation_measures_the_average(dataset):
    net = network_of(ann.get_backend("cpu"), 64, 12, 10)
    recipe = ann.Recipe(hidden=(12,), batch_size=45, epochs=2, average=0.9, validation=40)
    reports = ann.fit(net, dataset, recipe)
    wrong = (net.predict(dataset.train_images[-40:]) != dataset.train_labels[-40:]).sum()
    assert reports[-1].validation.errors == wrong
