"""Networks with convolution in ``fit``: every option, the folded normalisation, and resuming."""

import dataclasses
import tracemalloc
import warnings

import numpy as np
import pytest

import ann
from ann.nn.batch_norm import BatchNorm
from support.backends import BACKENDS, Plain, make_backend
from support.gradients import assert_gradient
from support.layers import backward, bound
from support.networks import REGULARIZED, recipe_of
from support.pictures import CONV_LIST

OPTIONS = {
    "plain": {},
    "regularized": {**REGULARIZED, "channel_dropout": 0.3},
    "distorted": {"rotation": 10.0, "elastic": 0.5},
    "undistorted at the end": {"rotation": 10.0, "elastic": 0.5, "undistorted_epochs": 1},
    "normalised": {"batch_norm": True},
    "adversarial": {"adversarial": 0.5},
    "muon": {"optimizer": "muon"},
}


def recipe_with(**fields):
    fields = {"optimizer": "adamw", "epochs": 2, **fields}
    return recipe_of("relu", "softmax", "cross-entropy", **fields)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("backend", BACKENDS[1:], indirect=True)
def test_backends_train_alike(backend, dataset, options):
    nets = [ann.NeuralNetwork(CONV_LIST, device=device) for device in ("cpu", backend)]
    losses = [
        [report.loss for report in ann.fit(net, dataset, recipe_with(**OPTIONS[options]))]
        for net in nets
    ]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    images = dataset.test_images
    np.testing.assert_allclose(*(net.apply(images) for net in nets), rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((16, 4), {"hidden": ("conv2x4",), "batch_size": 13}),  # one column, and one image at last
        ((6, 8), {"hidden": ("conv2x5", "conv2x2"), "batch_norm": True}),  # one row
        (
            (8, 8),
            {
                "hidden": ("conv2x6",),
                "activation": "swish",
                "batch_norm": True,
                "dropout": 0.3,
                "committee": 2,
            },
        ),
        ((6, 8), {"hidden": ("average2", "conv2x2"), "channel_dropout": 0.3, "batch_size": 38}),
    ],
    ids=["one column", "one row", "as many members as filters", "as many images as filters"],
)
def test_axes_of_equal_lengths_are_not_mistaken_for_each_other(shape, fields, rng):
    images, labels = rng.integers(0, 256, (40, *shape), dtype=np.uint8), rng.integers(0, 10, 40)
    few = ann.Dataset(images, labels, images, labels)
    recipe = ann.Recipe(**{"activation": "tanh", "batch_size": 20, "epochs": 2, **fields})
    nets = [
        ann.NeuralNetwork(
            recipe.layer_list(images[0].size, 10, shape),
            device=device,
            dtype="float64",
            committee=recipe.committee,
        )
        for device in ("cpu", Plain())
    ]
    for net in nets:
        ann.fit(net, few, recipe)
    np.testing.assert_allclose(*(net.parameters for net in nets), rtol=1e-6, atol=1e-6)


def test_a_committee_is_its_members(dataset):
    recipe = recipe_with(dropout=0.2, channel_dropout=0.2, batch_norm=True)
    both = ann.NeuralNetwork(CONV_LIST, committee=2)
    ann.fit(both, dataset, dataclasses.replace(recipe, committee=2))
    for seed in (0, 1):
        one = ann.NeuralNetwork(CONV_LIST, seed=seed)
        ann.fit(one, dataset, recipe)
        expected, found = (net.apply(dataset.test_images) for net in (one, both.member(seed)))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_last_epochs_leave_the_images_as_they_are(dataset):
    distorted = {"rotation": 20.0, "shift": 1.0, "elastic": 0.5}

    def losses(**fields):
        reports = ann.fit(ann.NeuralNetwork(CONV_LIST), dataset, recipe_with(epochs=3, **fields))
        return [report.loss for report in reports]

    always, partly = losses(**distorted), losses(**distorted, undistorted_epochs=2)
    assert partly[0] == always[0]
    assert partly[1] != always[1]
    assert losses(**distorted, undistorted_epochs=3) == pytest.approx(losses(), rel=1e-5)


def test_it_learns(dataset):
    net = ann.NeuralNetwork(CONV_LIST)
    reports = ann.fit(net, dataset, recipe_with(epochs=40, batch_norm=True))
    assert reports[-1].loss < 0.3 * reports[0].loss
    assert net.evaluate(dataset.train_images, dataset.train_labels).accuracy > 0.9


def test_resuming_changes_nothing(dataset, tmp_path):
    recipe = recipe_with(epochs=3, dropout=0.2, channel_dropout=0.2)
    nets = [ann.NeuralNetwork(CONV_LIST) for _ in range(2)]
    ann.fit(nets[0], dataset, recipe)
    checkpoints = ann.Checkpoints(tmp_path / "checkpoint")
    batches = iter(range(6))
    stop = lambda _: next(batches) == 5  # noqa: E731
    ann.fit(nets[1], dataset, recipe, on_batch=stop, checkpoints=checkpoints)
    again = ann.NeuralNetwork(CONV_LIST)
    ann.fit(again, dataset, recipe, checkpoints=checkpoints)
    np.testing.assert_array_equal(again.parameters, nets[0].parameters)


def test_a_recipe_makes_the_network(dataset):
    recipe = ann.Recipe(hidden=("conv4x3", "pool2", 6), activation="relu", batch_size=40, epochs=1)
    net = recipe.network(dataset)
    assert [layer.get("type", "dense") for layer in net.layer_list] == [
        *("conv2d", "max_pool2d", "dense", "dense")
    ]
    assert net.layer_list[0]["input_shape"] == [1, 8, 8]
    assert ann.Recipe.from_json(recipe.to_json()) == recipe
    assert "--hidden conv4x3,pool2,6" in str(recipe)
    ann.fit(net, dataset, recipe)


