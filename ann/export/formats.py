"""A trained network in the formats of others: ONNX, which other runtimes compute, safetensors, which PyTorch loads, and
NumPy's npz. Each needs its own library, from the extra ``export``, but for the last.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ann.errors import require
from ann.files.pickle.reader import read_pickle
from ann.files.safetensors import to_safetensors
from ann.neural_network import NeuralNetwork

_GELU = 2.0 * math.sqrt(2.0 / math.pi)
_OPSET = 17  # of 2022, which old runtimes know


def npz_bytes(network: NeuralNetwork) -> bytes:
    """An npz file: ``weight1`` (I, O), ``bias1`` (O,), ``weight2`` and so on, in a committee with one more axis, the
    first; ``about``, JSON text with layers, loss, seed, recipe and the scale of pixels.
    """
    arrays: dict[str, Any] = {"about": np.array(json.dumps(_about(network)))}
    for number, (weight, bias) in enumerate(_arrays(network), start=1):
        arrays |= {f"weight{number}": weight, f"bias{number}": bias}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def safetensors_bytes(network: NeuralNetwork) -> bytes:
    """A safetensors file, as ``files.safetensors`` describes it, which PyTorch loads, and ``load_model`` too.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: it could not be read back.
    """
    return to_safetensors(read_pickle(network.to_bytes()))


def onnx_bytes(network: NeuralNetwork) -> bytes:
    """An ONNX model: ``pixels``, uint8 (N, I), -> ``outputs`` (N, O), float32.

    Raises:
        ImportError: onnx is not installed.
        ValueError: it has an activation that ONNX cannot say.
    """
    onnx = require("onnx", "export", "this form needs onnx")
    graph = _Graph(onnx)
    x = graph.node("Cast", "pixels", to=onnx.TensorProto.FLOAT)
    x = graph.node("Mul", x, graph.number(network.pixel_scale))
    for layer, (weight, bias) in zip(network.layer_list, _arrays(network), strict=True):
        name = layer["activation"]
        if name not in _IN_ONNX:
            raise ValueError(f"ONNX has no activation {name!r}; known: {', '.join(_IN_ONNX)}")
        x = graph.node("MatMul", x, graph.constant(weight))
        x = graph.node("Add", x, graph.constant(bias[..., None, :]))
        x = _IN_ONNX[name](graph, x)
    if network.leading:
        x = graph.node("ReduceMean", x, axes=[0], keepdims=0)
    graph.node("Identity", x, output="outputs")
    shapes = {"pixels": ["N", network.input_dim], "outputs": ["N", network.output_dim]}
    kinds = {"pixels": onnx.TensorProto.UINT8, "outputs": onnx.TensorProto.FLOAT}
    ends = {name: onnx.helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()}
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "ann", [ends["pixels"]], [ends["outputs"]], graph.constants),
        producer_name="ann",
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=8,
    )
    onnx.helper.set_model_props(model, {"ann": json.dumps(_about(network))})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


FORMS: dict[str, Callable[[NeuralNetwork], bytes]] = {
    ".npz": npz_bytes,
    ".safetensors": safetensors_bytes,
    ".onnx": onnx_bytes,
}


class _Graph:
    """Nodes of an ONNX graph, each of which has one output, with a name of its own."""

    def __init__(self, onnx: Any) -> None:
        self._onnx, self._count = onnx, 0
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add one; the name of its output."""
        output = output or self._name()
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """The name of an array."""
        name = self._name()
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def number(self, value: float) -> str:
        """The name of a number."""
        return self.constant(np.array(value, dtype=np.float32))

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"


def _gelu(graph: _Graph, z: str) -> str:
    """See ``nn.activations``: z sigmoid(scale (z + 0.044715 z^3))."""
    cube = graph.node("Mul", graph.node("Mul", z, z), graph.number(0.044715))
    u = graph.node("Mul", graph.node("Mul", z, graph.node("Add", cube, graph.number(1.0))), graph.number(_GELU))
    return graph.node("Mul", z, graph.node("Sigmoid", u))


def _scaled_tanh(graph: _Graph, z: str) -> str:
    tanh = graph.node("Tanh", graph.node("Mul", z, graph.number(2.0 / 3.0)))
    return graph.node("Mul", tanh, graph.number(1.7159))


_IN_ONNX: dict[str, Callable[[_Graph, str], str]] = {
    "identity": lambda graph, z: z,
    "sigmoid": lambda graph, z: graph.node("Sigmoid", z),
    "tanh": lambda graph, z: graph.node("Tanh", z),
    "scaled-tanh": _scaled_tanh,
    "relu": lambda graph, z: graph.node("Relu", z),
    "leaky-relu": lambda graph, z: graph.node("LeakyRelu", z, alpha=0.01),
    "gelu": _gelu,
    "softplus": lambda graph, z: graph.node("Softplus", z),
    "swish": lambda graph, z: graph.node("Mul", z, graph.node("Sigmoid", z)),
    "softmax": lambda graph, z: graph.node("Softmax", z, axis=-1),
}


def _arrays(network: NeuralNetwork) -> list[tuple[np.ndarray, np.ndarray]]:
    """The weights (..., I, O) and biases (..., O) of each layer, host arrays of float32."""
    to_host = network.backend.to_host
    return [
        (to_host(layer.weight).astype(np.float32), to_host(layer.bias)[..., 0, :].astype(np.float32))
        for layer in network.layers
    ]


def _about(network: NeuralNetwork) -> dict[str, Any]:
    """All but the numbers."""
    return {
        "layers": network.layer_list,
        "loss": network.loss_name,
        "seed": network.seed,
        "committee": network.committee,
        "preprocessing": {"scale": network.pixel_scale},
        "recipe": network.recipe,
    }
