"""Model files of networks with convolution: version 4, and what a stranger may have written."""

import copy
import re

import numpy as np
import pytest
from hostile.harness import assert_no_model

import ann
from ann.files.model_file import read_model
from ann.files.model_schema import check_contents, checksum
from support.model_files import model_bytes
from support.networks import network_of
from support.pictures import CONV_LIST


@pytest.mark.parametrize("committee", [1, 3])
def test_a_model_is_saved_and_loaded(committee, tmp_path, rng):
    net = ann.NeuralNetwork(CONV_LIST, committee=committee)
    images = rng.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    net.train_batch(images, np.arange(30) % 10, 0.1)
    net.save(tmp_path / "model.pickle")
    again = ann.load_model(tmp_path / "model.pickle")
    np.testing.assert_array_equal(again.apply(images), net.apply(images))
    assert again.layer_list == net.layer_list
    assert again.to_bytes() == net.to_bytes()
    contents = read_model(tmp_path / "model.pickle")
    assert contents["version"] == 4 and contents["examples"] is not None


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pickle"
    ann.NeuralNetwork(CONV_LIST).save(path)
    return read_model(path)


NAN = np.full((9, 4), np.nan, dtype="<f4")


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (0, {"type": "conv3d"}, "layer 1: unknown type 'conv3d'"),
        (0, {"type": 3}, "layer 1: unknown type 3"),
        (0, {"filters": 5}, "layer 3: input_dim is 36, but layer 2 gives 5x3x3 = 45 numbers"),
        (0, {"weight": NAN[:8]}, r"layer 1: weight has shape \(8, 4\), expected \(9, 4\)"),
        (0, {"filters": 2**21}, "layer 1: 'filters' is 2097152"),
        (0, {"filters": True}, "layer 1: 'filters' is True"),
        (0, {"kernel": 9}, "layer 1: kernel 9 is larger than its image, 8x8"),
        (0, {"kernel": [3]}, r"layer 1: kernel: expected a whole number of at least 1, got \[3\]"),
        (0, {"input_shape": [1, 9, 8]}, "layer 2: size 2 does not divide its image, 4x7x6"),
        (0, {"input_shape": [1, 2**20, 2**20]}, "layer 3: input_dim is 36, but layer 2 gives"),
        (0, {"activation": "softsign"}, "layer 1: unknown activation 'softsign'"),
        (0, {"weight": NAN}, "layer 1: weight holds numbers that are not finite"),
        (0, {"weight": "none"}, "layer 1: weight is not an array"),
        (0, {"bias": np.zeros((2, 4), "<f4")}, "layer 1: bias has a different number of members"),
        (0, {"stride": None}, "layer 1: 'stride' is None"),
        (1, {"size": 0}, "layer 2: 'size' is 0"),
        (1, {"weight": NAN}, "layer 2 has an unknown field, 'weight'"),
        (1, {"colour": 1}, "layer 2: expected a dict with type, size; 'colour' is unknown"),
        (2, {"input_dim": 35}, "layer 3: input_dim is 35, but layer 2 gives 4x3x3 = 36 numbers"),
    ],
)
def test_wrong_model_files_of_strangers(contents, number, changes, message):
    changed = copy.deepcopy(contents)
    changed["layers"][number] |= changes
    changed["sha256"] = checksum(changed)
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        check_contents(changed)
    assert "\n" not in str(caught.value)


def test_missing_arrays_and_wrong_versions(contents):
    changed = copy.deepcopy(contents)
    del changed["layers"][0]["weight"]
    changed["sha256"] = checksum(changed)
    with pytest.raises(ValueError, match="layer 1 lacks 'weight'"):
        check_contents(changed)
    with pytest.raises(ValueError, match="its version is 3, expected 4"):
        check_contents({**contents, "version": 3})


def test_a_network_too_wide_for_the_self_test_is_refused(contents):
    """Pictures of 2^20 x 2^20 pixels need few weights, but do not fit into any memory."""
    changed = copy.deepcopy(contents)
    conv = changed["layers"][0] | {"input_shape": [1, 2**20, 2**20]}
    pools = [{"type": "max_pool2d", "size": size} for size in (8, 8, 8, 8, 8, 8, 2)]
    conv |= {"kernel": 1, "weight": np.zeros((1, 4), "<f4")}
    dense = changed["layers"][2] | {"input_dim": 16, "weight": np.zeros((16, 6), "<f4")}
    changed |= {"layers": [conv, *pools, dense, changed["layers"][3]], "examples": None}
    changed["sha256"] = checksum(changed)
    with pytest.raises(ValueError, match="layers of more than 2097152 numbers"):
        check_contents(changed)


def conv(channels, filters, kernel, shape=None, members=(), **options):
    """A convolution in a model file; all weights are 0."""
    first = {} if shape is None else {"input_shape": list(shape)}
    return {
        **first,
        "type": "conv2d",
        "filters": filters,
        "kernel": kernel,
        "stride": 1,
        "padding": "valid",
        "activation": "identity",
        "weight": np.zeros((*members, channels * kernel**2, filters), "<f4"),
        "bias": np.zeros((*members, filters), "<f4"),
        **options,
    }


