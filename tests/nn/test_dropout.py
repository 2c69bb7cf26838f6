"""Dropout, compared with a few lines of Python's integers, and where it does not act."""

import dataclasses

import numpy as np
import pytest

import ann
from ann.nn.dropout import Dropout, Mask
from ann.nn.initializers import he
from ann.nn.layers import ActivationLayer, Dense
from ann.nn.rng import generator
from support import optional
from support.gradients import assert_gradient
from support.layers import backward, bound
from support.networks import network_of, network_on, recipe_of, without_black_pixels
from support.random_bits import hashed


def mask_of(images, key, columns, share):
    """The mask for these random bits."""
    return (hashed(images, key, columns) < int((1 - share) * 2**32)) / (1 - share)


def drawn(backend, images, key, columns, share, order="F"):
    like = backend.xp.empty((columns, len(images)), dtype=backend.xp.float32).mT
    if order == "C":
        like = backend.xp.empty((len(images), columns), dtype=backend.xp.float32)
    arrays = (backend.from_host(np.array(values, dtype=np.uint32)) for values in (images, [key]))
    mask = Mask(backend, share, *arrays, like)
    mask.fill()
    return backend.to_host(mask.values)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("key", "share"), [(0, 0.5), (2**32 - 3, 0.1), (12345, 0.9)])
def test_masks(backend, key, share, order):
    images = [0, 59_999, 7, 123, 4_000_000_000]
    found = drawn(backend, images, key, 11, share, order)
    np.testing.assert_allclose(found, mask_of(images, key, 11, share), rtol=1e-6)


def test_the_share_that_is_kept_ends_below_its_limit(backend):
    """Of the bits 0 .. 2^32 - 1, those below (1 - share) 2^32 are kept: exactly this share."""
    bits = int(hashed([7], 9, 1)[0, 0])
    kept = [bits / 2**32, (bits + 1) / 2**32]
    found = [drawn(backend, [7], 9, 1, 1 - share)[0, 0] for share in kept]
    assert found == pytest.approx([0, 1 / kept[1]])


def test_masks_look_random():
    """Means of rows and columns, and of products of neighbours, deviate as little as random bits
    do.
    """
    cpu = ann.get_backend("cpu")
    first, second = (
        drawn(cpu, range(1000), key, 128, 0.3) > 0
        for key in generator(0, "dropout", 1).integers(2**32, size=2)
    )
    for axis, count in ((0, 1000), (1, 128), (None, 128_000)):
        assert np.abs(first.mean(axis=axis) - 0.7).max() < 5 * np.sqrt(0.7 * 0.3 / count)
    one = (first - 0.7) / np.sqrt(0.21)
    for other in (one[1:], one[:, 1:], one[2:], one[:, 2:], (second - 0.7) / np.sqrt(0.21)):
        part = one[: other.shape[0], : other.shape[1]]
        assert abs((part * other).mean()) < 5 / np.sqrt(other.size)


def test_gradient(backend, rng):
    """Of a network with dropout and a fixed mask."""
    images, key = (
        backend.from_host(np.array(values, dtype=np.uint32)) for values in ([3, 1, 4], [9])
    )
    dropout = Dropout(0.4, key)
    dropout.images = images
    net = network_on(
        backend, [Dense(5, 6, he), ActivationLayer("tanh"), dropout, Dense(6, 3, he)], rng
    )
    x, targets = backend.from_host(rng.random((3, 5))), backend.from_host(np.eye(3))
    start = backend.to_host(net.parameters).copy()

    def value(vector):
        net.parameters[...] = backend.from_host(vector)
        return float(net.loss.value(backend, net.forward(x), targets))

    net.compute_gradients(x, targets)
    gradients = backend.to_host(net.gradients).copy()
    assert (mask_of([3, 1, 4], 9, 6, 0.4) == 0).any()
    assert_gradient(value, gradients, start, rng)


@pytest.mark.parametrize("recorded", [False, True])
def test_whole_channels_are_zeroed(backend, recorded, rng):
    """Two channels of 2 x 2 pixels, for a committee of two; also without the axis of members."""
    backend = backend.recorder() if recorded else backend
    x, weights = rng.standard_normal((2, 2, 3, 8))
    for member, images, keys in (
        (slice(None), [[3, 1, 4], [2, 7, 1]], [[9], [5]]),
        (0, [3, 1, 4], [9]),
    ):
        images, keys = (np.array(values, dtype=np.uint32) for values in (images, keys))
        dropout = Dropout(0.4, backend.from_host(keys), positions=4)
        bound(backend, dropout, rng)
        dropout.images = backend.from_host(images)
        masks = [
            mask_of(row, key[0], 2, 0.4)
            for row, key in zip(images.reshape(-1, 3), keys.reshape(-1, 1), strict=True)
        ]
        mask = np.repeat(np.reshape(masks, (*images.shape, 2)), 4, axis=-1)
        assert 0 < (mask == 0).mean() < 1
        inputs = backend.from_host(np.ascontiguousarray(x[member].swapaxes(-1, -2))).mT
        y = backend.to_host(dropout.forward(inputs))
        np.testing.assert_allclose(y, x[member] * mask, rtol=1e-6)
        for rows in (weights[member].copy(), np.ascontiguousarray(weights[member].mT).mT):
            dx = backend.to_host(backward(dropout, backend.from_host(rows)))
            np.testing.assert_allclose(dx, weights[member] * mask, rtol=1e-6)


