import dataclasses
import hashlib
import itertools
import re

import numpy as np
import pytest

import ann
from ann.training.step import Step
from support import optional
from support.backends import BACKENDS, Column, slow_on_strict
from support.networks import REGULARIZED, network_of

TRAIN_IMAGES = 500  # of ``dataset``

SMALL = ann.Recipe(
    hidden=(16,),
    learning_rate=0.3,
    weight_decay=0.08,
    batch_size=32,
    epochs=4,
    validation=60,
    schedule="cosine",
)


def trained(backend, dataset, recipe, **options):
    net = network_of(
        backend,
        64,
        *recipe.hidden,
        10,
        activation=recipe.activation,
        seed=4,
        committee=recipe.committee,
    )
    return net, ann.fit(net, dataset, recipe, **options)


def on_cpu(dataset, recipe=SMALL, **options):
    return trained(ann.get_backend("cpu"), dataset, recipe, **options)


def small(**fields):
    return dataclasses.replace(SMALL, **fields)


def with_images(dataset, images):
    return dataclasses.replace(dataset, train_images=images)


def with_labels(dataset, labels):
    return dataclasses.replace(dataset, train_labels=labels)


def close(net, other, tolerance):
    """Check that two networks have the same parameters, up to rounding."""
    vectors = (one.backend.to_host(one.parameters) for one in (net, other))
    np.testing.assert_allclose(*vectors, rtol=tolerance, atol=tolerance)


@slow_on_strict
def test_learns(backend, dataset):
    net, reports = trained(backend, dataset, small(epochs=15))
    assert reports[-1].loss < 0.5 * reports[0].loss
    assert (net.predict(dataset.test_images) != dataset.test_labels).mean() < 0.1


def test_reports_and_callbacks(backend, dataset):
    seen, batches = [], []
    _, reports = trained(backend, dataset, SMALL, callbacks=[seen.append], on_batch=batches.append)
    assert seen == reports
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert batches == ([32] * 13 + [24]) * 4  # 440 images: the last batch is smaller
    for report in reports:
        assert report.epochs == 4 and report.seconds > 0 and report.images_per_second > 0
        assert report.validation.count == 60 and 0 <= report.validation.errors <= 60
    assert reports[0].learning_rate > reports[-1].learning_rate > 0
    assert str(reports[0]).startswith("epoch 1/4  loss ") and "validation: loss" in str(reports[0])


def test_the_last_report_s_validation_is_the_network_s(backend, dataset):
    net, reports = trained(backend, dataset, SMALL)
    held_images, held_labels = dataset.train_images[-60:], dataset.train_labels[-60:]
    assert reports[-1].validation.errors == (net.predict(held_images) != held_labels).sum()
    y = net.apply(held_images).astype(np.float64)
    t = np.eye(10)[held_labels]
    loss = -(t * np.log(y) + (1 - t) * np.log(1 - y)).sum(axis=1).mean()
    assert reports[-1].validation.loss == pytest.approx(loss, rel=1e-4)


def test_same_seed_same_bytes(backend, dataset, tmp_path):
    digests = []
    for name in ("one", "two"):
        net, _ = trained(backend, dataset, SMALL)
        net.save(tmp_path / name)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1]


@slow_on_strict
def test_measuring_changes_nothing(backend, dataset):
    """Validation, callbacks and applying the network leave the random numbers of training alone."""
    shorter = ann.Dataset(dataset.train_images[:440], dataset.train_labels[:440], None, None)
    recipe = small(**REGULARIZED)
    plain, _ = trained(backend, shorter, dataclasses.replace(recipe, validation=0))
    net = network_of(backend, 64, 16, 10, seed=4)
    ann.fit(
        net, dataset, recipe, [lambda report: net.apply(dataset.test_images)], lambda size: None
    )
    np.testing.assert_array_equal(
        backend.to_host(net.parameters), backend.to_host(plain.parameters)
    )


@slow_on_strict
def test_validation_images_are_not_trained_on(backend, dataset):
    changed_images = dataset.train_images.copy()
    changed_images[-60:] = 255 - changed_images[-60:]
    changed = with_images(dataset, changed_images)
    nets = [trained(backend, data, SMALL)[0] for data in (dataset, changed)]
    np.testing.assert_array_equal(*(backend.to_host(net.parameters) for net in nets))


