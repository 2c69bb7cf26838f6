"""The gradient check: does a backward pass say what the forward pass does? It is how a new activation, loss or layer is
tested, on any device.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ann.neural_network import NeuralNetwork

_STEP = 1e-5  # about the cube root of float64's precision, where rounding and curvature err alike


def gradient_error(
    function: Callable[[np.ndarray], float],
    gradient: np.ndarray,
    point: np.ndarray,
    random: np.random.Generator,
    directions: int = 3,
) -> float:
    """How far <v, gradient> is from a central difference of the function along v, for some random v; at worst.

    One random direction tests all partial derivatives at once, after autograd's check_vjp: a wrong one shows with
    certainty in all but a vanishing share of directions.

    Args:
        function: point -> a number.
        gradient: what is claimed to be its gradient there, a float64 host array of the point's shape.
        point: where, a float64 host array.
        random: draws the directions.
        directions: how many are tried.

    Returns:
        |difference - <v, gradient>| / max(1, |difference|): below 1e-6 where the gradient is right and smooth.

    Raises:
        ValueError: an array is not float64, or their shapes differ.
    """
    if not point.dtype == gradient.dtype == np.float64 or point.shape != gradient.shape:
        raise ValueError(f"gradient: expected float64 of shape {point.shape}, got {gradient.dtype} {gradient.shape}")
    worst = 0.0
    for _ in range(directions):
        v = random.standard_normal(point.shape)
        difference = (function(point + _STEP * v) - function(point - _STEP * v)) / (2.0 * _STEP)
        error = abs(difference - float((gradient * v).sum())) / max(1.0, abs(difference))
        worst = max(worst, error if np.isfinite(error) else np.inf)
    return worst


def network_gradient_error(network: NeuralNetwork, random: np.random.Generator) -> float:
    """``gradient_error`` of a float64 network's mean loss on six random images, for all its parameters.

    Raises:
        ValueError: the network is not of float64, in which alone a difference says anything.
    """
    if network.dtype_name != "float64":
        raise ValueError("network: expected one made with dtype='float64'")
    backend, classes = network.backend, network.output_dim
    x, _ = network.inputs(backend.from_host(random.random((6, network.input_dim))))
    targets = backend.from_host(np.eye(classes)[random.integers(0, classes, 6)])
    start = backend.to_host(network.parameters).copy()

    def mean_loss(parameters: np.ndarray) -> float:
        network.parameters[...] = backend.from_host(parameters)
        return float(network.xp.sum(network.loss.value(backend, network.forward(x), targets)))  # of all members

    with backend.ignore_overflow():
        network.compute_gradients(x, targets)
        gradients = backend.to_host(network.gradients).copy()
        return gradient_error(mean_loss, gradients, start, random)
