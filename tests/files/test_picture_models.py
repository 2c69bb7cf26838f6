"""Model files of networks with convolution: version 4, and what a stranger may have written."""

import copy

import numpy as np
import pytest

import ann
from ann.files.model_file import read_model
from ann.files.model_schema import check_contents, checksum
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
        (0, {"kernel": [3]}, r"layer 1: 'kernel' is \[3\]"),
        (0, {"input_shape": [1, 9, 8]}, "layer 2: size 2 does not divide its image, 4x7x6"),
        (0, {"input_shape": [1, 2**20, 2**20]}, "layer 3: input_dim is 36, but layer 2 gives"),
        (0, {"activation": "softsign"}, "layer 1: unknown activation 'softsign'"),
        (0, {"weight": NAN}, "layer 1: weight holds numbers that are not finite"),
        (0, {"weight": "none"}, "layer 1: weight is not an array"),
        (0, {"bias": np.zeros((2, 4), "<f4")}, "layer 1: bias has another number of members"),
        (0, {"stride": None}, "layer 1: 'stride' is None"),
        (1, {"size": 0}, "layer 2: 'size' is 0"),
        (1, {"weight": NAN}, "layer 2 has an unknown field, 'weight'"),
        (1, {"colour": 1}, "layer 2: expected a dict with type, size; 'colour' is unknown"),
        (2, {"input_dim": 35}, r"layer 3: weight has shape \(36, 6\), expected \(35, 6\)"),
    ],
)
def test_what_a_stranger_may_have_written(contents, number, changes, message):
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
    """Pictures of 2^20 x 2^20 pixels need few weights, but no memory holds one."""
    changed = copy.deepcopy(contents)
    conv = changed["layers"][0] | {"input_shape": [1, 2**20, 2**20]}
    pool = {"type": "max_pool2d", "size": 2**19}
    conv |= {"kernel": 1, "weight": np.zeros((1, 4), "<f4")}
    dense = changed["layers"][2] | {"input_dim": 16, "weight": np.zeros((16, 6), "<f4")}
    changed |= {"layers": [conv, pool, dense, changed["layers"][3]], "examples": None}
    changed["sha256"] = checksum(changed)
    with pytest.raises(ValueError, match="layers of more than 16777216 numbers"):
        check_contents(changed)


def test_dense_models_keep_their_version(tmp_path):
    network_of(ann.get_backend("cpu"), 5, 4, 3).save(tmp_path / "model.pickle")
    assert read_model(tmp_path / "model.pickle")["version"] == 3