def test_test_images_are_not_read(dataset):
    blind = dataclasses.replace(dataset, test_images=None, test_labels=None)
    nets = [on_cpu(data)[0] for data in (dataset, blind)]
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_every_image_is_seen_once_an_epoch(backend, dataset):
    """The network has one weight per pixel, and its loss grows with the output, so its gradient
    sums the pixels.

    Each image has its own pixel. So after an epoch, every weight has moved as often as its image
    was seen, and a second epoch in another order moves it as far again.
    """
    images = (255 * np.eye(64, dtype=np.uint8)).reshape(64, 8, 8)
    marked = dataclasses.replace(
        dataset, train_images=images, train_labels=np.arange(64, dtype=np.uint8) % 10
    )
    layers = [{"input_dim": 64, "output_dim": 10, "activation": "sigmoid"}]
    plain = {"optimizer": "sgd", "momentum": 0, "learning_rate": 1e-3, "weight_decay": 0}
    plain |= {"schedule": "constant", "warmup": 0}
    recipe = ann.Recipe(hidden=(), batch_size=10, epochs=1, **plain)
    net = ann.NeuralNetwork(layers, device=backend, parameters=np.zeros(650))
    ann.fit(net, marked, recipe)
    weight = net.weights_and_biases()[0][0]
    sizes = np.where(
        np.eye(10)[np.arange(64) % 10] > 0, 0.5, -0.5
    )  # t - y, for y still about one half
    steps = weight / (
        1e-3 * sizes
    )  # 1 / the size of the batch in which the image was: 10, or 4 in the last
    np.testing.assert_allclose(steps, steps[:, :1] * np.ones(10), rtol=1e-2)
    assert sorted(np.rint(1 / steps[:, 0])) == [4] * 4 + [10] * 60
    last = [np.flatnonzero(np.rint(1 / steps[:, 0]) == 4).tolist()]
    again = ann.NeuralNetwork(layers, device=backend, seed=1, parameters=np.zeros(650))
    ann.fit(again, marked, recipe)
    moved = again.weights_and_biases()[0][0][:, 0] / (1e-3 * sizes[:, 0])
    assert last != [np.flatnonzero(np.rint(1 / moved) == 4).tolist()]  # the order is the seed's


def test_divergence_is_reported(backend, dataset):
    wild = small(activation="relu", loss="quadratic", learning_rate=1e30)
    net = network_of(backend, 64, 16, 10, activation="relu", output="identity", loss="quadratic")
    with pytest.raises(
        ann.DivergenceError, match=r"diverged in epoch 1 of 4.*try learning rate 0\.00"
    ):
        ann.fit(net, dataset, wild)


@slow_on_strict
def test_numpy_s_error_handling_changes_nothing(backend, dataset):
    """Underflow and overflow in training are harmless, whatever NumPy's settings."""
    recipe = small(**REGULARIZED)
    plain, _ = trained(backend, dataset, recipe)
    with np.errstate(all="raise"):
        strict, _ = trained(backend, dataset, recipe)
    assert strict.to_bytes() == plain.to_bytes()


def by_label(dataset):
    order = dataset.train_labels.argsort(kind="stable")
    images, labels = dataset.train_images[order], dataset.train_labels[order]
    return dataclasses.replace(dataset, train_images=images, train_labels=labels)


@pytest.mark.parametrize("rows", [False, True])
def test_validation_images_of_other_classes_than_the_rest(backend, dataset, rows):
    ordered = by_label(dataset)
    labels = np.eye(10)[ordered.train_labels] if rows else ordered.train_labels
    images, labels = (array.repeat(9, axis=0) for array in (ordered.train_images, labels))
    nines = 9 * int((dataset.train_labels == 9).sum())
    unknown = "validation images show classes that are not in the training images (9)"
    absent = "no validation image shows some classes that are in the training images"
    for validation, message in (
        (nines, f"{nines} of {nines} {unknown}"),
        (nines + 1, f"{nines} of {nines + 1} {unknown}"),
        (nines - 1, f"{absent} (0, 1, 2, 3, 4, 5, 6, 7, 8)"),
    ):
        message = f"validation: {message}; if the images are sorted, shuffle them with their labels"
        recipe = small(epochs=1, batch_size=500, committee=2, validation=validation)
        with pytest.warns(ann.TrainingWarning, match=f"^{re.escape(message)}$") as caught:
            trained(backend, ann.Dataset(images, labels, None, None), recipe)
        assert len(caught) == 1 and caught[0].filename == trained.__code__.co_filename


def test_few_validation_images_may_lack_a_class(dataset):
    rows = np.eye(10)[dataset.train_labels]
    for labels in (dataset.train_labels, rows, rows * 0.9):
        on_cpu(with_labels(dataset, labels), small(epochs=1, validation=3))


