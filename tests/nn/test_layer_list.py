import json

import pytest

from ann.nn.layer_list import build_layers, check_layer_list, describe_shape, layer_from
from ann.nn.network import size_of

CONV = {"type": "conv2d", "filters": 16, "kernel": 5, "activation": "relu"}
POOL = {"type": "max_pool2d", "size": 2}
DENSE = {"output_dim": 10, "activation": "softmax"}
NETWORK = [CONV, POOL, {**CONV, "filters": 32}, POOL, {**DENSE, "output_dim": 128}, DENSE]


def test_a_dense_list_stays_as_it_is():
    dense = [
        {"input_dim": 784, "output_dim": 128, "activation": "sigmoid"},
        {"input_dim": 128, "output_dim": 10, "activation": "softmax"},
    ]
    assert json.dumps(check_layer_list(dense)) == json.dumps(dense)
    assert describe_shape(dense) == "784-128-10"


def test_the_checked_list_is_complete():
    checked = check_layer_list(NETWORK)
    conv = {"stride": 1, "padding": "valid"}
    assert checked == [
        {**CONV, **conv, "input_shape": [1, 28, 28]},
        POOL,
        {**CONV, **conv, "filters": 32},
        POOL,
        {"input_dim": 512, "output_dim": 128, "activation": "softmax"},
        {"input_dim": 128, **DENSE},
    ]
    assert check_layer_list(json.loads(json.dumps(checked))) == checked
    assert describe_shape(checked) == "28x28-conv16x5-pool2-conv32x5-pool2-128-10"


@pytest.mark.parametrize(
    ("shape", "text", "inputs"),
    [([9, 6], "9x6", 54), ([1, 9, 6], "9x6", 54), ([3, 9, 6], "3x9x6", 162)],
)
def test_pictures_of_other_sizes(shape, text, inputs):
    pool = {"type": "average_pool2d", "size": 3, "input_shape": shape}
    checked = check_layer_list([pool, DENSE])
    assert checked[0]["input_shape"] == [1, *shape][-3:]
    assert checked[1]["input_dim"] * 9 == inputs
    assert describe_shape(checked) == f"{text}-average3-10"


def test_unusual_convolutions_are_described():
    conv = {**CONV, "stride": 2, "padding": "same"}
    text = "28x28-conv16x5(stride=2,padding=same)-10"
    checked = check_layer_list([conv, DENSE])
    assert describe_shape(checked) == text
    assert checked[1]["input_dim"] == 14 * 14 * 16


