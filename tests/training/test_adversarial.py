"""Adversarial training: how far and where images are moved, and that the network learns from
both.
"""

import numpy as np
import pytest

import ann
from ann.training.adversarial import Adversary
from ann.training.batches import ImageSet
from ann.training.trainer import Trainer
from support.backends import assert_device_array
from support.networks import network_of


@pytest.mark.parametrize("shape", [(6, 5), (3, 6, 5)])
def test_each_image_is_moved_along_its_gradient(backend, shape, rng):
    x, g = rng.random(shape, dtype=np.float32), rng.standard_normal(shape).astype(np.float32) * 1e-6
    before = x.copy()
    adversary = Adversary(backend, 2.5, backend.from_host(x))
    adversary.move(backend.from_host(g.copy()))
    assert_device_array(backend, adversary.images, shape)
    moved = backend.to_host(adversary.images)
    step = moved - before
    np.testing.assert_allclose(np.linalg.norm(step, axis=-1), 2.5, rtol=1e-5)
    np.testing.assert_allclose(
        step, 2.5 * g / np.linalg.norm(g, axis=-1, keepdims=True), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(x, before)


def test_without_a_gradient_nothing_moves(backend, rng):
    x = rng.random((6, 5), dtype=np.float32)
    adversary = Adversary(backend, 2.5, backend.from_host(x))
    adversary.move(backend.from_host(np.zeros((6, 5), np.float32)))
    np.testing.assert_array_equal(backend.to_host(adversary.images), x)


def test_the_loss_grows_where_images_are_moved(backend, rng):
    """More than with any other tried step of this length."""
    net = network_of(backend, 20, 8, 4, activation="tanh", output="softmax")
    net = net.network
    x = backend.from_host(rng.random((50, 20), dtype=np.float32))
    targets = backend.from_host(np.eye(4, dtype=np.float32)[rng.integers(0, 4, 50)])

    def loss(images):
        return float(net.loss.value(backend, net.forward(images), targets))

    _, slope = net.backpropagate(x, targets, input_gradient=True)
    adversary = Adversary(backend, 0.1, x)
    adversary.move(slope)
    worst = loss(adversary.images)
    for _ in range(20):
        adversary.move(backend.from_host(rng.standard_normal((50, 20)).astype(np.float32)))
        assert loss(adversary.images) < worst


def test_a_step_learns_half_from_each(backend, rng):
    """One step of plain gradient descent, compared with two calls of ``compute_gradients``."""
    images, labels = rng.integers(0, 256, (10, 20), dtype=np.uint8), rng.integers(0, 4, 10)
    images[:, ::2] = 0  # which moves light up
    recipe = ann.Recipe(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, batch_size=10, adversarial=0.3
    )
    net = network_of(backend, 20, 8, 4, activation="tanh", output="softmax")
    twin = network_of(backend, 20, 8, 4, activation="tanh", output="softmax")
    trainer = Trainer(net, ImageSet(net, images, labels), recipe)
    with backend.ignore_overflow():
        list(trainer.epoch(np.arange(10), 1, [0.5]))
    twin = twin.network
    x = backend.from_host((images / 255).astype(np.float32))
    targets = backend.from_host(np.eye(4, dtype=np.float32)[labels])
    adversary = Adversary(backend, 0.3, x)
    logits, slope = twin.backpropagate(x, targets, input_gradient=True)
    loss = float(twin.loss.value(backend, logits, targets))
    adversary.move(slope)
    total = backend.to_host(twin.gradients).copy()
    twin.compute_gradients(adversary.images, targets)
    total += backend.to_host(twin.gradients)
    expected = backend.to_host(twin.parameters) - 0.5 * total / 2.0
    np.testing.assert_allclose(backend.to_host(net.parameters), expected, rtol=1e-5, atol=1e-6)
    # what is reported is the loss of the images as they are
    assert float(trainer.loss.sum(np.arange(10))) / 10 == pytest.approx(loss, rel=1e-5)


def test_moved_images_have_the_dropout_of_theirs(backend, rng):
    """Moves of length 0 give two equal halves, so other masks in the second half would show."""
    images, labels = rng.integers(0, 256, (10, 20), dtype=np.uint8), rng.integers(0, 4, 10)
    found = []
    for length in (0.0, 1e-12):
        plain = {"optimizer": "sgd", "weight_decay": 0.0, "batch_size": 10}
        recipe = ann.Recipe(**plain, adversarial=length, dropout=0.4, input_dropout=0.2)
        net = network_of(backend, 20, 8, 6, 4, activation="tanh", output="softmax")
        trainer = Trainer(net, ImageSet(net, images, labels), recipe)
        with backend.ignore_overflow():
            for epoch in range(1, 4):
                list(trainer.epoch(np.arange(10), epoch, [0.5]))
        found.append(backend.to_host(net.parameters).copy())
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_batch_normalisation_excludes_it():
    with pytest.raises(
        ValueError, match="adversarial: moved images would distort the statistics of batch_norm"
    ):
        ann.Recipe(adversarial=1.0, batch_norm=True)