def dense(inputs, members=()):
    """A layer with one output; all weights are 0."""
    return {
        "input_dim": inputs,
        "output_dim": 1,
        "activation": "identity",
        "weight": np.zeros((*members, inputs, 1), "<f4"),
        "bias": np.zeros((*members, 1), "<f4"),
    }


def pools(*sizes, shape=None, kind="max_pool2d"):
    """Pooling layers in a model file."""
    layers = [{"type": kind, "size": size} for size in sizes]
    layers[0] |= {} if shape is None else {"input_shape": list(shape)}
    return layers


FIRST = conv(1, 1, 16, (1, 256, 256), padding="same")
BOMBS = {
    "of wide windows, again and again": (
        [FIRST, *(conv(1, 1, 16, padding="same") for _ in range(60)), *pools(8, 8, 4), dense(1)],
        1,
    ),
    "of many members": (
        [conv(1, 1, 4, (1, 4, 4), members=(2**18,)), dense(1, members=(2**18,))],
        1,
    ),
    "of large squares": ([*pools(8, 8, 8, 2, shape=(1, 1024, 1024)), dense(1)], 1),
    "of large means": (
        [*pools(8, 8, 8, 2, shape=(1, 1024, 1024), kind="average_pool2d"), dense(1)],
        1,
    ),
    "of many layers": ([*pools(*[1] * 4000, shape=(1, 1, 1)), dense(1)], 1),
    "of too many layers": ([*pools(*[1] * 9000, shape=(1, 1, 1)), dense(1)], 1),
    "of some members": (
        [conv(1, 1, 1, (1, 1, 1), members=(2000,)), dense(1, members=(2000,))],
        1,
    ),
    "of a million members": (
        [conv(1, 1, 1, (1, 1, 1), members=(2**20,)), dense(1, members=(2**20,))],
        1,
    ),
    "of much padding": (
        [conv(1, 1, 1000, (1, 1000, 1000), stride=999, padding="same"), dense(4)],
        1,
    ),
    "of thin pictures": (
        [
            conv(1, 16, 1, (1, 2**17, 1)),
            conv(16, 16, 1),
            conv(16, 1, 1, activation="gelu"),
            conv(1, 1, 1, stride=2**17),
            dense(1),
        ],
        1,
    ),
    "of large windows": ([conv(1, 250, 64, (1, 123, 123)), dense(250 * 60**2)], 1),
    "of sixteen images": ([conv(1, 4, 5, (1, 28, 28)), *pools(2), dense(4 * 12 * 12)], 16),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if "many layers" in name else ()) for name in BOMBS],
)
def test_models_that_would_take_all_memory_or_time(name, tmp_path):
    """Only the last output is wrong; small files describe large arrays."""
    layers, count = BOMBS[name]
    layers = [dict(layer) for layer in layers]
    outputs = np.zeros((count, 1), "<f4")
    outputs[-1] = -9
    pixels = np.ones((count, np.prod(layers[0]["input_shape"])), "u1")
    data = model_bytes(layers, examples={"images": pixels, "outputs": outputs})
    message = assert_no_model(tmp_path / "model", data)
    expected = "its self-test fails|too slow to test|more than (4096|2097152|100000) "
    assert re.search(expected, message)


def test_a_network_that_is_too_slow_to_test_is_saved_without_a_self_test(tmp_path):
    layers = [
        {**CONV_LIST[0], "input_shape": [64, 64], "kernel": 32, "padding": "same"},
        *pools(8, 2),
        {"output_dim": 3, "activation": "sigmoid"},
    ]
    net = ann.NeuralNetwork(layers, committee=4)
    net.save(tmp_path / "model.pickle")
    again = ann.load_model(tmp_path / "model.pickle")
    assert again.self_test_images is None
    np.testing.assert_array_equal(again.parameters, net.parameters)


@pytest.mark.parametrize("committee", [1, 2])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "pool"),
    [
        ([2, 9, 7], 4, 1, "same", "max_pool2d"),
        ([2, 9, 7], 4, 3, "same", "average_pool2d"),
        ([9, 11], 2, 3, "valid", "max_pool2d"),
        ([1, 40, 300], 5, 1, "same", "average_pool2d"),
    ],
)
def test_the_self_test_computes_what_the_network_computes(
    shape, kernel, stride, padding, pool, committee, tmp_path, rng
):
    first = {**CONV_LIST[0], "input_shape": shape, "kernel": kernel, "stride": stride}
    layers = [{**first, "padding": padding}, {"type": pool, "size": 1}, *CONV_LIST[2:]]
    net = ann.NeuralNetwork(layers, seed=1, committee=committee)
    net.parameters[...] = rng.standard_normal(net.parameters.shape) / 10
    net.save(tmp_path / "model.pickle")
    test = read_model(tmp_path / "model.pickle")["examples"]
    np.testing.assert_allclose(net.apply(test["images"]), test["outputs"], atol=1e-5)


def test_dense_models_keep_their_version(tmp_path):
    network_of(ann.get_backend("cpu"), 5, 4, 3).save(tmp_path / "model.pickle")
    assert read_model(tmp_path / "model.pickle")["version"] == 3
