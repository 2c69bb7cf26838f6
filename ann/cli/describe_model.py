"""Networks and model files in words."""

from pathlib import Path

import numpy as np

from ann.analysis.metrics import summarize
from ann.errors import printable_text
from ann.files.model_file import read_model
from ann.neural_network import NeuralNetwork
from ann.nn.layer_list import describe_shape


def describe_network(network: NeuralNetwork) -> str:
    """A network's shape, size and seeds."""
    shape = describe_shape(network.layer_list)
    size, seeds = network.parameters.shape[-1], network.seeds
    if network.committee == 1:
        return f"network {shape}, {size:,} parameters, seed {network.seed}"
    members = f"committee of {len(seeds)} networks {shape}, {size:,} parameters each"
    return f"{members}, seeds {seeds[0]} to {seeds[-1]}"


def describe_model(path: Path) -> str:
    """The contents of a model file, checked as ``ann.load_model`` does, except for its self-test.

    No network is built, so that a stranger's file can be looked at before it is used.

    Raises:
        ModelFileError: it is not a model file.
    """
    contents = read_model(path)
    layers, recipe, examples = contents["layers"], contents["recipe"], contents["examples"]
    leading = layers[-1]["bias"].shape[:-1]
    committee = f"committee of {leading[0]}, each " if leading else ""
    activations = ", ".join(layer["activation"] for layer in layers if "activation" in layer)
    arrays = [layer[key] for layer in layers for key in ("weight", "bias") if key in layer]
    size = sum(array.size for array in arrays)
    smallest = min(array.min() for array in arrays)
    largest = max(array.max() for array in arrays)
    fields = ", ".join(f"{name} {value}" for name, value in recipe.items()) if recipe else "none"
    lines = {
        "file": f"{path}, {path.stat().st_size:,} bytes",
        "format": f"{contents['format']}, version {contents['version']}",
        "network": f"{committee}{describe_shape(layers)}, {activations}",
        "loss": contents["loss"],
        "numbers": f"{size:,}, from {smallest:.4g} to {largest:.4g}",
        "seed": contents["seed"],
        "recipe": fields,
        "examples": f"{len(examples['images'])} images and their outputs" if examples else "none",
        "SHA-256": f"{contents['sha256']}, right",
    }
    return "\n".join(f"{name:9} {printable_text(value, 1000)}" for name, value in lines.items())


def errors_of_members(network: NeuralNetwork, images: np.ndarray, labels: np.ndarray) -> list[int]:
    """How many images each member of a committee misclassifies."""
    members = (network.member(number) for number in range(network.committee))
    return [int((member.predict(images) != labels).sum()) for member in members]


def describe_members(wrong: list[int], total: int) -> str:
    """The errors of each member, and their spread."""
    counts = enumerate(wrong, start=1)
    lines = [f"member {number}: {count} of {total:,} wrong" for number, count in counts]
    return "\n".join([*lines, f"members: {summarize(wrong)}"])
