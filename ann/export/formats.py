"""A trained network in the formats of other programs, by suffix: ONNX for other runtimes,
safetensors for PyTorch, and NumPy's npz. All but npz need a library from the extra ``export``.
"""

import io
import json
from collections.abc import Callable

import numpy as np

from ann.export.onnx import about, onnx_bytes
from ann.files.pickle.reader import read_pickle
from ann.files.safetensors import to_safetensors
from ann.neural_network import NeuralNetwork, layers_with_arrays


def npz_bytes(network: NeuralNetwork) -> bytes:
    """An npz file with ``weight1`` (I, O), ``bias1`` (O,), ``weight2`` and so on, one per layer.

    The weights of a convolution are (C k k, F); pooling has none. For a committee they have a
    new first axis, its members. ``about`` is JSON text with the layers, loss, seed, recipe and
    pixel scale.
    """
    arrays = {"about": np.array(json.dumps(about(network)))}
    for number, layer in enumerate(layers_with_arrays(network), start=1):
        for name in ("weight", "bias"):
            if name in layer:
                arrays[f"{name}{number}"] = layer[name].astype(np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # no array is named like an option
    return buffer.getvalue()


def safetensors_bytes(network: NeuralNetwork) -> bytes:
    """A safetensors file as described in ``files.safetensors``; ``load_model`` reads it, too.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: it could not be read back.
    """
    return to_safetensors(read_pickle(network.to_bytes()))


FORMS: dict[str, Callable[[NeuralNetwork], bytes]] = {
    ".npz": npz_bytes,
    ".safetensors": safetensors_bytes,
    ".onnx": onnx_bytes,
}