def test_training_zeroes_the_channels_of_convolutions(backend, dataset):
    """One step of a network with two convolutions is what PyTorch computes with these masks."""
    torch = optional("torch")
    recipe = dataclasses.replace(
        recipe_of("tanh", "softmax", "cross-entropy", "sgd", epochs=1),
        batch_size=170,
        weight_decay=0.0,
        channel_dropout=0.4,
        dropout=0.3,
    )
    first = {
        "type": "conv2d",
        "input_shape": [8, 8],
        "filters": 3,
        "kernel": 3,
        "activation": "tanh",
    }
    second = {"type": "conv2d", "filters": 4, "kernel": 2, "activation": "tanh"}
    pool, last = {"type": "max_pool2d", "size": 2}, {"output_dim": 10, "activation": "softmax"}
    net = ann.NeuralNetwork([first, pool, second, last], device=backend, dtype="float64")
    parameters = [
        torch.tensor(backend.to_host(array).copy(), requires_grad=True)
        for layer in net.network.layers
        for array in ([layer.weight, layer.bias] if layer.parameters else [])
    ]
    rates = []
    ann.fit(net, dataset, recipe, callbacks=[lambda report: rates.append(report.learning_rate)])
    channels, neurons = (
        generator(0, purpose, 0).integers(2**32, size=4) for purpose in ("channels", "dropout")
    )
    images = np.arange(170)
    masks = [
        torch.tensor(mask_of(images, key, columns, share))
        for key, columns, share in (
            (channels[1], 3, 0.4),
            (channels[2], 4, 0.4),
            (neurons[2], 16, 0.3),
        )
    ]
    w1, b1, w2, b2, w3, b3 = parameters
    functional = torch.nn.functional
    x = torch.tensor(dataset.train_images[:, None] / 255)
    y = functional.conv2d(x, w1.T.reshape(3, 1, 3, 3), b1[0]).tanh()
    y = functional.max_pool2d(y, 2) * masks[0][:, :, None, None]
    y = functional.conv2d(y, w2.T.reshape(4, 3, 2, 2), b2[0]).tanh()
    y = (y * masks[1][:, :, None, None]).reshape(170, -1) * masks[2]
    labels = torch.tensor(dataset.train_labels.astype(int))
    functional.cross_entropy(y @ w3 + b3, labels).backward()
    trained = [
        backend.to_host(array)
        for layer in net.network.layers
        for array in ([layer.weight, layer.bias] if layer.parameters else [])
    ]
    for before, after in zip(parameters, trained, strict=True):
        expected = before.detach() - rates[0] * before.grad
        np.testing.assert_allclose(after, expected.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("black", [True, False])
def test_training_is_the_formula(backend, dataset, black):
    """Two epochs of plain steps, with the masks worked out here."""
    if not black:
        lighter = np.maximum(dataset.train_images, 1)
        dataset = dataclasses.replace(dataset, train_images=lighter)
    recipe = dataclasses.replace(
        recipe_of("tanh", "softmax", "cross-entropy", "sgd", epochs=2),
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        hidden=(12,),
        dropout=0.3,
        input_dropout=0.2,
    )
    net = network_of(backend, 64, 12, 10, activation="tanh", output="softmax", dtype="float64")
    w1, b1, w2, b2 = (array.copy() for pair in net.weights_and_biases() for array in pair)
    w1 = without_black_pixels(w1, net, dataset, recipe)
    ann.fit(net, dataset, recipe)
    pixels = dataset.train_images.reshape(-1, 64) / 255
    seen = np.flatnonzero(pixels.any(axis=0))
    if black:  # a few that are black stay; see ``lit_pixels``
        unseen = np.flatnonzero(~pixels.any(axis=0))
        seen = np.sort(np.concatenate([unseen[: -len(seen) % 8], seen]))
    for epoch in range(2):
        order = generator(0, "order", epoch + 1).permutation(170)
        keys = generator(0, "dropout", epoch).integers(2**32, size=2)
        for start in range(0, 170, 45):
            chosen = order[start : start + 45]
            x = np.zeros((len(chosen), 64))
            x[:, seen] = pixels[chosen][:, seen] * mask_of(chosen, keys[0], len(seen), 0.2)
            mask = mask_of(chosen, keys[1], 12, 0.3)
            tanh = np.tanh(x @ w1 + b1)
            y = tanh * mask
            z = y @ w2 + b2
            d2 = (
                np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
                - np.eye(10)[dataset.train_labels[chosen]]
            )
            d1 = (d2 @ w2.T) * mask * (1 - tanh**2)
            step = recipe.learning_rate / len(chosen)
            w2, b2, w1, b1 = (
                w2 - step * y.T @ d2,
                b2 - step * d2.sum(axis=0),
                w1 - step * x.T @ d1,
                b1 - step * d1.sum(axis=0),
            )
    found = [array for pair in net.weights_and_biases() for array in pair]
    for one, other in zip(found, (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(one, np.broadcast_to(other, one.shape), rtol=1e-9, atol=1e-11)


def test_none_outside_training(backend, dataset):
    """The network itself has no dropout layer, so applying or measuring it cannot use one."""
    recipe = ann.Recipe(
        hidden=(12,), batch_size=45, epochs=2, dropout=0.5, input_dropout=0.5, validation=40
    )
    net = network_of(backend, 64, 12, 10)
    reports = ann.fit(net, dataset, recipe)
    assert not any(isinstance(layer, Dropout) for layer in net.network.layers)
    images, labels = dataset.train_images[-40:], dataset.train_labels[-40:]
    np.testing.assert_array_equal(net.apply(images), net.apply(images))
    assert reports[-1].validation.errors == (net.predict(images) != labels).sum()
