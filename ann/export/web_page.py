"""A trained network as one web page: its weights, a place to draw on, and the forward pass in JavaScript, in a file
that needs nothing else. What the page computes is checked against this package in a real browser by the tests.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from importlib.resources import files

from ann.data.catalog import DIGITS, class_names
from ann.neural_network import NeuralNetwork
from ann.nn.layer_list import describe_shape

ACTIVATIONS = (
    *("identity", "sigmoid", "tanh", "scaled-tanh", "relu", "leaky-relu", "gelu", "softplus", "swish", "softmax"),
)


def web_page(network: NeuralNetwork, classes: Sequence[str] = DIGITS) -> str:
    """HTML of a page on which one draws and the network, or committee, answers.

    Args:
        network: one for square images, white on black.
        classes: what its outputs stand for; more outputs have their numbers.

    Raises:
        ValueError: its images are not square, it has one output, or an activation that the page does not know.
    """
    side = math.isqrt(network.input_dim)
    if side * side != network.input_dim:
        raise ValueError(f"a page is for square images, and this network takes {network.input_dim} pixels")
    if network.output_dim < 2:
        raise ValueError("a page is for networks that tell classes apart, and this one has a single output")
    names = [layer["activation"] for layer in network.layer_list]
    if unknown := sorted({*names} - {*ACTIVATIONS}):
        raise ValueError(f"a page cannot compute the activation {unknown[0]!r}; it knows {', '.join(ACTIVATIONS)}")
    shape = describe_shape(network.layer_list)
    members = f"A committee of {network.committee} networks " if network.committee > 1 else "A network "
    drawn = "a digit" if tuple(classes) == DIGITS else "something"
    parameters = network.backend.to_host(network.parameters).astype("<f4")
    model = {
        "title": f"Draw {drawn}",
        "what": f"{members}{shape} ({', '.join(names)}), {parameters.size:,} numbers, all in this file.",
        "side": side,
        "scale": network.pixel_scale,
        "classes": class_names(classes, network.output_dim),
        "committee": network.committee,
        "size": parameters.shape[-1],
        "layers": [
            {"inputs": layer["input_dim"], "outputs": layer["output_dim"], "activation": layer["activation"]}
            for layer in network.layer_list
        ],
    }
    template = files("ann.export").joinpath("page.html").read_text(encoding="utf-8")
    text = json.dumps(model).replace("<", "\\u003c")  # so that no name ends the script
    page = template.replace("{{weights}}", base64.b64encode(parameters.tobytes()).decode())
    return page.replace("{{model}}", text)  # last, since names may be anything
