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
from ann.data.catalog import DIGIT_CHECK, DIGITS, class_names
from ann.export.formula import OPERATIONS, translate
from ann.neural_network import NeuralNetwork, load_model
from ann.nn.activations import get_activation
from ann.nn.convolution import size_text
from ann.nn.layer_list import describe_shape, without_activations
from ann.nn.network import PIXEL_SCALE, size_of


def web_page(
    network: NeuralNetwork, classes: Sequence[str] | None = None, name: str = "A network"
) -> str:
    """The HTML of a page on which the user draws and the network, or committee, answers.

    It shows the image that the network sees and the outputs of its layers, which are pictures for a
    convolution. On a page for digits, a second, small network refuses drawings that do not look
    like digits; ``tests/export/make_digit_check.py`` trained it.

    Args:
        network: one for square images, white on black.
        classes: the names of its outputs, by default ``network.classes``. If there are fewer names
            than outputs, the others get numbers.
        name: of the network, such as its file.

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
    kind = f"a committee of {network.committee} networks " if network.committee > 1 else ""
    are_digits = set(classes) <= set(DIGITS)
    drawn = "a digit" if are_digits else "something"
    check = load_model(DIGIT_CHECK) if are_digits and side == 28 else None
    names = _activations(network)
    known = [*names, *(_activations(check) if check else [])]
    formulas = (f"  {json.dumps(name)}: {_javascript(name)},\n" for name in dict.fromkeys(known))
    parameters = _parameters(network)
    weights = parameters.tobytes() + (_parameters(check).tobytes() if check else b"")
    model = {
        "title": f"Draw {drawn}",
        "what": f"{name}: {kind}{describe_shape(network.layer_list)} ({', '.join(names)}), "
        f"{parameters.size:,} parameters, all in this file.",
        "side": side,
        "scale": PIXEL_SCALE,
        "classes": class_names(classes, network.output_dim),
        "committee": network.committee,
        "size": parameters.shape[-1],
        "layers": _layers(network),
        "check": _layers(check) if check else None,
    }
    template = files("ann.export").joinpath("page.html").read_text(encoding="utf-8")
    text = json.dumps(model).replace("<", "\\u003c")  # so that no name can end the script
    page = template.replace("{{weights}}", base64.b64encode(weights).decode())
    page = page.replace("{{activations}}", f"{{\n{''.join(formulas)}}}")
    return page.replace("{{model}}", text)  # last, since names may contain placeholders


def _activations(network: NeuralNetwork) -> list[str]:
    return [layer["activation"] for layer in network.layer_list if "activation" in layer]


def _parameters(network: NeuralNetwork) -> np.ndarray:
    """The parameters (K, P) of its K members, layer by layer, little-endian float32."""
    arrays = [array for pair in network.weights_and_biases() for array in pair]
    rows = [array.reshape(network.committee, -1) for array in arrays]
    return np.concatenate(rows, axis=1).astype("<f4")


def _layers(network: NeuralNetwork) -> list[dict[str, Any]]:
    """The layer list with types, shapes, and the position of each layer's first parameter."""
    layers: list[dict[str, Any]] = []
    start = 0
    computing = without_activations(network.network.layers)
    for spec, layer in zip(network.layer_list, computing, strict=True):
        shapes = {"input_shape": layer.input_shape, "output_shape": layer.output_shape}
        layers.append({"type": "dense", **spec, **shapes, "start": start})
        start += size_of([layer])
    return layers


def _javascript(name: str) -> str:
    """An activation as a JavaScript function of an array, the sums of a layer."""
    lines: list[str] = []

    def number(value: Any, kind: Any) -> str:
        return json.dumps(value.item() if isinstance(value, np.generic) else value)

    def operation(operation: Operation, inputs: list[str]) -> str:
        function, result = operation.function.__name__, f"t{len(lines)}"
        if function == "astype" and operation.result.dtype.kind != "f":
            raise KeyError(f"astype to {operation.result.dtype}")
        if function in ("sum", "max") and operation.inputs[0].shape[-1:] == (1,):
            value = inputs[0]  # a single number is its own sum and maximum
        elif function == "sum":
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
