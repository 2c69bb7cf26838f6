"""A network as an ONNX model, for other runtimes."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ann.backends.tracer import Operation
from ann.errors import require
from ann.export.formula import OPERATIONS, translate
from ann.neural_network import NeuralNetwork
from ann.nn.activations import Activation
from ann.nn.convolution import Conv2D
from ann.nn.layers import ActivationLayer, Dense, Layer
from ann.nn.network import PIXEL_SCALE
from ann.nn.pooling import AveragePool2D, MaxPool2D, Pool2D

_OPSET = 17  # of 2022, which older runtimes support


def about(network: NeuralNetwork) -> dict[str, Any]:
    """Everything about a network except its arrays, as plain values, for exported files."""
    return {
        "layers": network.layer_list,
        "loss": network.loss_name,
        "seed": network.seed,
        "committee": network.committee,
        "preprocessing": {"scale": PIXEL_SCALE},
        "recipe": network.recipe,
    }


def onnx_bytes(network: NeuralNetwork) -> bytes:
    """An ONNX model: ``pixels``, uint8 (N, I), -> ``outputs`` (N, O), float32.

    Raises:
        ImportError: onnx is not installed.
        ValueError: an activation cannot be translated into ONNX nodes.
    """
    onnx = require("onnx", "export", "this format needs onnx")
    graph = _Graph(onnx)
    x = graph.node("Cast", "pixels", to=onnx.TensorProto.FLOAT)
    x = graph.node("Mul", x, graph.number(PIXEL_SCALE))
    members = [_outputs(graph, x, network.member(number)) for number in range(network.committee)]
    graph.node("Mean", *members, output="outputs")
    tensor = onnx.helper.make_tensor_value_info
    pixels = tensor("pixels", onnx.TensorProto.UINT8, ["N", network.input_dim])
    outputs = tensor("outputs", onnx.TensorProto.FLOAT, ["N", network.output_dim])
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "ann", [pixels], [outputs], graph.constants),
        producer_name="ann",
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=8,
    )
    onnx.helper.set_model_props(model, {"ann": json.dumps(about(network))})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _outputs(graph: "_Graph", x: str, network: NeuralNetwork) -> str:
    """Add the nodes of a single network for the rows x (N, I); returns the name of its outputs."""
    arrays = iter(network.weights_and_biases())
    for layer in network.network.layers:
        own = [array.astype(np.float32) for array in next(arrays)] if layer.parameters else ()
        x = _NODES[type(layer)](graph, x, layer, *own)
    return graph.activation(x, network.network.loss.output)


def _dense(graph: "_Graph", x: str, layer: Dense, weight: np.ndarray, bias: np.ndarray) -> str:
    return graph.node("Gemm", x, graph.constant(weight), graph.constant(bias))


def _convolution(
    graph: "_Graph", x: str, layer: Conv2D, weight: np.ndarray, bias: np.ndarray
) -> str:
    channels, *sides = layer.input_shape
    zeros = [padded - side for padded, side in zip(layer.padded, sides, strict=True)]
    before = [count // 2 for count in zeros]
    after = [count - first for count, first in zip(zeros, before, strict=True)]
    y = graph.node(
        "Conv",
        graph.pictures(x, layer),
        graph.constant(weight.T.reshape(-1, channels, layer.kernel, layer.kernel)),
        graph.constant(bias),
        strides=[layer.stride] * 2,
        pads=[*before, *after],
    )
    return graph.node("Flatten", y)


def _pool(graph: "_Graph", x: str, layer: Pool2D) -> str:
    kind = {MaxPool2D: "MaxPool", AveragePool2D: "AveragePool"}[type(layer)]
    sides = [layer.size] * 2
    y = graph.node(kind, graph.pictures(x, layer), kernel_shape=sides, strides=sides)
    return graph.node("Flatten", y)


# For each layer: (graph, the name of rows x (N, I), layer, its arrays) -> the name of rows (N, O)
_NODES: dict[type, Callable[..., str]] = {
    Dense: _dense,
    Conv2D: _convolution,
    MaxPool2D: _pool,
    AveragePool2D: _pool,
    ActivationLayer: lambda graph, x, layer: graph.activation(x, layer.f),
}


class _Graph:
    """Nodes of an ONNX graph. Each has one output with a unique name."""

    def __init__(self, onnx: Any) -> None:
        self._onnx, self._count = onnx, 0
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        output = output or self._name()
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add an array as a constant; returns its name."""
        name = self._name()
        tensor = self._onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        self.constants.append(tensor)
        return name

    def number(self, value: float, kind: Any = np.float32) -> str:
        """Add a number as a constant; returns its name."""
        return self.constant(np.array(value, dtype=kind))

    def pictures(self, rows: str, layer: Layer) -> str:
        """Add a node that turns rows (N, C H W) into pictures (N, C, H, W) for a layer."""
        return self.node("Reshape", rows, self.constant(np.array([-1, *layer.input_shape])))

    def activation(self, z: str, activation: Activation) -> str:
        """Add the nodes of an activation; returns the name of its outputs."""
        return translate(activation, "ONNX", z, self.number, self.operation)

    def operation(self, operation: Operation, inputs: list[str]) -> str:
        """Add an operation of a formula; returns the name of its result."""
        name = operation.function.__name__
        sources = zip(inputs, operation.inputs, operation.kinds, strict=True)
        inputs = [
            self._cast(x, getattr(source, "dtype", kind), kind) for x, source, kind in sources
        ]
        if name == "astype":
            return self._cast(inputs[0], operation.kinds[0], operation.result.dtype)
        if name == "clip" and any(getattr(bound, "shape", ()) for bound in operation.inputs[1:]):
            return self.node("Min", self.node("Max", *inputs[:2]), inputs[2])  # bounds are arrays
        if name == "square":
            return self.node("Mul", *inputs, *inputs)
        if name == "log1p":
            return self.node("Log", self.node("Add", *inputs, self.number(1.0)))
        if name == "expm1":
            return self.node("Sub", self.node("Exp", *inputs), self.number(1.0))
        if name == "sum":
            return self.node("ReduceSum", *inputs, self.constant(np.array([-1])), keepdims=1)
        if name == "max":
            return self.node("ReduceMax", *inputs, axes=[-1], keepdims=1)
        return self.node(OPERATIONS[name].onnx, *inputs)

    def _cast(self, x: str, given: np.dtype, wanted: np.dtype) -> str:
        if given == wanted:
            return x
        return self.node("Cast", x, to=self._onnx.helper.np_dtype_to_tensor_dtype(wanted))

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"
