"""A network as NumPy's npz file."""

import io
import json
from typing import Any

import numpy as np

from ann.export.contents import about, weights_and_biases
from ann.neural_network import NeuralNetwork


def npz_bytes(network: NeuralNetwork) -> bytes:
    """An npz file with ``weight1`` (I, O), ``bias1`` (O,), ``weight2`` and so on.

    For a committee they have a new first axis, its members. ``about`` is JSON text with the layers,
    loss, seed, recipe and pixel scale.
    """
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about(network)))}
    for number, (weight, bias) in enumerate(weights_and_biases(network), start=1):
        arrays |= {f"weight{number}": weight, f"bias{number}": bias}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
