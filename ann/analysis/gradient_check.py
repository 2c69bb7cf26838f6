"""The gradient check: is the gradient of a backward pass the derivative of the forward pass?

Every activation, loss and layer is tested this way, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ann.backends.base import Backend
from ann.neural_network import NeuralNetwork
from ann.nn.activations import ACTIVATIONS
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.losses import LOSSES

_STEP = 1e-5  # about the cube root of float64's precision: rounding and curvature err alike


def gradient_error(
    function: Callable[[np.ndarray], float],
    gradient: np.ndarray,
    point: np.ndarray,
    random: np.random.Generator,
    directions: int = 3,
) -> float:
    """Compare <v, gradient> with a central difference of the function along random directions v.

    One random direction tests all partial derivatives at once, as in autograd's check_vjp: only a
    vanishing share of directions would hide a wrong one.

    Args:
        function: point -> a number.
        gradient: its supposed gradient there, a float64 host array of the point's shape.
        point: a float64 host array.
        random: draws the directions.
        directions: how many are tried.

    Returns:
        The largest |difference - <v, gradient>| / max(1, |difference|). It is below 1e-6 if the
        gradient is right and the function smooth.

    Raises:
        ValueError: an array is not float64, or their shapes differ.
    """
    if not point.dtype == gradient.dtype == np.float64 or point.shape != gradient.shape:
        found = f"{gradient.dtype} {gradient.shape}"
        raise ValueError(f"gradient: expected float64 of shape {point.shape}, got {found}")
    worst = 0.0
    for _ in range(directions):
        v = random.standard_normal(point.shape)
        ahead, behind = function(point + _STEP * v), function(point - _STEP * v)
        difference = (ahead - behind) / (2.0 * _STEP)
        error = abs(difference - float((gradient * v).sum())) / max(1.0, abs(difference))
        worst = max(worst, error if np.isfinite(error) else np.inf)
    return worst


def network_gradient_error(network: NeuralNetwork, random: np.random.Generator) -> float:
    """``gradient_error`` of a network's mean loss on six random images, for all its parameters.

    Raises:
        ValueError: the network is not float64; float32 rounds too much for finite differences.
    """
    if network.dtype_name != "float64":
        raise ValueError("network: expected one made with dtype='float64'")
    backend, classes = network.backend, network.output_dim
    x, _ = network.inputs(backend.from_host(random.random((6, network.input_dim))))
    targets = backend.from_host(np.eye(classes)[random.integers(0, classes, 6)])
    start = backend.to_host(network.parameters).copy()

    def mean_loss(parameters: np.ndarray) -> float:
        network.parameters[...] = backend.from_host(parameters)
        losses = network.loss.value(backend, network.forward(x), targets)
        return float(network.xp.sum(losses))  # over the members of a committee

    with backend.ignore_overflow():
        network.compute_gradients(x, targets)
        gradients = backend.to_host(network.gradients).copy()
        return gradient_error(mean_loss, gradients, start, random)


def gradient_errors(backend: Backend) -> Iterator[tuple[str, float]]:
    """``network_gradient_error`` for every activation, loss and layer, by name."""
    for number, (name, network) in enumerate(_cases(backend)):
        yield name, network_gradient_error(network, np.random.default_rng([1, number]))


def _cases(backend: Backend) -> Iterator[tuple[str, NeuralNetwork]]:
    """Small networks and their names: one for each activation, loss with outputs, and layer."""

    def network(
        hidden: str,
        output: str = "sigmoid",
        loss: str = "cross-entropy",
        committee: int = 1,
    ) -> NeuralNetwork:
        layers = [
            {"input_dim": 7, "output_dim": 6, "activation": hidden},
            {"input_dim": 6, "output_dim": 5, "activation": hidden},
            {"input_dim": 5, "output_dim": 4, "activation": output},
        ]
        return NeuralNetwork(layers, loss, backend, 1, "float64", committee=committee)

    for activation in ACTIVATIONS:
        yield f"hidden layers {activation}", network(activation)
    for loss in LOSSES:
        for output in ACTIVATIONS:
            try:
                found = network("tanh", output, loss)
            except ValueError:
                continue  # cross-entropy needs outputs between 0 and 1
            yield f"{loss} of {output} outputs", found
    yield "a committee of three", network("tanh", committee=3)
    found = network("tanh")
    images, key = (backend.from_host(np.arange(size, dtype=np.uint32)) for size in (6, 1))
    dropout = Dropout(backend, 0.4, images, key, 6, found.dtype)
    _replace_layers(found, [found.layers[0], dropout, *found.layers[1:]])
    yield "dropout", found
    found = network("tanh")
    gains, gradients = (found.xp.zeros(11, dtype=found.dtype) for _ in range(2))
    _replace_layers(found, BatchNorm(backend, [6, 5], gains, gradients).layers(found.layers))
    yield "batch normalisation", found


def _replace_layers(network: NeuralNetwork, layers: list[Any]) -> None:
    """Put in layers that exist only in training; a user cannot replace any."""
    vars(network)["layers"] = layers