@pytest.mark.parametrize(
    ("hidden", "inputs", "message"),
    [
        (("conv4x3", 6), 63, "hidden: conv4x3 needs pictures, but images of 63 pixels are not"),
        ((6, "conv4x3"), 64, "layer 2: conv2d needs pictures, but layer 1 is dense"),
        (("conv4x9",), 64, "layer 1: kernel 9 is larger than its image, 8x8"),
        (("pool3",), 64, "layer 1: size 3 does not divide its image, 8x8"),
    ],
)
def test_recipes_that_do_not_fit(hidden, inputs, message):
    with pytest.raises(ValueError, match=message):
        ann.Recipe(hidden=hidden).layer_list(inputs, 10)


@pytest.mark.parametrize("hidden", [("conv",), ("128",), ("conv4x3,pool2",), ("pool",)])
def test_unknown_layers(hidden):
    with pytest.raises(ValueError, match="hidden: expected a width or a layer such as conv16x5"):
        ann.Recipe(hidden=hidden)


@pytest.mark.parametrize("stored_as_rows", [False, True])
def test_channels_are_normalised_over_all_positions(stored_as_rows, rng):
    backend = make_backend("numpy")
    norm, values, gradients = bound(backend, BatchNorm(3, positions=4), rng)
    norm.statistics = np.zeros((2, 3))
    x, weights = rng.standard_normal((7, 12)), rng.standard_normal((7, 12))

    def total(inputs):
        return float((weights * norm.forward(np.asfortranarray(inputs))).sum())

    y = norm.forward(np.asfortranarray(x)).reshape(7, 3, 4)
    np.testing.assert_allclose(y.mean(axis=(0, 2)), values["shift"][0], atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 2)), np.abs(values["gain"][0]), rtol=1e-3)
    grad = weights.copy() if stored_as_rows else np.asfortranarray(weights)
    assert_gradient(total, backward(norm, grad).copy(), x, rng)
    for name, array in values.items():
        start = array.copy()

        def total_at(point, array=array):
            array[...] = point
            return total(x)

        assert_gradient(total_at, gradients[name].copy(), start, rng)
        array[...] = start


def test_black_borders_do_not_count_as_dead_neurons(dataset):
    """There, every relu filter gives 0 unless its bias is positive."""
    pictures = np.pad(dataset.train_images, ((0, 0), (8, 8), (8, 8)))
    framed = dataclasses.replace(dataset, train_images=pictures)
    first = {**CONV_LIST[0], "input_shape": [24, 24]}
    net = ann.NeuralNetwork([first, *CONV_LIST[1:]])
    net.network.layers[0].bias[...] = -0.01
    recipe = dataclasses.replace(recipe_with(epochs=1), batch_size=1, learning_rate=1e-9)
    with pytest.warns(ann.TrainingWarning, match="learnt next to nothing"):
        ann.fit(net, framed, recipe)


def test_dead_filters_are_counted_by_the_layer_list(dataset):
    second = {"type": "conv2d", "filters": 3, "kernel": 1, "activation": "relu"}
    net = ann.NeuralNetwork([*CONV_LIST[:2], second, *CONV_LIST[2:]])
    weights = net.network.layers[3].weight
    weights[...] = -np.abs(weights)  # of positive numbers
    recipe = dataclasses.replace(recipe_with(epochs=1), batch_size=1, learning_rate=1e-9)
    with pytest.warns(ann.TrainingWarning, match="3 of the 3 relu neurons of layer 3 are 0 for"):
        ann.fit(net, dataset, recipe)


def test_the_checks_need_little_memory(dataset):
    """The windows of all images together would take 300 MB."""
    pictures = np.pad(dataset.train_images, ((0, 0), (10, 10), (10, 10)))
    wide = {**CONV_LIST[0], "kernel": 28, "filters": 1, "padding": "same", "input_shape": [28, 28]}
    net = ann.NeuralNetwork([wide, CONV_LIST[3]])
    labels = dataset.train_labels
    data = ann.Dataset(pictures[:120], labels[:120], pictures[:1], labels[:1])
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ann.fit(net, data, dataclasses.replace(recipe_with(epochs=1), batch_size=5))
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["fit", "train_batch", "apply", "predict", "evaluate"])
@pytest.mark.parametrize(("channels", "wanted"), [(1, "4x16"), (4, "4x4x4")])
def test_pictures_of_other_sides_are_refused(dataset, method, channels, wanted):
    """They have as many pixels, but the network would see them sheared."""
    sides = [channels, 4, 16 // channels]
    net = ann.NeuralNetwork([{**CONV_LIST[0], "input_shape": sides}, *CONV_LIST[2:]])

    def use(images):
        if method == "fit":
            ann.fit(net, dataclasses.replace(dataset, train_images=images), recipe_with(epochs=1))
        elif method in ("apply", "predict"):
            getattr(net, method)(images)
        else:
            rate = (0.1,) if method == "train_batch" else ()
            getattr(net, method)(images, dataset.train_labels, *rate)

    expected = f"expected images of {wanted} pixels, the input_shape of the network, got 8x8"
    name = "train_images" if method == "fit" else "X"
    with pytest.raises(ValueError, match=f"^{name}: {expected}$"):
        use(dataset.train_images)
    use(dataset.train_images.reshape(len(dataset.train_images), -1))
