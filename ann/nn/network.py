"""The mathematics of a network: layers in sequence. Forward is a loop, and backward its reverse.

All parameters are in one flat vector and their gradients in another, so an update, a copy or a
comparison is one operation. Parameters with weight decay (the weights) come first, then those
without (such as biases).

A committee is K networks side by side. Every array gets a new first axis: parameters (K, P), logits
(K, N, O). Otherwise nothing changes: each product becomes K products, and members do not influence
each other. In shapes, ``...`` is this axis; a single network does not have it.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Self

from ann.backends.base import Array, Backend
from ann.nn.layers import Layer
from ann.nn.losses import Loss


class Network:
    """Layers whose parameters and gradients are views of two flat vectors.

    Args:
        backend: computes.
        layers: new layers, which are bound to the vectors. The last activation is not among them:
            it belongs to the loss.
        loss: the loss, which includes the last activation.
        dtype: of all arrays.
        leading: the shape of ``...``: () for one network, (K,) for a committee.

    Attributes:
        parameters, gradients: (..., P) device vectors, of zeros at first.
    """

    def __init__(
        self,
        backend: Backend,
        layers: Sequence[Layer],
        loss: Loss,
        dtype: Any,
        leading: tuple[int, ...] = (),
    ) -> None:
        self.backend = backend
        self.layers = tuple(layers)
        self.loss = loss
        self.leading = leading
        self.parameters = backend.xp.zeros((*leading, size_of(layers)), dtype=dtype)
        self.dtype = self.parameters.dtype
        self.gradients = backend.xp.zeros_like(self.parameters)
        self.grad: Array = None  # dL/d(logits); kept, because a recorded step writes to it again
        values, grads = self.views(self.parameters), self.views(self.gradients)
        for layer in self.layers:
            layer.bind(backend, values[layer], grads[layer])

    def views(self, vector: Array) -> dict[Layer, dict[str, Array]]:
        """Views of a vector like ``parameters``: for each layer, its parameters by name."""
        views: dict[Layer, dict[str, Array]] = {layer: {} for layer in self.layers}
        pairs = [(layer, parameter) for layer in self.layers for parameter in layer.parameters]
        pairs.sort(key=lambda pair: not pair[1].decays)  # weights first; the sort is stable
        parts = self.backend.split(vector, [parameter.shape for _, parameter in pairs])
        for (layer, parameter), part in zip(pairs, parts, strict=True):
            views[layer][parameter.name] = part
        return views

    def weights(self) -> list[Array]:
        """The parameters with weight decay, matrices (..., I, O), in the order of the vector."""
        return [
            getattr(layer, p.name) for layer in self.layers for p in layer.parameters if p.decays
        ]

    def forward(self, x: Array) -> Array:
        """x (N, I) or (..., N, I) -> logits (..., N, O)."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(
        self, grad: Array, *, accumulate: float = 0.0, input_gradient: bool = False
    ) -> Array | None:
        """dL/d(logits) (..., N, O) -> ``gradients``, by the chain rule.

        A layer computes its own gradients and then the gradient for the layer before it. The new
        gradients are added to ``accumulate`` times the old ones. Returns dL/dx (..., N, I), or None
        without ``input_gradient``: only adversarial training needs it, and it takes a third of a
        small network's arithmetic.
        """
        for layer in reversed(self.layers):
            layer.compute_gradients(grad, accumulate)
            if input_gradient or layer is not self.layers[0]:
                grad = layer.backward(grad)
        return grad if input_gradient else None

    def backpropagate(
        self,
        x: Array,
        targets: Array,
        *,
        weights: Array | None = None,
        scale: float = 1.0,
        accumulate: float = 0.0,
        input_gradient: bool = False,
    ) -> tuple[Array, Array | None]:
        """Forward and backward for x (..., N, I) and target rows (..., N, O).

        dL/d(logits) is multiplied by ``scale`` and by ``weights`` (..., N, 1) of the images. The
        other arguments are those of ``backward``. Returns the logits and its result.
        """
        xp = self.backend.xp
        logits = self.forward(x)
        if self.grad is None or self.grad.shape != logits.shape:
            self.grad = xp.empty_like(logits)
        grad = self.grad
        self.loss.gradient(self.backend, logits, targets, out=grad, scale=scale)
        if weights is not None:
            xp.multiply(grad, weights, out=grad)
        return logits, self.backward(grad, accumulate=accumulate, input_gradient=input_gradient)

    def compute_gradients(self, x: Array, targets: Array) -> Array:
        """Set ``gradients`` for x (N, I) and target rows (N, O).

        Returns the batch's mean loss (...) as a device array: reading it would wait for the device.
        """
        logits, _ = self.backpropagate(x, targets)
        return self.loss.value(self.backend, logits, targets)

    def outputs(self, logits: Array) -> Array:
        """Logits (..., N, O) -> outputs (N, O), averaged over members. Overwrites the logits."""
        self.backend.elementwise(self.loss.output.function, logits, out=logits)
        return self.backend.xp.mean(logits, axis=0) if self.leading else logits

    def with_own_arrays(self, backend: Backend | None = None) -> Self:
        """A copy with the same parameters and new working arrays, for a thread or a batch size.

        ``backend``: replaces the network's own. It is for the same device, such as a recorder.
        """
        other = copy.copy(self)
        other.backend = backend or self.backend
        other.layers = tuple(layer.with_own_arrays(other.backend) for layer in self.layers)
        other.grad = None
        return other


def size_of(layers: Sequence[Layer]) -> int:
    """P, the number of parameters of the layers."""
    return sum(math.prod(parameter.shape) for layer in layers for parameter in layer.parameters)


PIXEL_SCALE = 1.0 / 255.0


def fill_inputs(backend: Backend, images: Array, out: Array) -> None:
    """Write network inputs to ``out``: device images of uint8 divided by 255, floats unchanged."""
    backend.copyto(images, out=out)
    if images.dtype == backend.xp.uint8:
        backend.xp.multiply(out, PIXEL_SCALE, out=out)
