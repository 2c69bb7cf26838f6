"""What a network consists of, for every format."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ann.neural_network import NeuralNetwork


def weights_and_biases(network: NeuralNetwork) -> list[tuple[np.ndarray, np.ndarray]]:
    """The weights (..., I, O) and biases (..., O) of each layer, host arrays of float32."""
    to_host = network.backend.to_host
    return [
        (
            to_host(layer.weight).astype(np.float32),
            to_host(layer.bias)[..., 0, :].astype(np.float32),
        )
        for layer in network.layers
    ]


def about(network: NeuralNetwork) -> dict[str, Any]:
    """All but the numbers."""
    return {
        "layers": network.layer_list,
        "loss": network.loss_name,
        "seed": network.seed,
        "committee": network.committee,
        "preprocessing": {"scale": network.pixel_scale},
        "recipe": network.recipe,
    }


def library(name: str) -> Any:
    """Import a library of the extra ``export``."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = name.split(".")[0]
        raise ImportError(f"this format needs {package}: pip install -e '.[export]'") from None
