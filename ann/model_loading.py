"""From a model file to a network. The file is read and checked, its examples are tried, and only then anything is
built.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

import ann.model_examples as model_examples
from ann.backend import get_backend
from ann.errors import ModelFileError
from ann.files import shown_path
from ann.layer_list import LAYER_KEYS
from ann.model_file import read_model
from ann.network import NeuralNetwork
from ann.operations import Backend


def load_model(path: str | os.PathLike[str], device: str | Backend = "cpu") -> NeuralNetwork:
    """Read a model file, wherever it was trained, onto a device. It is safe to open a stranger's file.

    The examples in it are tried, so what loads here computes here what it computed where it was saved.

    Raises:
        ModelFileError: the file is missing, unreadable, damaged or not a model of this format, or no output for an
            example may be ``model_examples.TOLERANCE`` off, and one is.
        DeviceError: the device cannot be used.
    """
    backend = get_backend(device)
    contents, path = read_model(path), shown_path(path)
    examples = contents.get("examples")
    specs = [{key: layer[key] for key in LAYER_KEYS} for layer in contents["layers"]]
    try:
        right = not examples or model_examples.hold(contents)  # before anything as large as the file is built
        if right:
            committee, parameters = _parameter_vector(contents)
            network = NeuralNetwork(
                specs, contents["loss"], backend, contents["seed"], parameters=parameters, committee=committee
            )
            network.recipe, network.examples = contents["recipe"], examples and examples["images"]
            if examples and backend.name != "cpu":  # where the same was just computed
                found = model_examples.outputs_of(network.apply, network.examples)
                right = model_examples.agree(examples["outputs"], found, model_examples.TOLERANCE)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except MemoryError:
        raise ModelFileError(f"{path}: there is not enough memory for its network") from None
    if not right:
        raise ModelFileError(
            f"{path}: on this machine it gives other outputs for its own examples than where it was saved; if it has "
            "an activation of your own, import the one that it was trained with"
        )
    return network


def _parameter_vector(contents: dict[str, Any]) -> tuple[int, np.ndarray]:
    """How many members there are, and layer by layer the weights and then the biases, as the network keeps them."""
    leading = contents["layers"][0]["bias"].shape[:-1]
    arrays = [layer[key] for layer in contents["layers"] for key in ("weight", "bias")]
    rows = [array.reshape(*leading, -1) for array in arrays]
    with np.errstate(all="ignore"):
        return math.prod(leading), np.concatenate(rows, axis=-1, dtype=np.float32, casting="same_kind")
