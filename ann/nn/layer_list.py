"""The list of dicts that says what a network consists of. It comes from users and from files, so it is checked before
anything is built from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ann.errors import printable
from ann.nn.activations import get_activation
from ann.validation import check_count

LAYER_KEYS = ("input_dim", "output_dim", "activation")


def check_layer_list(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A copy of a layer list, in plain values, that is known to chain.

    Raises:
        ValueError: the message names the layer, counted from 1, and what is wrong with it.
    """
    if not isinstance(layers, Sequence) or isinstance(layers, str) or len(layers) == 0:
        raise ValueError(f"layers: expected a list of at least one layer, got {printable(layers)}")
    checked: list[dict[str, Any]] = []
    for number, layer in enumerate(layers, start=1):
        if not isinstance(layer, dict) or set(layer) != set(LAYER_KEYS):
            raise ValueError(f"layer {number}: expected a dict with {', '.join(LAYER_KEYS)}, got {printable(layer)}")
        input_dim, output_dim = (
            check_count(f"layer {number}: {key}", layer[key], at_least=1) for key in ("input_dim", "output_dim")
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
        checked.append({"input_dim": input_dim, "output_dim": output_dim, "activation": str(layer["activation"])})
    return checked


def describe_shape(layers: Sequence[dict[str, Any]]) -> str:
    """The widths of a checked layer list, such as "784-128-32-10"."""
    return "-".join(map(str, (layers[0]["input_dim"], *(layer["output_dim"] for layer in layers))))
