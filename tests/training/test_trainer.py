"""The trainer without ``fit``: an epoch, a part of an epoch, and what lasts between steps."""

from itertools import islice

import numpy as np
import pytest

import ann
from ann.nn.rng import generator
from ann.training.batches import EpochKeys, ImageSet
from ann.training.trainer import Trainer
from support.backends import slow_on_strict
from support.networks import network_of


def trainer_of(backend, rng, images=11, hidden=(4,), **fields):
    net = network_of(backend, 5, *hidden, 3, activation="tanh", output="softmax", dtype="float64")
    pixels = rng.integers(0, 256, (images, 5), dtype=np.uint8)
    labels = rng.integers(0, 3, images)
    plain = {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.01, "batch_size": 3}
    return net, Trainer(net, ImageSet(net, pixels, labels), ann.Recipe(**plain | fields)), pixels


def test_an_epoch_yields_the_images_of_each_step(backend, rng):
    _, trainer, _ = trainer_of(backend, rng)
    assert list(trainer.epoch(np.arange(11), 1, [0.1] * 4)) == [3, 3, 3, 2]
    assert trainer.steps == 4


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("fields", [{}, {"optimizer": "adam", "average": 0.9}, {"dropout": 0.3}])
def test_a_stopped_epoch_continues_with_the_next_step(backend, fields, stop):
    """With the rates of the whole epoch, and without reading the network's parameters again."""
    orders = np.random.default_rng(1).permuted(np.tile(np.arange(11), (2, 1)), axis=1)
    rates = np.array([[0.1, 0.2, 0.3, 0.4], [0.3, 0.1, 0.2, 0.1]])
    results = []
    for pauses in (False, True):
        net, trainer, _ = trainer_of(backend, np.random.default_rng(1), **fields)
        for epoch in (1, 2):
            epoch_of = (orders[epoch - 1], epoch, rates[epoch - 1])
            start = 0
            if pauses:
                start = len(list(islice(trainer.epoch(*epoch_of), stop)))
                assert start == stop
                seen = backend.to_host(trainer.state(start)["logits"])
                assert seen.shape == (3 * stop, 3)
            assert len(list(trainer.epoch(*epoch_of, start=start))) == 4 - start
        assert "logits" not in trainer.state(0)
        assert trainer.state(4)["logits"].shape == (11, 3)
        results.append([net.parameters, trainer.state(4)["logits"]])
    for whole, stopped in zip(*results, strict=True):
        np.testing.assert_array_equal(backend.to_host(whole), backend.to_host(stopped))


def test_the_network_may_be_changed_between_epochs(backend, rng):
    """Unless it holds averages: then training continues from its own parameters."""
    for average, taken in ((0.0, True), (0.9, False)):
        net, trainer, _ = trainer_of(backend, rng, average=average)
        list(trainer.epoch(np.arange(11), 1, [0.1] * 4))
        before = backend.to_host(trainer.state(0)["parameters"]).copy()
        net.parameters[...] = backend.xp.zeros_like(net.parameters)
        list(trainer.epoch(np.arange(11), 2, [1e-12] * 4))
        after = backend.to_host(trainer.state(0)["parameters"])
        np.testing.assert_allclose(after, before * (not taken), rtol=1e-9, atol=1e-10)


def test_max_norm_limits_every_layer_but_the_last(backend, rng):
    net, trainer, _ = trainer_of(backend, rng, hidden=(4, 6), max_norm=0.1)
    list(trainer.epoch(np.arange(11), 1, [0.1] * 4))
    *hidden, last = [np.linalg.norm(weight, axis=0) for weight, _ in net.weights_and_biases()]
    assert len(hidden) == 2 and last.min() > 0.2
    for norms in hidden:
        assert norms.max() == pytest.approx(0.1)


@slow_on_strict
def test_running_statistics_are_means_over_about_ten_batches(backend, rng):
    """For z = x W with weights that hardly change, over more steps than the averages remember."""
    net, trainer, pixels = trainer_of(backend, rng, images=300, batch_norm=True)
    weight = backend.to_host(net.network.layers[0].weight).copy()
    list(trainer.epoch(np.arange(300), 1, [1e-12] * 100))
    expected = 0.0
    for k, batch in enumerate(np.split(pixels / 255, 100), start=1):
        z = batch @ weight
        decay = min(0.9, (k - 1) / (k + 8))
        expected = decay * expected + (1 - decay) * np.concatenate([z.mean(axis=0), z.var(axis=0)])
    found = backend.to_host(trainer.state(0)["statistics"])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("committee", [1, 2])
def test_keys_are_those_of_the_epoch_and_the_member(backend, committee):
    net = network_of(backend, 5, 4, 3, seed=8, committee=committee)
    keys = EpochKeys(net)
    for epoch in (1, 3):
        keys.set(epoch)
        for purpose, found, size in (
            ("dropout", keys.dropout, 2),
            ("distortion", keys.distortion, 1),
        ):
            streams = [generator(seed, purpose, epoch - 1) for seed in net.seeds]
            expected = [stream.integers(2**32, size=size) for stream in streams]
            found = backend.to_host(found)
            assert found.dtype == np.uint32
            np.testing.assert_array_equal(found, expected if committee > 1 else expected[0])
