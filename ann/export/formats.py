"""A trained network in the formats of other programs, by suffix: ONNX for other runtimes,
safetensors for PyTorch, and NumPy's npz. All but npz need a library from the extra ``export``.
"""

from collections.abc import Callable

from ann.export.npz import npz_bytes
from ann.export.onnx import onnx_bytes
from ann.files.pickle.reader import read_pickle
from ann.files.safetensors import to_safetensors
from ann.neural_network import NeuralNetwork


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
