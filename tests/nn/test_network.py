import copy
import json
import pickle
import threading

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.layer_list import describe_shape
from ann.nn.losses import get_loss
from support.backends import assert_device_array
from support.gradients import assert_gradient
from support.networks import network_of

CLASSROOM = [
    {"input_dim": 784, "output_dim": 128, "activation": "sigmoid"},
    {"input_dim": 128, "output_dim": 32, "activation": "sigmoid"},
    {"input_dim": 32, "output_dim": 10, "activation": "sigmoid"},
]


def batch(rng, count=6, inputs=5, classes=3, dtype=np.float64):
    return rng.random((count, inputs)).astype(dtype), rng.integers(0, classes, count)


@pytest.mark.parametrize(
    ("activation", "output", "loss"),
    [(name, "sigmoid", "cross-entropy") for name in ACTIVATIONS]
    + [("tanh", "softmax", "cross-entropy")]
    + [("tanh", name, "quadratic") for name in ACTIVATIONS],
)
def test_gradient_of_whole_networks(backend, activation, output, loss, rng):
    net = network_of(
        backend, 5, 6, 4, 3, activation=activation, output=output, loss=loss, dtype="float64"
    )
    x, labels = batch(rng)
    targets = np.eye(3)[labels]
    start = backend.to_host(net.parameters).copy()

    def value(vector):
        net.parameters[...] = backend.from_host(vector)
        logits = net.network.forward(backend.from_host(x))
        return float(net.network.loss.value(backend, logits, backend.from_host(targets)))

    net.network.compute_gradients(backend.from_host(x), backend.from_host(targets))
    assert_gradient(value, backend.to_host(net.network.gradients).copy(), start, rng)


def test_the_public_example():
    net = ann.NeuralNetwork(CLASSROOM, loss="cross-entropy", device="cpu", seed=0)
    X = np.random.default_rng(0).random((100, 784), dtype=np.float32)
    Y = np.arange(100) % 10
    first = net.train_batch(X, Y, 0.5)
    for _ in range(20):
        last = net.train_batch(X, np.eye(10)[Y], 0.5)
    assert last < first
    assert net.apply(X).shape == (100, 10)
    assert net.apply(X).dtype == np.float32
    np.testing.assert_array_equal(net.predict(X), net.apply(X).argmax(axis=1))


