"""The gradient check: is the gradient of a backward pass the derivative of the forward pass?

Every activation, loss and layer is tested this way, on any device.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ann.backends.base import Backend
from ann.neural_network import NeuralNetwork
from ann.nn.activations import ACTIVATIONS
from ann.nn.batch_norm import BatchNorm
from ann.nn.convolution import Conv2D
from ann.nn.dropout import Dropout
from ann.nn.initializers import he
from ann.nn.layers import ActivationLayer, Dense, Layer
from ann.nn.losses import LOSSES, get_loss
from ann.nn.network import Network

_STEP = 1e-5  # about the cube root of float64's precision: rounding and curvature err alike
_IMAGES = 6
_CONV: dict[str, Any] = {"type": "conv2d", "filters": 3, "kernel": 3, "activation": "tanh"}
_FIRST = {**_CONV, "input_shape": [2, 6, 6]}
_LAST = {"output_dim": 4, "activation": "sigmoid"}
_SMALL = 1, 4, 2  # the shape of a picture with 3 positions of a 2 x 2 window
_PICTURE_NETWORKS = {
    "two convolutions": [_FIRST, _CONV],
    "convolution with stride 2": [{**_FIRST, "stride": 2}],
    "convolution with same padding": [{**_FIRST, "padding": "same"}],
    "convolution and max pooling": [_FIRST, {"type": "max_pool2d", "size": 2}],
    "convolution and average pooling": [_FIRST, {"type": "average_pool2d", "size": 2}],
}


def gradient_error(
    function: Callable[[np.ndarray], float],
    gradient: np.ndarray,
    point: np.ndarray,
    random: np.random.Generator,
) -> float:
    """Compare <v, gradient> with central differences of the function along three random vectors v.

    One random direction tests all partial derivatives at once, as in autograd's check_vjp: only a
    vanishing share of directions would hide a wrong one.

    ``gradient`` is the function's supposed gradient at ``point``, a host array of its shape; both
    are float64, because float32 rounds too much for finite differences.

    Returns:
        The largest |difference - <v, gradient>| / max(1, |difference|). It is below 1e-6 if the
        gradient is right and the function smooth.
    """
    worst = 0.0
    for _ in range(3):
        v = random.standard_normal(point.shape)
        ahead, behind = function(point + _STEP * v), function(point - _STEP * v)
        difference = (ahead - behind) / (2.0 * _STEP)
        error = abs(difference - float((gradient * v).sum())) / max(1.0, abs(difference))
        worst = max(worst, error if np.isfinite(error) else np.inf)
    return worst


def network_gradient_error(network: Network, random: np.random.Generator) -> float:
    """``gradient_error`` of a float64 network's mean loss on random images, for all parameters."""
    backend = network.backend
    first, *_, last = network.layers
    inputs, classes = math.prod(first.input_shape), math.prod(last.output_shape)
    x = backend.from_host(random.random((_IMAGES, inputs)))
    targets = backend.from_host(np.eye(classes)[random.integers(0, classes, _IMAGES)])
    start = backend.to_host(network.parameters).copy()

    def mean_loss(parameters: np.ndarray) -> float:
        network.parameters[...] = backend.from_host(parameters)
        losses = network.loss.value(backend, network.forward(x), targets)
        return float(backend.xp.sum(losses))  # over the members of a committee

    with backend.ignore_overflow():
        network.compute_gradients(x, targets)
        gradients = backend.to_host(network.gradients).copy()
        return gradient_error(mean_loss, gradients, start, random)


def gradient_errors(backend: Backend) -> Iterator[tuple[str, float]]:
    """``network_gradient_error`` for every activation, loss and layer, by name."""
    for number, (name, network) in enumerate(_cases(backend)):
        yield name, network_gradient_error(network, np.random.default_rng([1, number]))


def _cases(backend: Backend) -> Iterator[tuple[str, Network]]:
    """Small networks and their names: one for each activation, loss with outputs, and layer."""

    def built(layers: list[Any], loss: str = "cross-entropy", committee: int = 1) -> Network:
        return NeuralNetwork(layers, loss, backend, 1, "float64", committee=committee).network

    def three_layers(hidden: str, output: str = "sigmoid") -> list[Any]:
        first = {"input_dim": 7, "output_dim": 6, "activation": hidden}
        return [first, {**_LAST, "activation": hidden}, {**_LAST, "activation": output}]

    for activation in ACTIVATIONS:
        yield f"hidden layers {activation}", built(three_layers(activation))
    for loss in LOSSES:
        for output in ACTIVATIONS:
            try:
                found = built(three_layers("tanh", output), loss)
            except ValueError:
                continue  # cross-entropy needs outputs between 0 and 1
            yield f"{loss} of {output} outputs", found
    yield "a committee of three", built(three_layers("tanh"), committee=3)
    for name, layers in _PICTURE_NETWORKS.items():
        yield name, built([*layers, _LAST])
    layers = [*_PICTURE_NETWORKS["convolution and max pooling"], _LAST]
    yield "a committee of two with convolution", built(layers, committee=2)
    xp = backend.xp
    for name, first, positions in (
        ("dropout", Dense(7, 6, he), 1),
        ("dropout of channels", Conv2D(_SMALL, 2, 2, he), 3),
    ):
        dropout = Dropout(0.4, xp.zeros(1, dtype=xp.uint32), positions=positions)
        dropout.images = xp.arange(_IMAGES, dtype=xp.uint32)
        yield name, _training_network(backend, first, ActivationLayer("tanh"), dropout)
    dense, convolution = Dense(7, 6, he, bias=False), Conv2D(_SMALL, 2, 2, he, bias=False)
    for name, layer, norm in (
        ("batch normalisation", dense, BatchNorm(6)),
        ("convolution and batch normalisation", convolution, BatchNorm(2, positions=3)),
    ):
        norm.statistics = xp.zeros((2, norm.dim), dtype=xp.float64)
        yield name, _training_network(backend, layer, norm, ActivationLayer("tanh"))


def _training_network(backend: Backend, *hidden: Layer) -> Network:
    """A network with layers that exist only in training, and random parameters."""
    layers = [*hidden, Dense(6, 4, he)]
    loss = get_loss("cross-entropy", "sigmoid")
    network = Network(backend, layers, loss, backend.xp.float64)
    random = np.random.default_rng(0).standard_normal(network.parameters.shape)
    network.parameters[...] = backend.from_host(random)
    return network