def test_target_rows_without_validation_images(dataset):
    """Softmax needs rows that sum to 1, but there are no validation rows."""
    recipe = small(output_activation="softmax", validation=0, epochs=1)
    net, twin = (ann.NeuralNetwork(recipe.layer_list(64, 10)) for _ in range(2))
    ann.fit(net, dataset, recipe)
    ann.fit(twin, with_labels(dataset, np.eye(10)[dataset.train_labels]), recipe)
    assert net.to_bytes() == twin.to_bytes()


@pytest.mark.parametrize(
    "wrapped", [np.ndarray.tolist, Column, np.asfortranarray, lambda x: x[::-1][::-1]]
)
def test_arrays_of_other_kinds_train_alike(dataset, wrapped):
    images, labels = floats_of(dataset).train_images, dataset.train_labels
    plain, _ = on_cpu(with_images(dataset, images))
    for rows in (labels, np.eye(10)[labels]):
        other = ann.Dataset(wrapped(images), wrapped(rows), wrapped(images), wrapped(rows))
        assert repr(other) == "<Dataset of 500 training and 500 test images>"
        assert SMALL.network(other).layer_list == plain.layer_list
        net, _ = on_cpu(other, weights=wrapped(np.ones(500)))
        close(net, plain, 1e-5)


def test_data_sets_without_arrays(dataset):
    with pytest.raises(ValueError, match="test_labels: expected an array, got the single value 3"):
        dataclasses.replace(dataset, test_labels=np.array(3))
    without = ann.Dataset(dataset.train_images, dataset.train_labels, None, None)
    assert repr(without) == "<Dataset of 500 training and 0 test images>"


def test_data_sets_are_equal_only_to_themselves(dataset):
    other = with_images(dataset, dataset.train_images.copy())
    assert dataset == dataset and dataset != other
    assert other in [dataset, other] and len({dataset, other}) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": 500}, "validation: 500 validation images of 500 leave none to train on"),
        ({"batch_size": 441}, "batch_size: 441 is more than the 440 training images"),
    ],
)
def test_recipes_that_do_not_fit_the_data(dataset, changes, message):
    with pytest.raises(ValueError, match=message):
        on_cpu(dataset, small(**changes))


@pytest.mark.parametrize(
    ("hidden", "name", "value"),
    [
        ((), "dropout", 0.2),
        ((), "batch_norm", True),
        ((), "max_norm", 3.0),
        (("pool2",), "batch_norm", True),
        (("pool2",), "max_norm", 3.0),
    ],
)
def test_regularization_of_hidden_layers_needs_some(dataset, hidden, name, value):
    """It would be ignored silently."""
    recipe = ann.Recipe(hidden=hidden, **{name: value})
    message = f"^{name}: it is for hidden layers, and the network has none; add hidden layers, or"
    with pytest.raises(ValueError, match=message):
        ann.fit(recipe.network(dataset), dataset, recipe)


def test_dropout_after_pooling(dataset):
    """Pooling has no weights, but dropout can zero its results."""
    found = []
    for dropout in (0.0, 0.5):
        recipe = ann.Recipe(hidden=("pool2",), epochs=1, dropout=dropout)
        network = recipe.network(dataset)
        ann.fit(network, dataset, recipe)
        found.append(network.parameters)
    assert not np.array_equal(*found)


def test_dropout_of_channels_needs_a_convolution(dataset):
    with pytest.raises(ValueError, match=r"^channel_dropout: there is no convolution; add a layer"):
        on_cpu(dataset, small(channel_dropout=0.2))


def test_wrong_types_of_arguments(dataset):
    net = network_of(ann.get_backend("cpu"), 64, 10)
    for arguments, message in (
        (
            (net, dataset.train_images, dataset.train_labels),
            "dataset: expected an ann.Dataset, got ndarray; ann.load_dataset makes",
        ),
        ((net, dataset, 3), "recipe: expected an ann.Recipe, got int"),
        ((SMALL, dataset, SMALL), "network: expected an ann.NeuralNetwork, got Recipe"),
    ):
        with pytest.raises(ValueError, match=message):
            ann.fit(*arguments)
    with pytest.raises(ValueError, match=r"^dataset: expected an ann.Dataset, got NeuralNetwork$"):
        SMALL.network(net)


