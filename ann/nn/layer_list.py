"""The layer list: dicts that describe the layers of a network. It comes from users and from files,
so it is checked before a network is built from it.

``{"input_dim": 784, "output_dim": 128, "activation": "sigmoid"}`` is a dense layer. A dict with a
"type" is a layer for pictures, such as convolution; ``LAYER_TYPES`` lists them. They come before
the dense layers. The first may have an "input_shape", [height, width] or [channels, height, width];
without one, pictures are 28 x 28.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ann.errors import printable
from ann.nn.activations import get_activation
from ann.nn.convolution import Conv2D, Shape, size_text
from ann.nn.layers import ActivationLayer, Dense, Layer
from ann.nn.pooling import AveragePool2D, MaxPool2D
from ann.spelling import check_choice, check_known
from ann.validation import check_count

MNIST = (1, 28, 28)
_MAX_NUMBERS = 2**48  # in an array: a petabyte of float32


@dataclass(frozen=True)
class LayerType:
    """A type of layer: how a layer list describes it, and how it is built.

    Attributes:
        build: (input shape, values of its dict by name) -> the layer. Instead of an activation, it
            gets ``init``. Raises ValueError if they do not fit.
        text: the layer in a recipe and in ``--hidden``; braces stand for values of its dict.
        keys: of its dict, apart from "type" and "input_shape"; ``_CHECKS`` checks their values.
        defaults: the values of keys that may be omitted.
    """

    build: Callable[..., Any]
    text: str
    keys: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)


DENSE = LayerType(
    lambda shape, **values: Dense(**values),
    "{output_dim}",
    ("input_dim", "output_dim", "activation"),
)
LAYER_TYPES = {
    "conv2d": LayerType(
        Conv2D,
        "conv{filters}x{kernel}",
        ("filters", "kernel", "stride", "padding", "activation"),
        {"stride": 1, "padding": "valid"},
    ),
    "max_pool2d": LayerType(MaxPool2D, "pool{size}", ("size",)),
    "average_pool2d": LayerType(AveragePool2D, "average{size}", ("size",)),
}


def _check_input_shape(name: str, value: Any) -> list[int]:
    """[channels, height, width], from these or from [height, width]."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) not in (2, 3):
        raise ValueError(
            f"{name}: expected [height, width] or [channels, height, width], got {printable(value)}"
        )
    return [check_count(name, number, at_least=1) for number in (1, *value)[-3:]]


# For each key: (key, value) -> the value as a plain Python value. Others are whole numbers from 1
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "type": lambda name, value: str(value),
    "input_shape": _check_input_shape,
    "padding": partial(check_choice, choices=("valid", "same")),
    "activation": lambda name, value: get_activation(value).name,
}


