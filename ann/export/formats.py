"""A trained network in other programs' formats, by suffix: ONNX, which other runtimes compute,
safetensors, which PyTorch loads, and NumPy's npz. All but the last need a library from the extra
``export``.
"""

from __future__ import annotations

from collections.abc import Callable

from ann.export.npz import npz_bytes
from ann.export.onnx import onnx_bytes
from ann.files.pickle.reader import read_pickle
from ann.files.safetensors import to_safetensors
from ann.neural_network import NeuralNetwork


def safetensors_bytes(network: NeuralNetwork) -> bytes:
    """A safetensors file, as ``files.safetensors`` describes it, which ``load_model`` reads, too.

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