def test_arguments_of_the_wrong_kind(dataset):
    functions = r"^callbacks: expected a list of functions or ann.Callback objects"
    for wrong, message in (
        ({"callbacks": print}, functions),
        ({"callbacks": None}, functions),
        ({"callbacks": [3]}, functions),
        ({"callbacks": [ann.Callback]}, functions),
        ({"on_batch": ann.Callback()}, r"^on_batch: expected a function or None$"),
        ({"checkpoints": "x.npz"}, r"checkpoints: expected ann.Checkpoints\(path\)"),
        ({"processes": 3}, r"^processes: expected ann.training.mpi.MpiProcesses\(\) .*, got 3$"),
    ):
        with pytest.raises(ValueError, match=message):
            on_cpu(dataset, **wrong)


@pytest.mark.parametrize("kind", [bool, np.bool_])
def test_a_callback_ends_training(dataset, kind):
    second = lambda report: kind(report.epoch == 2)  # noqa: E731
    _, reports = on_cpu(dataset, callbacks=[second, lambda report: None])
    assert len(reports) == 2


def test_dropout_of_a_tiny_share_changes_nothing(dataset):
    plain, tiny = (on_cpu(dataset, small(dropout=share))[0] for share in (0.0, 1e-17))
    np.testing.assert_array_equal(tiny.parameters, plain.parameters)


def test_early_stopping_restores_the_best(dataset):
    """The parameters of a run that gets worse are those of a run that ends with its best epoch."""
    recipe = small(learning_rate=3.0, epochs=12, schedule="constant")
    net, reports = on_cpu(dataset, dataclasses.replace(recipe, early_stopping=3))
    scores = [(report.validation.errors, report.validation.loss) for report in reports]
    best = scores.index(min(scores))
    assert len(reports) == best + 4 < 12
    plain, _ = on_cpu(dataset, recipe, callbacks=[lambda report: report.epoch == best + 1])
    np.testing.assert_array_equal(net.parameters, plain.parameters)
    wrong = net.predict(dataset.train_images[-60:]) != dataset.train_labels[-60:]
    assert wrong.sum() == scores[best][0]


def test_recipes_as_json(dataset):
    for recipe in (SMALL, ann.Recipe(hidden=(), batch_norm=True, optimizer="muon")):
        assert ann.Recipe.from_json(recipe.to_json()) == recipe
        assert str(recipe).startswith("python scripts/train.py --hidden ")
    assert ann.Recipe.from_json('{"epochs": 3}') == ann.Recipe(epochs=3)
    for text in ("3", '{"epoch": 3}', '{"epochs": 0}', "{"):
        with pytest.raises(ValueError, match=r"not a recipe|expected a whole|Expecting"):
            ann.Recipe.from_json(text)
    with pytest.raises(ValueError, match="not a recipe: maximum recursion depth exceeded"):
        ann.Recipe.from_json("[" * 100_000)


def test_contradictory_recipes():
    with pytest.raises(ValueError, match="early_stopping: it needs validation images"):
        ann.Recipe(early_stopping=1)
    with pytest.raises(
        ValueError, match="batch_norm: it needs batches of several images, and batch_size is 1"
    ):
        ann.Recipe(batch_norm=True, batch_size=1)
    with pytest.raises(ValueError, match="warmup: the schedule one-cycle has its own; leave"):
        ann.Recipe(schedule="one-cycle", warmup=0.2)


def test_a_change_to_one_cycle_drops_the_warm_up():
    recipe = ann.Recipe(warmup=0.2).changed(schedule="one-cycle")
    assert recipe.warmup == 0.0
    assert recipe.changed(schedule="linear").warmup == ann.Recipe().warmup


def test_data_that_do_not_fit(dataset):
    with pytest.raises(ValueError, match=r"train_images: expected shape \(N, 63\)"):
        ann.fit(network_of(ann.get_backend("cpu"), 63, 10), dataset, SMALL)
    with pytest.raises(ValueError, match="train_labels: expected labels from 0 to 4"):
        ann.fit(network_of(ann.get_backend("cpu"), 64, 5), dataset, SMALL)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(501, np.uint8), "expected 500 labels, one for each image, got 501"),
        (
            np.zeros((500, 11), np.uint8),
            r"expected shape \(500, 10\), or \(500,\) integer labels, got \(500, 11\)",
        ),
        (
            np.full((500, 10), 2.0),
            "expected rows of numbers from 0 to 1 for this loss, got 2.0 to 2.0",
        ),
        (np.zeros(500), "expected integers of shape"),
        (None, "expected a NumPy array"),
    ],
)
def test_labels_that_do_not_fit(dataset, labels, message):
    for validation in (0, 60):
        with pytest.raises(ValueError, match=f"train_labels: {message}"):
            on_cpu(with_labels(dataset, labels), small(validation=validation))