def check_layer_list(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check a layer list and return a complete copy with plain Python values.

    Raises:
        ValueError: a layer is wrong or does not fit the one before it; the message gives its
            number, counted from 1.
    """
    if not isinstance(layers, Sequence) or isinstance(layers, str) or len(layers) == 0:
        raise ValueError(f"layers: expected a list of at least one layer, got {printable(layers)}")
    checked: list[dict[str, Any]] = []
    shape: Shape = ()  # of the outputs of the layer before
    for number, layer in enumerate(layers, start=1):
        try:
            spec = _check_keys(layer, shape)
            _check_order(spec, shape, f"layer {number - 1}")
            built = _build(spec, shape or input_shape([spec]))
            _check_size(built)
        except ValueError as error:
            raise ValueError(f"layer {number}: {error}") from None
        shape = built.output_shape
        checked.append(spec)
    if "type" in spec:
        raise ValueError(
            f"layer {number}: the last layer is {spec['type']}; end with a dense layer, "
            "such as {'output_dim': 10, 'activation': 'softmax'}"
        )
    return checked


def _type_of(layer: Any) -> LayerType:
    """Its type; dense for anything but a dict with a "type"."""
    if not isinstance(layer, dict) or "type" not in layer:
        return DENSE
    check_known("type", layer["type"], LAYER_TYPES, "; a dense layer has no type")
    return LAYER_TYPES[layer["type"]]


def _check_keys(layer: Any, shape: Shape) -> dict[str, Any]:
    """A complete layer with plain values. ``shape``: of its inputs; () for the first layer."""
    kind = _type_of(layer)
    keys, defaults = kind.keys, dict(kind.defaults)
    if kind is not DENSE:
        keys = "type", *(() if shape else ("input_shape",)), *keys
        defaults["input_shape"] = MNIST
    elif shape:
        defaults["input_dim"] = math.prod(shape)
    expected = f"expected a dict with {', '.join(keys)}"
    if not isinstance(layer, dict):
        raise ValueError(f"{expected}; got {printable(layer)}")
    complete = {**defaults, **layer}
    wrong = [f"{key} is missing" for key in keys if key not in complete]
    wrong += [f"{printable(key)} is unknown" for key in layer if key not in keys]
    if wrong:
        raise ValueError(f"{expected}; {wrong[0]}")
    at_least_1 = partial(check_count, at_least=1)
    return {key: _CHECKS.get(key, at_least_1)(key, complete[key]) for key in keys}


def _check_order(spec: dict[str, Any], shape: Shape, before: str) -> None:
    """Raise ValueError unless a layer fits inputs of this shape; () for the first layer."""
    if "type" in spec:
        if len(shape) == 1:
            raise ValueError(
                f"{spec['type']} needs pictures, but {before} is dense; dense layers come last"
            )
    elif shape and spec["input_dim"] != math.prod(shape):
        text = f"has output_dim {shape[0]}"
        if len(shape) > 1:
            text = f"gives {size_text(shape)} = {math.prod(shape)} numbers"
        raise ValueError(f"input_dim is {spec['input_dim']}, but {before} {text}")


def _check_size(layer: Layer) -> None:
    """Raise ValueError for a layer with more weights or outputs than fit into any memory."""
    shapes = [layer.input_shape, *(parameter.shape for parameter in layer.parameters)]
    most = max(layer.width, *map(math.prod, shapes))
    if most > _MAX_NUMBERS:
        raise ValueError(f"it would have {most:.1e} weights or outputs, more than any memory holds")


def input_shape(layer_list: Sequence[dict[str, Any]]) -> Shape:
    """The shape of an input of a checked layer list: (784,), or (1, 28, 28) for pictures."""
    first = layer_list[0]
    return tuple(first["input_shape"]) if "type" in first else (first["input_dim"],)


def _build(spec: dict[str, Any], shape: Shape, activation: str = "identity") -> Any:
    kind = _type_of(spec)
    values = {key: spec[key] for key in kind.keys}
    if values.pop("activation", None):
        values["init"] = get_activation(activation).init
    return kind.build(shape, **values)


def build_layers(layer_list: Sequence[dict[str, Any]]) -> list[Layer]:
    """New layers for a checked list. The last activation is left out: it belongs to the loss."""
    layers: list[Layer] = []
    shape = input_shape(layer_list)
    *hidden, last = layer_list
    for spec in hidden:
        activation = spec.get("activation", "identity")
        layer = _build(spec, shape, activation)
        shape = layer.output_shape
        layers.append(layer)
        if activation != "identity":
            layers.append(ActivationLayer(activation))
    return [*layers, _build(last, shape)]


def without_activations(layers: Sequence[Layer]) -> list[Layer]:
    """One layer for each dict of the layer list that these layers were built from."""
    return [layer for layer in layers if not isinstance(layer, ActivationLayer)]


def widths(layer_list: Sequence[dict[str, Any]]) -> list[int]:
    """The number of inputs, then the ``width`` of each layer: see ``Layer``."""
    layers = without_activations(build_layers(layer_list))
    return [math.prod(input_shape(layer_list)), *(layer.width for layer in layers)]


def without_arrays(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer of a model file without its weights and biases, as in a layer list."""
    return {key: value for key, value in layer.items() if key not in ("weight", "bias")}


def describe_layers(layer_list: Sequence[dict[str, Any]]) -> list[str]:
    """The inputs and the layers of a checked layer list as texts: "784", "128", "32", "10"."""
    texts = [size_text(input_shape(layer_list))]
    for spec in layer_list:
        kind = _type_of(spec)
        unusual = [f"{key}={spec[key]}" for key in kind.defaults if spec[key] != kind.defaults[key]]
        options = f"({','.join(unusual)})" if unusual else ""
        texts.append(kind.text.format(**spec) + options)
    return texts


def describe_shape(layer_list: Sequence[dict[str, Any]]) -> str:
    """A checked layer list in a few characters: "784-128-32-10", "28x28-conv16x5-pool2-128-10"."""
    return "-".join(describe_layers(layer_list))


def layer_from(text: str, activation: str) -> dict[str, Any] | None:
    """The layer for a text such as "conv16x5" or "pool2", or None if it describes none."""
    for name, kind in LAYER_TYPES.items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[0-9]{1,9})", kind.text)
        if found := re.fullmatch(pattern, text):
            spec = {"type": name, **{key: int(value) for key, value in found.groupdict().items()}}
            return {**spec, "activation": activation} if "activation" in kind.keys else spec
    return None
