"""Runs that go wrong in ways that users meet, and the hint for each. A run that goes well gets
none: warnings are errors in these tests.
"""

import dataclasses
import re
import warnings

import numpy as np
import pytest

import ann
from support.backends import BACKENDS
from support.networks import network_of, stopping_at
from support.programs import run

TRAIN_IMAGES = 600  # of ``dataset``

GOOD = ann.Recipe(hidden=(24, 16), learning_rate=0.02, batch_size=20, epochs=12, weight_decay=0.01)
SGD = {"optimizer": "sgd", "learning_rate": 0.5}


def shuffled(dataset):
    labels = np.random.default_rng(0).permutation(dataset.train_labels)
    return dataclasses.replace(dataset, train_labels=labels)


def dimmed(dataset):
    return dataclasses.replace(dataset, train_images=dataset.train_images // 250)


def same(dataset):
    return dataset


def train(backend, dataset, **changes):
    recipe = dataclasses.replace(GOOD, **changes)
    net = network_of(backend, 64, *recipe.hidden, 10, activation=recipe.activation, seed=1)
    return net, ann.fit(net, dataset, recipe)


@pytest.mark.parametrize(
    ("change", "recipe", "message"),
    [
        (
            same,
            {"activation": "relu", "learning_rate": 3.0},
            r"relu neurons of layer \d are 0 for every image",
        ),
        (
            same,
            {"learning_rate": 20.0, "weight_decay": 0.1},
            r"\d+ % of the sigmoid outputs of layer 1 are saturated, so the layer learns little: "
            r"try learning rate 0.01 and weight decay 0.\d+ \(the default for this recipe\) "
            r"\(after epoch",
        ),
        (same, {"learning_rate": 20.0}, r"\d+ % of the sigmoid outputs of layer 1 are saturated"),
        (
            same,
            {"activation": "tanh", "learning_rate": 20.0},
            r"\d+ % of the tanh outputs of layer 1 are saturated",
        ),
        (
            same,
            {"activation": "scaled-tanh", "learning_rate": 20.0},
            r"% of the scaled-tanh outputs of layer 1",
        ),
        (
            same,
            {**SGD, "weight_decay": 0.1},
            "has pulled all weights to 0 .* try weight decay 0.0001 \\(the default",
        ),
        (
            same,
            {"learning_rate": 1.0, "weight_decay": 0.5},
            "next to nothing: try learning rate 0.01 and weight decay",
        ),
        (
            same,
            {"learning_rate": 1e-7},
            "learnt next to nothing: try learning rate 0.01 \\(the default",
        ),
        (
            shuffled,
            {},
            "the labels look shuffled: check that images and labels have the same order",
        ),
        (dimmed, {}, "the brightest pixel is 1 of 255, so the network sees next to nothing"),
        (
            same,
            {
                **SGD,
                "activation": "relu",
                "learning_rate": 20.0,
                "weight_decay": 0.0,
                "warmup": 0.9,
            },
            "the loss has grown from .* so training diverges: "
            "try learning rate 0.054 .* or clipping",
        ),
    ],
)
def test_each_problem_gets_its_hint(dataset, change, recipe, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(ann.get_backend("cpu"), change(dataset), **recipe)
    texts = [str(warning.message) for warning in caught if warning.category is ann.TrainingWarning]
    assert any(re.search(message, text) for text in texts), texts
    assert len(texts) == len({text[:20] for text in texts})  # none twice
    assert all("\n" not in text for text in texts)


def test_neurons_that_are_rarely_active_are_not_dead(dataset, monkeypatch):
    """All images of the sample count, even if few of them fit into memory."""
    monkeypatch.setattr("ann.neural_network._NUMBERS", 1000)  # about 15 images
    net = network_of(ann.get_backend("cpu"), 64, 30, 10, activation="relu")
    hidden, images = net.network.layers[0], dataset.train_images.reshape(-1, 64) / 255
    hidden.bias[...] = -np.quantile(images @ hidden.weight, 0.99, axis=0)  # each for six images
    recipe = dataclasses.replace(
        GOOD, hidden=(30,), activation="relu", epochs=1, batch_size=1, learning_rate=1e-9
    )
    with pytest.warns(ann.TrainingWarning, match="learnt next to nothing"):
        ann.fit(net, dataset, recipe)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_following_the_advice_works(dataset, optimizer):
    """With AdamW's rates, they learn nothing."""
    bad = {"optimizer": optimizer, "learning_rate": 0.028, "weight_decay": 0.3, "epochs": 20}
    with pytest.warns(ann.TrainingWarning) as caught:
        dead, _ = train(ann.get_backend("cpu"), dataset, **bad)
    advice = re.findall(r"(learning rate|weight decay) ([\d.e-]+)", str(caught[-1].message))
    assert advice
    good = {name.replace(" ", "_"): float(value) for name, value in advice}
    alive, _ = train(ann.get_backend("cpu"), dataset, **{**bad, **good})
    wrong = [
        (net.predict(dataset.test_images) != dataset.test_labels).mean() for net in (dead, alive)
    ]
    assert wrong[0] > 0.5 and wrong[1] < 0.1


@pytest.mark.parametrize(
    ("backend", "recipe"),
    [
        *((name, {}) for name in BACKENDS),
        ("numpy", {"activation": "relu"}),
        ("numpy", {"optimizer": "nesterov", "weight_decay": 0.0}),
    ],
    indirect=["backend"],
)
@pytest.mark.slow
def test_a_run_that_goes_well_gets_no_hint(backend, dataset, recipe):
    _, reports = train(backend, dataset, **recipe)
    assert reports[-1].loss < 0.5 * reports[0].loss


@pytest.mark.slow
def test_a_slow_start_gets_no_hint():
    """With so much momentum, most outputs are saturated at first, but the network learns."""
    data = ann.load_dataset("mnist")
    data = dataclasses.replace(
        data, train_images=data.train_images[:5000], train_labels=data.train_labels[:5000]
    )
    recipe = ann.Recipe(hidden=(32,), momentum=0.99, batch_size=20, epochs=10, validation=1000)
    net = ann.NeuralNetwork(recipe.layer_list(784, 10))
    assert ann.fit(net, data, recipe)[-1].validation.errors < 200


@pytest.mark.slow
def test_a_single_image():
    images = np.full((1, 8, 8), 255, dtype=np.uint8)
    one = ann.Dataset(images, [1], images, [1])
    recipe = dataclasses.replace(GOOD, batch_size=1, epochs=110, learning_rate=1e-9)
    net = recipe.network(one)
    net.parameters[-2:] = [50.0, -50.0]  # the wrong label, for a long time
    with pytest.warns(ann.TrainingWarning, match="the network has learnt next to nothing"):
        ann.fit(net, one, recipe)


def test_hints_change_nothing(monkeypatch, backend, dataset):
    nets = [train(backend, dataset, epochs=4)[0]]
    monkeypatch.setattr(
        "ann.training.diagnostics.Diagnostics.after_epoch", lambda self, report: None
    )
    nets.append(train(backend, dataset, epochs=4)[0])
    assert nets[0].to_bytes() == nets[1].to_bytes()


def test_dark_images_that_are_learnt_get_no_hint():
    """Sixteen shades are enough."""
    rng = np.random.default_rng(0)
    labels = np.arange(600, dtype=np.uint8) % 10
    images = rng.integers(0, 4, (600, 64), dtype=np.uint8)
    images[np.arange(600), labels * 6] = 16
    data = ann.Dataset(images, labels, images[:10], labels[:10])
    _, reports = train(ann.get_backend("cpu"), data, epochs=40)
    assert reports[-1].loss < 0.5


def test_after_a_stop_the_hints_are_those_of_the_whole_run(dataset, tmp_path):
    """No hint comes twice, and a stop is not taken for the start of the run."""
    recipe = dataclasses.replace(GOOD, **SGD, weight_decay=0.1, epochs=40)
    found = []
    for name, stops in (("whole", []), ("parts", [700])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for stop in [*stops, 10**6]:
                net = network_of(ann.get_backend("cpu"), 64, 24, 16, 10, seed=1)
                checkpoints = ann.Checkpoints(tmp_path / name)
                ann.fit(net, dataset, recipe, (), stopping_at(stop), checkpoints)
        found.append([str(warning.message) for warning in caught])
    assert found[0] == found[1] and len(found[0]) == 1 and "weight decay" in found[0][0]


def test_inputs_that_are_not_scaled(backend, rng):
    net = network_of(backend, 64, 12, 10)
    pixels = rng.integers(0, 256, (20, 64), dtype=np.uint8)
    labels = rng.integers(0, 10, 20)
    net.train_batch(pixels, labels, 0.1)
    net.train_batch(pixels / 255, labels, 0.1)
    net.train_batch(np.zeros_like(pixels), labels, 0.1)
    with pytest.warns(ann.TrainingWarning, match="X: inputs reach 255 .* divide pixels by 255"):
        net.train_batch(pixels.astype(np.float32), labels, 1e-3)
    net.train_batch(pixels.astype(np.float32), labels, 1e-3)  # said once
    other = network_of(backend, 64, 12, 10)
    with pytest.warns(ann.TrainingWarning, match="X: inputs reach 255"):
        other.predict(pixels.astype(np.float32))
    binary = network_of(backend, 64, 12, 10)
    binary.predict(pixels // 128 * 255)
    with pytest.warns(ann.TrainingWarning, match="X: the brightest pixel is 1 of 255: multiply"):
        binary.predict(pixels // 128)
    binary.predict(pixels // 128)  # said once


def test_programs_show_hints_in_one_line(tmp_path, small_data):
    flags = ["--data", small_data, "--hidden", 16, "--epochs", 10, "--batch-size", 20]
    learnt_nothing = "warning: the network has learnt next to nothing: try learning rate 0.01"
    _, error = run(
        "train", *flags, "--learning-rate", "1e-7", cwd=tmp_path, complaint=learnt_nothing
    )
    assert len(error.splitlines()) == 1
    run("test", "--data", small_data, cwd=tmp_path)
