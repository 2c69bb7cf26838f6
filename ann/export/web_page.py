"""A trained network as a web page in one self-contained file: its weights, a canvas to draw on, and
the forward pass in JavaScript. The tests compare the page with this package, in a real browser.
"""

import base64
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from ann.backends.tracer import Operation, Symbol
from ann.data.catalog import DIGITS, class_names
from ann.export.formula import OPERATIONS, translate
from ann.neural_network import NeuralNetwork
from ann.nn.activations import get_activation
from ann.nn.convolution import size_text
from ann.nn.layer_list import describe_shape
from ann.nn.layers import ActivationLayer
from ann.nn.network import PIXEL_SCALE, size_of


def web_page(network: NeuralNetwork, classes: Sequence[str] | None = None) -> str:
    """The HTML of a page on which the user draws and the network, or committee, answers.

    It shows the image that the network sees and the outputs of its layers, which are pictures for a
    convolution.

    Args:
        network: one for square images, white on black.
        classes: the names of its outputs, by default ``network.classes``. If there are fewer names
            than outputs, the others get numbers.

    Raises:
        ValueError: its images are not square, it has a single output, or an activation cannot be
            translated into JavaScript.
    """
    classes = network.classes if classes is None else classes
    side = math.isqrt(network.input_dim)
    shape = network.input_shape
    if shape not in ((side * side,), (1, side, side)):
        found = f"{size_text(shape)} pixels"
        raise ValueError(f"a page needs a network for square images, and this one takes {found}")
    if network.output_dim < 2:
        raise ValueError(
            "a page needs a network with several classes, and this one has a single output"
        )
    names = [layer["activation"] for layer in network.layer_list if "activation" in layer]
    formulas = (f"  {json.dumps(name)}: {_javascript(name)},\n" for name in dict.fromkeys(names))
    kind = f"A committee of {network.committee} networks" if network.committee > 1 else "A network"
    drawn = "a digit" if set(classes) <= set(DIGITS) else "something"
    arrays = [array for pair in network.weights_and_biases() for array in pair]
    rows = [array.reshape(network.committee, -1) for array in arrays]
    parameters = np.concatenate(rows, axis=1).astype("<f4")
    model = {
        "title": f"Draw {drawn}",
        "what": f"{kind} {describe_shape(network.layer_list)} ({', '.join(names)}), "
        f"{parameters.size:,} numbers, all in this file.",
        "side": side,
        "scale": PIXEL_SCALE,
        "classes": class_names(classes, network.output_dim),
        "committee": network.committee,
        "size": parameters.shape[-1],
        "layers": _layers(network),
    }
    template = files("ann.export").joinpath("page.html").read_text(encoding="utf-8")
    text = json.dumps(model).replace("<", "\\u003c")  # so that no name can end the script
    page = template.replace("{{weights}}", base64.b64encode(parameters.tobytes()).decode())
    page = page.replace("{{activations}}", f"{{\n{''.join(formulas)}}}")
    return page.replace("{{model}}", text)  # last, since names may contain placeholders


def _layers(network: NeuralNetwork) -> list[dict[str, Any]]:
    """The layer list with types, shapes, and the position of each layer's first parameter."""
    layers: list[dict[str, Any]] = []
    shape, start = network.input_shape, 0
    computing = [one for one in network.network.layers if not isinstance(one, ActivationLayer)]
    for spec, layer in zip(network.layer_list, computing, strict=True):
        shapes = {"input_shape": shape, "output_shape": layer.output_shape}
        layers.append({"type": "dense", **spec, **shapes, "start": start})
        shape = layer.output_shape
        start += size_of([layer])
    return layers


def _javascript(name: str) -> str:
    """An activation as a JavaScript function of an array, the sums of a layer."""
    lines: list[str] = []

    def number(value: Any, kind: Any) -> str:
        return json.dumps(value.item() if isinstance(value, np.generic) else value)

    def operation(operation: Operation, inputs: list[str]) -> str:
        function, result = operation.function.__name__, f"t{len(lines)}"
        if function == "sum":
            value = f"{inputs[0]}.reduce((sum, value) => sum + value, 0)"
        elif function == "max":
            value = f"largest({inputs[0]})"
        else:
            each = [
                f"{name}[i]" if isinstance(source, Symbol) and source.shape[-1:] > (1,) else name
                for name, source in zip(inputs, operation.inputs, strict=True)
            ]
            value = OPERATIONS[function].javascript.format(*each)
            if operation.result.shape[-1:] > (1,):  # a constant has no axis
                value = f"z.map((_, i) => {value})"
        lines.append(f"const {result} = {value};")
        return result

    y = translate(get_activation(name), "JavaScript", "z", number, operation)
    return f"z => {{ {' '.join(lines)} return {y}; }}"
