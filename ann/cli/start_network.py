"""The saved network from which ``train.py --from`` starts."""

import warnings
from pathlib import Path
from typing import Any

from ann.backends.base import Backend
from ann.errors import TrainingWarning, printable_text
from ann.files.model_file import read_model
from ann.neural_network import NeuralNetwork, copy_of, load_model
from ann.nn.layer_list import describe_layers, layer_from, without_arrays
from ann.training.recipe import BY_RULE


def fields_of(path: Path) -> dict[str, Any]:
    """The fields of a recipe that describe a saved network, for default rates and messages.

    A recipe cannot describe every network. It gets the first of several activations, and default
    hidden layers if those of the network have unusual options. Batch normalisation would change the
    outputs of the network.

    Raises ModelFileError for a wrong file.
    """
    contents = read_model(path)
    layers = [without_arrays(layer) for layer in contents["layers"]]
    activations = [layer["activation"] for layer in layers if "activation" in layer]
    members = contents["layers"][-1]["bias"].shape[:-1]
    hidden = [int(text) if text.isdecimal() else text for text in describe_layers(layers)[1:-1]]
    known = all(isinstance(layer, int) or layer_from(layer, "identity") for layer in hidden)
    return {
        "hidden": tuple(hidden) if known else BY_RULE,
        "activation": activations[0],
        "output_activation": activations[-1],
        "loss": contents["loss"],
        "committee": members[0] if members else 1,
        "batch_norm": False,
    }


def start_network(
    path: Path, backend: Backend, seed: int, classes: tuple[str, ...]
) -> NeuralNetwork:
    """A saved network with this seed, and without the recipe of its training.

    Warns if it was trained on other named classes than these, or on the same in another order.
    """
    network = copy_of(load_model(path, backend), seed=seed)
    if "classes" in (network.recipe or {}) and network.classes != classes:
        before, now = (printable_text(", ".join(names)) for names in (network.classes, classes))
        reason = f"{path}: it was trained on the classes {before}; its outputs now become {now}"
        warnings.warn(reason, TrainingWarning, stacklevel=2)
    network.recipe = None
    return network