def test_layers_are_what_the_list_says():
    checked = check_layer_list([CONV, POOL, {**POOL, "type": "average_pool2d"}, DENSE])
    layers = build_layers(checked)
    expected = [
        "<Conv2D 5x5, 28x28 -> 16x24x24>",
        "<Activation relu>",
        "<MaxPool2D 2x2, 16x24x24 -> 16x12x12>",
        "<AveragePool2D 2x2, 16x12x12 -> 16x6x6>",
        "<Dense 576 -> 10>",
    ]
    assert list(map(repr, layers)) == expected
    assert size_of(layers) == 25 * 16 + 16 + 576 * 10 + 10


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{**CONV, "kernel": 29}, DENSE], "layer 1: kernel 29 is larger than its image, 28x28"),
        (
            [CONV, POOL, {**CONV, "kernel": 13}, DENSE],
            "layer 3: kernel 13 is larger than its image, 16x12x12",
        ),
        (
            [CONV, {**POOL, "size": 5}, DENSE],
            "layer 2: size 5 does not divide its image, 16x24x24",
        ),
        (
            [{"input_dim": 784, **DENSE}, CONV, DENSE],
            "layer 2: conv2d needs pictures, but layer 1 is dense; dense layers come last",
        ),
        (
            [{"input_dim": 784, **DENSE}, POOL, DENSE],
            "layer 2: max_pool2d needs pictures, but layer 1 is dense",
        ),
        (
            [CONV, {"input_dim": 500, **DENSE}],
            "layer 2: input_dim is 500, but layer 1 gives 16x24x24 = 9216 numbers",
        ),
        (
            [{"input_dim": 784, **DENSE}, {"input_dim": 9, **DENSE}],
            "layer 2: input_dim is 9, but layer 1 has output_dim 10",
        ),
        ([CONV, POOL], "layer 2: the last layer is max_pool2d; end with a dense layer, such as"),
        ([CONV], "layer 1: the last layer is conv2d; end with a dense layer"),
        (
            [{"type": "conv"}],
            "layer 1: unknown type 'conv'; known: conv2d, max_pool2d, average_pool2d; "
            r"a dense layer has no type; did you mean conv2d\?",
        ),
        ([{"type": 3}], "layer 1: unknown type 3; known: conv2d"),
        (
            [{**CONV, "kernl": 3}, DENSE],
            "layer 1: expected a dict with type, input_shape, filters, kernel, stride, padding, "
            "activation; 'kernl' is unknown",
        ),
        ([{"type": "max_pool2d"}, DENSE], "layer 1: expected a dict with .*; size is missing"),
        ([{**POOL, "activation": "relu"}, DENSE], "layer 1: .*'activation' is unknown"),
        ([CONV, {**POOL, "input_shape": [9, 9]}], "layer 2: .*'input_shape' is unknown"),
        ([DENSE], "layer 1: expected a dict with .*; input_dim is missing"),
        ([CONV, 3], "layer 2: expected a dict with .*; got 3"),
        ([{**CONV, "filters": 0}], "layer 1: filters: expected a whole number of at least 1"),
        ([{**CONV, "kernel": "5"}], "layer 1: kernel: expected a whole number of at least 1"),
        ([{**CONV, "stride": 0}], "layer 1: stride: expected a whole number of at least 1"),
        ([{**CONV, "padding": "full"}], "layer 1: padding: unknown 'full'; known: valid, same"),
        (
            [{**CONV, "padding": ["same"]}],
            r"layer 1: padding: unknown \['same'\]; known: valid, same",
        ),
        ([{**CONV, "activation": "rleu"}], "layer 1: unknown activation 'rleu'"),
        ([{**POOL, "size": 1.0}], "layer 1: size: expected a whole number of at least 1"),
        ([{**CONV, "input_shape": [28]}], r"layer 1: input_shape: expected \[height, width\] or"),
        ([{**CONV, "input_shape": "28"}], r"layer 1: input_shape: expected \[height, width\] or"),
        ([{**CONV, "kernel": 2**40}, DENSE], "layer 1: kernel 1099511627776 is larger than its"),
        ([{**CONV, "stride": 29}, DENSE], "layer 1: stride 29 is larger than its image, 28x28"),
        ([{**CONV, "stride": 2**62}, DENSE], "layer 1: stride 4611686018427387904 is larger"),
        ([{**POOL, "size": 0}], "layer 1: size: expected a whole number of at least 1, got 0"),
        ([{**POOL, "size": 56}, DENSE], "layer 1: size 56 does not divide its image, 28x28"),
        ([{**POOL, "size": 14}, DENSE], "layer 1: size 14 is more than 8; pool in several steps"),
        ([{**CONV, "filters": 2**62}, DENSE], "layer 1: it would have .* weights or outputs, more"),
        (
            [{**POOL, "input_shape": [2**31, 2**31]}, DENSE],
            r"layer 1: it would have 4.6e\+18 weights or outputs, more than any",
        ),
        ([{**DENSE, "input_dim": 2**62}], "layer 1: it would have .* weights or outputs, more"),
        ([{**CONV, "input_shape": 28}], "layer 1: input_shape: expected"),
        ([{**CONV, "input_shape": [28, 0]}], "layer 1: input_shape: expected a whole number"),
    ],
)
def test_errors_are_one_clear_line(layers, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        check_layer_list(layers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("conv16x5", CONV),
        ("pool2", POOL),
        ("average3", {"type": "average_pool2d", "size": 3}),
        ("conv16", None),
        ("conv16x", None),
        ("xpool2", None),
        ("pool2x2", None),
        ("pool-2", None),
        ("128", None),
        ("", None),
    ],
)
def test_short_texts(text, layer):
    assert layer_from(text, "relu") == layer