def floats_of(dataset):
    return with_images(dataset, dataset.train_images / np.float32(255.0))


EVERYTHING = small(input_dropout=0.1, dropout=0.1, label_smoothing=0.1, batch_norm=True)


@pytest.mark.parametrize(
    ("recipe", "committee"), [(SMALL, 1), (EVERYTHING, 2), (small(adversarial=0.5), 2)]
)
@pytest.mark.slow
def test_floats_and_target_rows_train_like_pixels_and_labels(backend, dataset, recipe, committee):
    recipe = dataclasses.replace(recipe, committee=committee, validation=60)
    pixels, of_pixels = trained(backend, dataset, recipe)
    rows = np.eye(10)[dataset.train_labels]
    floats, of_floats = trained(backend, with_labels(floats_of(dataset), rows), recipe)
    close(floats, pixels, 1e-3)
    for one, other in zip(of_pixels, of_floats, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert one.validation.loss == pytest.approx(other.validation.loss, rel=1e-3)
        assert abs(one.validation.errors - other.validation.errors) <= 1
    assert pixels.self_test_images is not None and floats.self_test_images is None


def test_floats_that_cannot_be_trained_on(dataset):
    images, floats = dataset.train_images, floats_of(dataset)
    infinite = floats.train_images.copy()
    infinite[3, 2, 1] = np.inf
    for data, recipe, message in (
        (floats, small(rotation=5.0), "distortions need images of shape .* with uint8 pixels"),
        (with_images(dataset, infinite), SMALL, "expected finite float32 numbers, got inf at"),
        (
            with_images(dataset, images.astype(np.int64)),
            SMALL,
            "expected floats, or uint8 pixels, got dtype int64",
        ),
    ):
        with pytest.raises(ValueError, match=f"^train_images: {message}"):
            on_cpu(data, recipe)
    message = "train_images: inputs reach 2.. but should lie between 0 and 1"
    with pytest.warns(ann.TrainingWarning, match=message):
        on_cpu(with_images(dataset, images.astype(np.float32)))


@pytest.mark.parametrize(
    ("backend", "recipe"),
    [
        *((name, EVERYTHING) for name in BACKENDS),
        ("numpy", SMALL),
        ("numpy", small(adversarial=0.5, committee=2)),
    ],
    indirect=["backend"],
)
@pytest.mark.slow
def test_equal_weights_change_nothing(backend, dataset, recipe):
    plain, _ = trained(backend, dataset, recipe)
    weighted, _ = trained(backend, dataset, recipe, weights=np.full(500, 3))
    close(weighted, plain, 1e-5)


@slow_on_strict
def test_a_weight_counts_like_several_images(backend, dataset):
    """With whole batches, where the order does not matter. An image with weight 0 changes
    nothing.
    """
    times = np.arange(500) % 4
    images, labels = dataset.train_images.repeat(times, axis=0), dataset.train_labels.repeat(times)
    repeated = ann.Dataset(images, labels, None, None)
    whole = small(epochs=20, validation=0, batch_size=500)
    of_repeated = dataclasses.replace(whole, batch_size=len(labels))
    one, reports = trained(backend, repeated, of_repeated)
    other, others = trained(backend, dataset, whole, weights=times)
    plain, _ = trained(backend, dataset, whole)
    close(other, one, 1e-4)
    assert others[-1].loss == pytest.approx(reports[-1].loss, rel=1e-4)
    with pytest.raises(AssertionError):
        close(plain, one, 1e-2)


def test_weights_that_do_not_fit(dataset):
    weights = np.ones(500)
    for wrong, message in (
        (weights[1:], r"expected numbers of shape \(500,\), got \(499,\)"),
        (-weights, "expected numbers of at least 0, got -1.0 at index 0"),
        (weights * np.nan, "expected finite float32 numbers"),
        (weights * 0, "all training images have weight zero"),
        ("ones", "expected a NumPy array"),
    ):
        with pytest.raises(ValueError, match=f"weights: {message}"):
            on_cpu(dataset, weights=wrong)
    weights[:440] = 0
    with pytest.raises(ValueError, match="all training images have weight zero"):
        on_cpu(dataset, weights=weights)


def test_weights_belong_to_the_run(dataset, tmp_path):
    """A run cannot be resumed with other weights."""
    weights, place = np.linspace(0.5, 2, 500), ann.Checkpoints(tmp_path / "checkpoint.npz")
    whole, _ = on_cpu(dataset, weights=weights)
    batches = iter(range(1000))
    stop = lambda size: next(batches) == 20  # noqa: E731
    on_cpu(dataset, weights=weights, checkpoints=place, on_batch=stop)
    for other in (None, weights[::-1]):
        with pytest.raises(ann.CheckpointError):
            on_cpu(dataset, weights=other, checkpoints=place)
    again, _ = on_cpu(dataset, weights=weights, checkpoints=place)
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_the_recipe_is_kept_in_the_network(dataset):
    net, _ = on_cpu(dataset)
    assert net.recipe["epochs"] == 4 and net.recipe["batch_size"] == 32
    assert "hidden" not in net.recipe  # the network says itself what it is


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden", (0,)),
        ("hidden", 5),
        ("activation", "x"),
        ("output_activation", "tanh"),
        ("loss", "x"),
        ("optimizer", "x"),
        ("schedule", "x"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("momentum", 1.0),
        ("weight_decay", -1e-9),
        ("label_smoothing", 1.0),
        ("dropout", 1.0),
        ("input_dropout", -0.1),
        ("rotation", 180.0),
        ("scaling", 1.0),
        ("shear", 90.0),
        ("shift", -1.0),
        ("elastic", -1.0),
        ("clip", -1),
        ("max_norm", float("inf")),
        ("average", 1.0),
        ("batch_norm", 1),
        ("batch_size", 0),
        ("batch_size", 10.0),
        ("committee", 0),
        ("epochs", 0),
        ("warmup", 1.0),
        ("validation", -1),
    ],
)
def test_recipes_are_checked(field, value):
    with pytest.raises(ValueError, match=r"expected|unknown|needs"):
        ann.Recipe(**{field: value})