@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
def test_pixels_are_inputs_times_255(backend, activation, rng):
    pixels, labels = rng.integers(0, 256, (7, 5), dtype=np.uint8), rng.integers(0, 3, 7)
    nets = [network_of(backend, 5, 4, 3, activation=activation, dtype="float64") for _ in range(2)]
    losses = [
        net.train_batch(x, labels, 0.5) for net, x in zip(nets, (pixels, pixels / 255), strict=True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    np.testing.assert_allclose(
        *(backend.to_host(net.parameters) for net in nets), rtol=1e-10, atol=1e-14
    )
    np.testing.assert_allclose(nets[0].apply(pixels), nets[0].apply(pixels / 255), rtol=1e-12)


def test_train_batch_is_one_plain_gradient_step(backend, rng):
    net = network_of(backend, 5, 4, 3)
    x, labels = batch(rng, dtype=np.float32)
    net.network.compute_gradients(
        backend.from_host(x), backend.from_host(np.eye(3, dtype=np.float32)[labels])
    )
    expected = backend.to_host(net.parameters) - np.float32(0.25) * backend.to_host(
        net.network.gradients
    )
    parameters, gradients = net.parameters, net.network.gradients
    loss = net.train_batch(x, labels, 0.25)
    assert type(loss) is float
    np.testing.assert_allclose(backend.to_host(net.parameters), expected, rtol=0, atol=1e-7)
    assert (
        net.parameters is parameters and net.network.gradients is gradients
    )  # views of the layers stay true
    assert_device_array(backend, net.parameters, (5 * 4 + 4 * 3 + 4 + 3,))


def test_layers_are_views_of_one_vector(backend):
    net = network_of(backend, 5, 4, 3)
    net.parameters[...] = backend.from_host(np.arange(39, dtype=np.float32))
    assert [weight.size for weight in net.network.weights()] == [20, 12]
    (weight1, bias1), (weight2, bias2) = net.weights_and_biases()
    np.testing.assert_array_equal(weight1, np.arange(20).reshape(5, 4))
    np.testing.assert_array_equal(weight2, np.arange(20, 32).reshape(4, 3))
    np.testing.assert_array_equal(bias1, [32, 33, 34, 35])
    np.testing.assert_array_equal(bias2, [36, 37, 38])
    before = backend.to_host(net.parameters).copy()
    weight1[...] = bias2[...] = 0  # copies
    np.testing.assert_array_equal(backend.to_host(net.parameters), before)


def test_gradients_are_means_over_images_with_their_weights(backend, rng):
    """Batches of any size, one after another, give the same as images one by one."""
    net = network_of(backend, 5, 4, 3, dtype="float64").network
    x, labels = batch(rng)
    targets, weights = np.eye(3)[labels], rng.random((6, 1))

    def gradients(chosen, **options):
        inputs = (backend.from_host(array[chosen].copy()) for array in (x, targets))
        logits, dx = net.backpropagate(*inputs, **options)
        assert logits.shape == targets[chosen].shape and dx is None
        return backend.to_host(net.gradients).copy()

    alone = np.stack([gradients(slice(n, n + 1)) for n in range(6)])
    np.testing.assert_allclose(gradients(slice(6)), alone.mean(axis=0), rtol=1e-10)
    first = gradients(slice(4))
    np.testing.assert_allclose(first, alone[:4].mean(axis=0), rtol=1e-10)
    expected = (0.5 * weights * alone).mean(axis=0) + 0.25 * first
    found = gradients(slice(6), scale=0.5, weights=backend.from_host(weights), accumulate=0.25)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_arguments_are_not_changed(backend, rng):
    net = network_of(backend, 5, 4, 3)
    x, labels = batch(rng, dtype=np.float32)
    x_before, labels_before = x.copy(), labels.copy()
    net.train_batch(x, labels, 0.1)
    net.apply(x)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(labels, labels_before)


def test_images_may_have_rows_and_columns(backend, rng):
    net = network_of(backend, 6, 4, 3)
    pixels = rng.integers(0, 256, (5, 2, 3), dtype=np.uint8)
    for images in (pixels, rng.random((5, 2, 3), dtype=np.float32)):
        np.testing.assert_array_equal(net.apply(images), net.apply(images.reshape(5, 6)))


def test_float64_networks_take_what_float64_holds(backend):
    net = network_of(backend, 5, 4, 3, dtype="float64")
    message = r"X: inputs reach 1e\+100"  # which is large for an input
    with pytest.warns(ann.TrainingWarning, match=message):
        assert np.isfinite(net.apply(np.full((1, 5), 1e100))).all()


def test_start_from_given_parameters(backend):
    net = network_of(backend, 5, 4, 3)
    for dtype in ("int64", "uint8", ">f4", "float16"):
        given = np.arange(39, dtype=dtype)
        twin = ann.NeuralNetwork(net.layer_list, device=backend, parameters=given)
        np.testing.assert_array_equal(backend.to_host(twin.parameters), np.arange(39))


def test_repr_describes_the_network():
    layers = "784 -> 128 sigmoid -> 32 sigmoid -> 10 sigmoid"
    expected = f"<NeuralNetwork {layers}, cross-entropy, on cpu>"
    assert repr(ann.NeuralNetwork(CLASSROOM)) == expected


def test_shapes_are_described():
    assert describe_shape(CLASSROOM) == "784-128-32-10"
    assert describe_shape(CLASSROOM[:1]) == "784-128"


def test_seeds(backend):
    vectors = [
        backend.to_host(network_of(backend, 5, 4, 3, seed=seed).parameters) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert (vectors[0] != vectors[2]).any()


def test_large_inputs_are_applied_in_chunks(backend, rng):
    net = network_of(backend, 5, 4, 3)
    x = rng.random((2345, 5), dtype=np.float32)
    np.testing.assert_allclose(net.apply(x)[1990:2010], net.apply(x[1990:2010]), rtol=1e-5)


def test_apply_from_many_threads():
    net = ann.NeuralNetwork(CLASSROOM)
    inputs = [np.random.default_rng(seed).random((50, 784), dtype=np.float32) for seed in range(4)]
    expected = [net.apply(x) for x in inputs]
    failures = []

    def work(index):
        for _ in range(30):
            if not np.array_equal(net.apply(inputs[index]), expected[index]):
                failures.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_copies_are_complete_and_independent(backend, duplicate, rng):
    net = network_of(backend, 5, 4, 3, activation="tanh", output="softmax", seed=3)
    x, labels = batch(rng, dtype=np.float32)
    net.train_batch(x, labels, 0.1)
    twin = duplicate(net)
    is_copy = duplicate in (copy.copy, copy.deepcopy)
    assert twin.backend.name == (backend.name if is_copy else "cpu")
    np.testing.assert_array_equal(
        twin.backend.to_host(twin.parameters), backend.to_host(net.parameters)
    )
    np.testing.assert_allclose(twin.apply(x), net.apply(x), rtol=1e-6)
    twin.train_batch(x, labels, 0.1)
    assert (twin.backend.to_host(twin.parameters) != backend.to_host(net.parameters)).any()


def test_a_pickle_holds_host_arrays_only(backend):
    data = pickle.dumps(network_of(backend, 5, 4, 3))
    assert b"cupy" not in data and b"array_api_strict" not in data


LAYER = {"input_dim": 5, "output_dim": 3, "activation": "sigmoid"}


NO_WIDTH = "layer 1: output_dim: expected a whole number of at least 1, got"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers: expected a list of at least one layer"),
        ("sigmoid", "layers: expected a list"),
        (np.zeros((99, 99)), r"layers: expected a list .*, got array\(\[\[0\., .*\.\.\.$"),
        ([LAYER, {**LAYER, "input_dim": 4}], "layer 2: input_dim is 4, but layer 1 has output_dim"),
        ([{**LAYER, "activation": "sigmoyd"}], "layer 1: unknown activation 'sigmoyd'"),
        ([{**LAYER, "activation": None}], "layer 1: unknown activation None"),
        ([LAYER, {"input_dim": 3}], "layer 2: expected a dict with input_dim, output_dim, activ"),
        ([{**LAYER, "colour": 1}], "layer 1: expected a dict with"),
        ([{**LAYER, "output_dim": 0}], f"{NO_WIDTH} 0"),
        ([{**LAYER, "output_dim": 2.0}], rf"{NO_WIDTH} 2\.0"),
        ([{**LAYER, "output_dim": True}], f"{NO_WIDTH} True"),
        pytest.param(
            [{**LAYER, "output_dim": [10**5000]}],
            f"{NO_WIDTH} a list that cannot be printed",
            id="digits",
        ),
    ],
)
def test_bad_layer_lists(layers, message):
    with pytest.raises(ValueError, match=message):
        ann.NeuralNetwork(layers)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "hinge", "unknown loss 'hinge'"),
        ("loss", np.array(["quadratic"]), "unknown loss array"),
        ("seed", np.timedelta64(5, "s"), "seed: expected a whole number"),
        ("seed", -1, "seed: expected a whole number of at least 0, got -1"),
        ("seed", 1.5, "seed: expected a whole number"),
        ("seed", 2**63, r"seed: expected a whole number below 2\^63"),
        ("parameters", np.zeros(1), r"expected numbers of shape \(18,\), got \(1,\) of float64"),
        ("parameters", np.full(18, np.nan), "parameters: expected finite float32 numbers, got nan"),
        ("parameters", "zero", "parameters: expected a NumPy array, got builtins.str"),
        ("dtype", "float16", "dtype: expected 'float32' or 'float64', got 'float16'"),
        ("dtype", np.dtype("float64"), r"dtype: expected .*, got dtype\('float64'\)"),
        ("device", "tpu", "device: unknown 'tpu'; known: auto, cpu, gpu; did you mean gpu\\?$"),
        ("device", "cuda:0", "device: unknown 'cuda:0'; known: .*; did you mean gpu\\?$"),
        ("device", np.array(["cpu", "gpu"]), "device: unknown array"),
    ],
)
def test_bad_arguments(name, value, message):
    with pytest.raises(ValueError, match=message):
        ann.NeuralNetwork([LAYER], **{name: value})


