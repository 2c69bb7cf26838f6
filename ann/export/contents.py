"""The contents of a network, for every export format."""

from typing import Any

import numpy as np

from ann.neural_network import NeuralNetwork
from ann.nn.network import PIXEL_SCALE


def weights_and_biases(network: NeuralNetwork) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (..., I, O) and biases (..., O) of the layers that have them: float32 host arrays."""
    pairs = network.weights_and_biases()
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in pairs]


def about(network: NeuralNetwork) -> dict[str, Any]:
    """Everything except the parameters."""
    return {
        "layers": network.layer_list,
        "loss": network.loss_name,
        "seed": network.seed,
        "committee": network.committee,
        "preprocessing": {"scale": PIXEL_SCALE},
        "recipe": network.recipe,
    }