def test_recipe_flags_name_every_changed_field():
    assert ann.Recipe().flags() == []
    other = {
        field.name: {float: 0.25, int: 3, str: "tanh", bool: True, tuple: ()}[
            type(getattr(ann.Recipe(), field.name))
        ]
        for field in dataclasses.fields(ann.Recipe)
    }
    other |= {"output_activation": "softmax", "loss": "quadratic"}
    other |= {"optimizer": "sgd", "schedule": "step"}
    words = ann.Recipe(**other | {"adversarial": 0.0}).flags()  # which batch_norm excludes
    assert words[:2] == ["--hidden", "none"]
    names = [word.removeprefix("--") for word in words if word.startswith("--")]
    assert names == [name.replace("_", "-") for name in other if name != "adversarial"]
    assert ann.Recipe(adversarial=0.5).flags() == ["--adversarial", "0.5"]


@pytest.mark.parametrize("fields", [{}, {"average": 0.9}, {"batch_norm": True}])
def test_an_interrupted_network_keeps_what_it_has_learnt_and_reports_the_epochs(dataset, fields):
    counts = itertools.count(1)

    def interrupt(images):
        if next(counts) == 49:  # of 14 steps an epoch
            raise KeyboardInterrupt

    recipe = SMALL.changed(**fields)
    net = network_of(ann.get_backend("cpu"), 64, 16, 10, seed=4)
    before = net.evaluate(dataset.test_images, dataset.test_labels).loss
    with pytest.raises(KeyboardInterrupt, match=r"after 3\.50 of 4 epochs; the network keeps"):
        ann.fit(net, dataset, recipe, on_batch=interrupt)
    assert net.evaluate(dataset.test_images, dataset.test_labels).loss < before


@pytest.mark.parametrize("fields", [{}, {"average": 0.9}, {"batch_norm": True}])
def test_an_interrupted_first_step_changes_nothing(dataset, fields, monkeypatch):
    def interrupt(step):
        raise KeyboardInterrupt

    monkeypatch.setattr(Step, "__call__", interrupt)
    net = network_of(ann.get_backend("cpu"), 64, 16, 10, seed=4)
    before = net.parameters.copy()
    with pytest.raises(KeyboardInterrupt, match=r"after 0\.00 of 4 epochs; the network"):
        ann.fit(net, dataset, SMALL.changed(**fields))
    np.testing.assert_array_equal(net.parameters, before)


def test_the_progress_bar(dataset, capsys):
    optional("tqdm")
    _, reports = on_cpu(dataset, callbacks=[ann.ProgressBar(SMALL, dataset)])
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("100%|") and "1.76k/1.76k" in last and reports[-1].result() in last