X, Y = np.zeros((4, 5), dtype=np.float32), np.array([0, 1, 2, 0])


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_probabilities_are_shares_of_the_outputs(backend, output, rng):
    net = network_of(backend, 5, 3, output=output)
    images = rng.random((4, 5))
    found, outputs = net.predict_proba(images), net.apply(images)
    np.testing.assert_allclose(found, outputs / outputs.sum(axis=1, keepdims=True), rtol=1e-5)
    net.parameters[...] = net.parameters * 0 - 1000.0  # all sigmoids are 0
    np.testing.assert_allclose(net.predict_proba(images), 1 / 3, rtol=1e-5)


class Stranger:
    """Like an array on a GPU, which cannot be converted implicitly."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("use get()\ninstead")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 6), np.float32), r"shape \(N, 5\) with N at least 1, got \(4, 6\)"),
        (np.zeros((0, 5), np.float32), r"shape .* got \(0, 5\)"),
        (np.zeros(5, np.float32), r"shape .* got \(5,\); a single image x is x\[None\]"),
        (np.zeros((0, 5, 1), np.uint8), r"shape .* got \(0, 5, 1\)"),
        (
            np.zeros((4, 5, 1, 1), np.uint8),
            r"shape .* got \(4, 5, 1, 1\); reshape images x with x.",
        ),
        (
            np.zeros((4, 5), np.int64),
            "floats, or uint8 pixels, got dtype int64; convert pixels from 0 to 255 with",
        ),
        (np.zeros((4, 5), bool), "floats, or uint8 pixels, got dtype bool"),
        (np.full((4, 5), "a"), "floats, or uint8 pixels, got dtype <U1"),
        (np.full((4, 5), None), "floats, or uint8 pixels, got dtype object"),
        (np.full((4, 5), np.nan, np.float32), r"finite float32 numbers, got nan at \[0, 0\]"),
        (np.where(np.eye(4, 5) > 0, np.inf, 0), r"finite float32 numbers, got inf at \[0, 0\]"),
        (np.full((4, 5), 1e300), r"finite float32 numbers, got 1e\+300 at"),
        (
            Stranger(),
            r"a NumPy array, got test_network\.Stranger, which cannot be converted: "
            r"use get\(\) instead",
        ),
        (
            [Stranger()],
            r"a NumPy array, got builtins\.list, which cannot be converted: use get\(\) instead",
        ),
        (None, "a NumPy array, got builtins.NoneType"),
        (
            np.ma.array(np.zeros((4, 5)), mask=True),
            "a NumPy array, got numpy.ma.MaskedArray; fill in the masked values",
        ),
        ([[1.0], [1.0, 2.0]], "a NumPy array, got rows of unequal lengths"),
    ],
)
def test_bad_inputs(backend, x, message):
    net = network_of(backend, 5, 4, 3)
    for call in (lambda: net.apply(x), lambda: net.train_batch(x, Y, 0.1), lambda: net.predict(x)):
        with pytest.raises(ValueError, match=f"^X: expected {message}"):
            call()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 2, 3], "labels from 0 to 2, got 3 at index 3"),
        ([0, -1, 2, 0], "labels from 0 to 2, got -1 at index 1"),
        ([0, 1, 2], "4 labels, one for each image, got 3"),
        (
            [0.0, 1.0, 2.0, 0.0],
            r"shape \(4, 3\), or \(4,\) integer labels, got \(4,\) of float64",
        ),
        (np.zeros((4, 2)), r"shape \(4, 3\)"),
        (np.zeros(4, "m8[s]"), "integer labels or rows of numbers, got dtype timedelta64"),
        (np.full((4, 3), np.nan), "finite float32 numbers, got nan"),
        (np.full((4, 3), 2.0), "rows of numbers from 0 to 1 for this loss, got 2.0 to 2.0"),
        (np.full((4, 3), "a"), "integer labels or rows of numbers, got dtype <U1"),
        (None, "a NumPy array"),
    ],
)
def test_bad_targets(backend, y, message):
    net = network_of(backend, 5, 4, 3)
    before = backend.to_host(net.parameters).copy()
    with pytest.raises(ValueError, match=f"^Y: expected {message}"):
        net.train_batch(X, y, 0.1)
    np.testing.assert_array_equal(backend.to_host(net.parameters), before)


def test_numpy_numbers_become_python_numbers(backend, tmp_path, rng):
    """They would promote arrays to float64, and files that hold them could not be read."""
    layers = [
        {"input_dim": np.int64(5), "output_dim": np.uint8(3), "activation": np.str_("sigmoid")}
    ]
    net = ann.NeuralNetwork(layers, loss=np.str_("quadratic"), device=backend, seed=np.int32(7))
    net.train_batch(X, np.eye(4, 3, dtype=bool), np.float64(0.1))
    net.train_batch(X, Y, np.float32(0.1))
    recipe = ann.Recipe(
        learning_rate=np.float64(0.1), batch_size=np.int64(3), optimizer=np.str_("adam")
    )
    net.recipe = recipe.training_fields()
    net.save(tmp_path / "model")
    assert ann.load_model(tmp_path / "model").recipe == net.recipe


def test_softmax_targets_sum_to_one(backend):
    net = network_of(backend, 5, 4, 3, output="softmax")
    with pytest.raises(
        ValueError, match=r"Y: expected rows that sum to 1 for this loss, got 0\.0 in row 0"
    ):
        net.train_batch(X, np.zeros((4, 3)), 0.1)


@pytest.mark.parametrize(
    "rate",
    [
        *(0, -1, float("nan"), float("inf"), 10**400, pytest.param(-(10**5000), id="huge")),
        *(np.timedelta64(5), "fast", None, True),
    ],
)
def test_bad_learning_rates(rate):
    net = ann.NeuralNetwork([LAYER])
    with pytest.raises(ValueError, match="learning_rate: expected a number above 0, got"):
        net.train_batch(X, Y, rate)


def test_quadratic_loss_takes_any_targets(rng):
    net = ann.NeuralNetwork(
        [{"input_dim": 2, "output_dim": 1, "activation": "identity"}], loss="quadratic"
    )
    x = rng.standard_normal((50, 2))
    for _ in range(300):
        net.train_batch(x, x @ [[2.0], [-3.0]] + 5, 0.3)
    [(weight, bias)] = net.weights_and_biases()
    np.testing.assert_allclose(weight, [[2], [-3]], atol=1e-3)
    np.testing.assert_allclose(bias, [5], atol=1e-3)


def test_learns_xor():
    layers = ann.Recipe(hidden=(8,), activation="tanh").layer_list(2, 1)
    net = ann.NeuralNetwork(layers, seed=1)
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    for _ in range(2000):
        net.train_batch(x, y, 0.5)
    np.testing.assert_array_equal(net.apply(x) > 0.5, y > 0.5)


def test_every_loss_states_its_targets():
    assert get_loss("cross-entropy", "softmax").targets == "distribution"
    assert get_loss("cross-entropy", "sigmoid").targets == "unit"
    assert get_loss("quadratic", "tanh").targets == "any"


def test_the_description_of_a_network_cannot_become_wrong(rng):
    """No attribute can be changed so that the repr or the saved file describes another network."""
    net = network_of(ann.get_backend("cpu"), 5, 4, 3, activation="tanh")
    before, file, expected = repr(net), net.to_bytes(), net.layer_list
    net.layer_list[0]["activation"] = "relu"
    net.layer_list.pop()
    assert isinstance(net.network.layers, tuple)
    names = ["layer_list", "loss_name", "seed", "seeds", "committee", "dtype_name", "input_dim"]
    for name in (*names, "output_dim", "backend", "parameters", "network"):
        message = f"^{name} cannot be replaced; change arrays in place"
        with pytest.raises(AttributeError, match=message):
            setattr(net, name, None)
    assert (repr(net), net.to_bytes(), net.layer_list) == (before, file, expected)
    assert json.loads(json.dumps(net.layer_list)) == expected


def test_numbers_that_overflow_are_no_warning(backend, rng):
    """The warning, an error in the tests, would hide the error that ``fit`` raises after
    divergence.
    """
    x, labels = batch(rng, dtype=np.float32)
    for activation, output, loss in (
        ("relu", "softmax", "cross-entropy"),
        ("gelu", "identity", "quadratic"),
    ):
        net = network_of(
            backend, 5, 4, 3, activation=activation, output=output, loss=loss, committee=2
        )
        net.parameters[...] = net.parameters * 1e30
        net.predict(x)
        losses = [net.train_batch(x, np.eye(3)[labels], 1e38) for _ in range(4)]
        assert not np.isfinite(losses[-1])
        net.apply(x)
        net.predict_proba(x)
    with pytest.warns(ann.TrainingWarning, match=r"X: inputs reach 3e\+38"):
        net.apply(np.full((4, 5), 3e38, np.float32))


def test_numpy_s_error_handling_changes_nothing_in_predictions(rng):
    net = network_of(ann.get_backend("cpu"), 5, 4, 3)
    net.parameters[-3:] = -60.0
    tiny = 1e-45 * rng.random((6, 5))
    expected = net.predict_proba(tiny)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(net.predict_proba(tiny), expected)


def test_parameters_can_be_written(rng):
    net = network_of(ann.get_backend("cpu"), 5, 4, 3)
    net.parameters += 1
    net.network.layers[0].weight += 1
    net.network.layers[-1].bias[...] = 7
    twin = ann.NeuralNetwork(net.layer_list, parameters=net.parameters)
    x = rng.random((6, 5))
    np.testing.assert_array_equal(twin.apply(x), net.apply(x))
    np.testing.assert_array_equal(net.parameters[-3:], 7)


def test_members_and_committees_share_no_recipe():
    nets = [network_of(ann.get_backend("cpu"), 5, 4, 3, seed=seed) for seed in (0, 1)]
    for net in nets:
        net.recipe = {"epochs": 3}
    joined = ann.committee_of(nets)
    joined.member(0).recipe["epochs"] = 5
    joined.recipe["epochs"] = 4
    assert nets[0].recipe == nets[1].recipe == {"epochs": 3}


def test_few_names_are_public():
    names = [name for name in dir(ann.NeuralNetwork([LAYER])) if not name.startswith("_")]
    assert not {"layers", "forward", "backward", "logits", "gradients", "xp", "leading"} & {*names}
    assert len(names) <= 28


@pytest.mark.parametrize("committee", [1, 2])
def test_evaluate(backend, committee, rng):
    net = network_of(backend, 5, 4, 3, output="softmax", committee=committee)
    x, labels = rng.integers(0, 256, (2500, 5), dtype=np.uint8), rng.integers(0, 3, 2500)
    found = net.evaluate(x, labels)
    members = [net.member(number) for number in range(committee)] if committee > 1 else [net]
    losses = [-np.log(one.apply(x)[np.arange(2500), labels]).mean() for one in members]
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.errors == (net.predict(x) != labels).sum() and found.count == 2500
    assert found.accuracy == (2500 - found.errors) / 2500  # 0.117, not 0.11699999999999999
    assert net.evaluate(x, np.eye(3)[labels]) == found


def test_evaluate_with_a_single_output(backend, rng):
    net = network_of(backend, 5, 1)
    x = rng.random((50, 5), dtype=np.float32)
    for target in (0, 1):  # a row of one 1 looks like a one-hot row
        wrong = (net.apply(x) > 0.5) != target
        assert net.evaluate(x, np.full((50, 1), target)).errors == wrong.sum()
    assert net.evaluate(x, np.zeros(50, int)).errors == wrong.sum()  # class 0 is a target of 1


def test_evaluate_with_several_labels(backend, rng):
    net = network_of(backend, 5, 4, 3)
    x, targets = rng.random((50, 5), dtype=np.float32), (rng.random((50, 3)) < 0.5).astype(float)
    wrong = ((net.apply(x) > 0.5) != (targets > 0.5)).any(axis=1)
    assert net.evaluate(x, targets).errors == wrong.sum()
    message = r"^Y: expected shape \(50, 3\), or \(50,\) integer labels"
    with pytest.raises(ValueError, match=message):
        net.evaluate(x, targets[:4])
