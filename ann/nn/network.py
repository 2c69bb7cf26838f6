"""The multilayer perceptron as mathematics, on device arrays: layers in a row. Forward is a loop over them, backward
the reversed loop, and everything that training changes lies in one flat vector, so that an update, a copy or a
comparison is one operation.

A committee is K networks side by side in the same arrays, which get one more axis, the first: parameters (K, P), logits
(K, N, O). Nothing else changes: every product is K products, and members know nothing of each other. In shapes, ``...``
stands for that axis, or for none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ann.backends.base import Array, Backend
from ann.nn.layers import Dense
from ann.nn.losses import Loss


class Perceptron:
    """Layers on two vectors. ``NeuralNetwork`` is made for users, and this for training steps.

    Args:
        backend: what computes.
        layer_list: known to chain; see ``NeuralNetwork``.
        loss: fused with the last layer's activation.
        parameters, gradients: (..., P) device vectors; layer by layer, the weights (I, O) and then the biases (O,).
        memory: what ``backward`` leaves of the gradients that were there before; see ``Dense``.
        first_input: the inputs before it are left out, and their weights not touched.

    Attributes:
        layers: the ``Dense`` layers. The last one has no activation: it emits the logits.
        leading: the shape of ``...``: () for one network, (K,) for a committee.
    """

    pixel_scale = 1.0 / 255.0  # uint8 pixels times this are the inputs

    def __init__(
        self,
        backend: Backend,
        layer_list: Sequence[dict[str, Any]],
        loss: Loss,
        parameters: Array,
        gradients: Array,
        *,
        memory: float = 0.0,
        first_input: int = 0,
    ) -> None:
        self.backend, self.xp, self.loss = backend, backend.xp, loss
        self.parameters, self.gradients = parameters, gradients
        self.leading, self.dtype = tuple(parameters.shape[:-1]), parameters.dtype
        layers, end = [], 0
        last = len(layer_list) - 1
        for number, spec in enumerate(layer_list):
            skipped = first_input if number == 0 else 0
            layer = Dense(
                backend,
                spec["input_dim"] - skipped,
                spec["output_dim"],
                spec["activation"] if number < last else "identity",
                with_ones=number < last,
                memory=memory,
            )
            start = end + skipped * layer.output_dim
            end = start + math.prod(layer.shape)
            shape = (*self.leading, *layer.shape)
            layer.bind(
                *(self.xp.reshape(vector[..., start:end], shape, copy=False) for vector in (parameters, gradients))
            )
            layers.append(layer)
        self.layers: Sequence[Dense] = tuple(layers)

    @property
    def layer_list(self) -> list[dict[str, Any]]:
        """The layers in the form that ``NeuralNetwork`` takes, as a new list."""
        activations = [layer.activation.name for layer in self.layers[:-1]] + [self.loss.output.name]
        return [
            {"input_dim": layer.input_dim, "output_dim": layer.output_dim, "activation": activation}
            for layer, activation in zip(self.layers, activations, strict=True)
        ]

    @property
    def input_dim(self) -> int:
        """How many inputs an image has."""
        return self.layers[0].input_dim

    @property
    def output_dim(self) -> int:
        """How many outputs, or classes, there are."""
        return self.layers[-1].output_dim

    @property
    def weight_places(self) -> list[slice]:
        """Where in the vectors the layers' weights are; the rest are biases."""
        places, end = [], 0
        for layer in self.layers:
            start, end = end, end + math.prod(layer.shape)
            places.append(slice(start, end - layer.output_dim))
        return places

    @property
    def weight_shapes(self) -> list[tuple[int, int]]:
        """(I, O) of each layer."""
        return [(layer.input_dim, layer.output_dim) for layer in self.layers]

    def weight_matrices(self, vector: Array) -> list[Array]:
        """The layers' weights (..., I, O) in a vector like ``parameters``, as views."""
        return [
            self.xp.reshape(vector[..., place], (*self.leading, *shape), copy=False)
            for place, shape in zip(self.weight_places, self.weight_shapes, strict=True)
        ]

    def layer_matrices(self, vector: Array) -> list[Array]:
        """The layers' weights and biases (..., I + 1, O) in a vector like ``parameters``, as views."""
        ends = [place.stop + layer.output_dim for place, layer in zip(self.weight_places, self.layers, strict=True)]
        return [
            self.xp.reshape(vector[..., place.start : end], (*self.leading, *layer.shape), copy=False)
            for place, end, layer in zip(self.weight_places, ends, self.layers, strict=True)
        ]

    def forward(self, x: Array, scale: float = 1.0) -> Array:
        """scale times x (..., N, I + 1), as ``inputs`` makes them, -> logits (..., N, O), ready for ``backward``."""
        for layer in self.layers:
            x, scale = layer.forward(x, scale), 1.0
        return x

    def backward(self, grad: Array, *, input_gradient: bool = False) -> Array:
        """dL/d(logits) (..., N, O) -> ``gradients``: the chain rule, from the last layer to the first.

        Returns dL/dx (..., N, I), or None: the ``input_gradient`` would be a third of a small net's arithmetic.
        """
        for layer in reversed(self.layers[1:]):
            grad = layer.backward(grad)
        return self.layers[0].backward(grad, input_gradient=input_gradient)

    def compute_gradients(self, x: Array, targets: Array, scale: float = 1.0) -> Array:
        """One forward and one backward pass over scale times x (..., N, I + 1) and target rows (..., N, O).

        Returns the batch's mean loss (...), an array still on the device: reading it would wait for the device.
        """
        logits = self.forward(x, scale)
        grad = self.xp.empty_like(logits)
        self.loss.gradient(self.backend, logits, targets, out=grad)
        self.backward(grad)
        return self.loss.value(self.backend, logits, targets)

    def logits(self, x: Array, scale: float = 1.0) -> Array:
        """scale times x (..., N, I + 1) -> logits (..., N, O), a new array, remembering nothing."""
        for layer in self.layers:
            x, scale = layer.apply(x, scale), 1.0
        return x

    def outputs(self, logits: Array) -> Array:
        """Logits (..., N, O), which are overwritten -> outputs (N, O): a committee's are the means of its members'."""
        self.loss.output.forward(self.backend, logits, out=logits)
        return self.xp.mean(logits, axis=0) if self.leading else logits

    def inputs(self, images: Array, room: Array | None = None) -> tuple[Array, float]:
        """Device images (N, I) -> x (N, I + 1) and its scale: scale times x is what the network reads.

        From 0 (black) to 1 (white), that is, for uint8 pixels; floats are inputs already, and the scale is 1. The
        last column is the input that biases weigh, 1 when scaled. x is a new array, or in the first rows of ``room``:
        fresh memory costs a tenth of the time to apply a network.
        """
        xp = self.xp
        pixels = images.dtype == xp.uint8
        shape = (images.shape[0], images.shape[1] + 1)
        x = xp.empty(shape, dtype=self.dtype) if room is None else room[: shape[0], :]
        self.backend.copyto(images, out=x[:, :-1])
        x[:, -1:] = xp.full((images.shape[0], 1), 255.0 if pixels else 1.0, dtype=self.dtype)
        return x, self.pixel_scale if pixels else 1.0
