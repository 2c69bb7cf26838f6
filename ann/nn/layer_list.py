"""The layer list: the dicts that describe a network. It comes from users and from files, so it is
checked before a network is built from it.
"""

from collections.abc import Sequence
from typing import Any

from ann.errors import printable
from ann.nn.activations import get_activation
from ann.nn.layers import ActivationLayer, Dense, Layer
from ann.validation import check_count

LAYER_KEYS = ("input_dim", "output_dim", "activation")


def check_layer_list(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check a layer list and return a copy with plain Python values.

    Raises:
        ValueError: a layer is wrong or does not fit the one before it; the message gives its
            number, counted from 1.
    """
    if not isinstance(layers, Sequence) or isinstance(layers, str) or len(layers) == 0:
        raise ValueError(f"layers: expected a list of at least one layer, got {printable(layers)}")
    checked: list[dict[str, Any]] = []
    for number, layer in enumerate(layers, start=1):
        if not isinstance(layer, dict) or set(layer) != set(LAYER_KEYS):
            raise ValueError(
                f"layer {number}: expected a dict with {', '.join(LAYER_KEYS)}, got {printable(layer)}"
            )
        input_dim, output_dim = (
            check_count(f"layer {number}: {key}", layer[key], at_least=1)
            for key in ("input_dim", "output_dim")
        )
        try:
            get_activation(layer["activation"])
        except ValueError as error:
            raise ValueError(f"layer {number}: {error}") from None
        if checked and input_dim != checked[-1]["output_dim"]:
            raise ValueError(
                f"layer {number}: input_dim is {input_dim}, "
                f"but layer {number - 1} has output_dim {checked[-1]['output_dim']}"
            )
        checked.append(
            {
                "input_dim": input_dim,
                "output_dim": output_dim,
                "activation": str(layer["activation"]),
            }
        )
    return checked


def build_layers(layer_list: Sequence[dict[str, Any]]) -> list[Layer]:
    """New layers for a checked layer list. The last activation is left out: it belongs to the loss."""
    layers: list[Layer] = []
    *hidden, last = layer_list
    for spec in hidden:
        init = get_activation(spec["activation"]).init
        layers += [
            Dense(spec["input_dim"], spec["output_dim"], init),
            ActivationLayer(spec["activation"]),
        ]
    layers.append(Dense(last["input_dim"], last["output_dim"], get_activation("identity").init))
    return layers


def describe_shape(layers: Sequence[dict[str, Any]]) -> str:
    """The widths of a checked layer list, such as "784-128-32-10"."""
    return "-".join(map(str, (layers[0]["input_dim"], *(layer["output_dim"] for layer in layers))))
