"""Describes networks, model files and training runs in words."""

from pathlib import Path

import numpy as np

from ann.analysis.metrics import learnt_nothing, summarize
from ann.data.datasets import Dataset
from ann.errors import printable_text
from ann.files.model_file import read_model
from ann.neural_network import NeuralNetwork
from ann.nn.layer_list import describe_shape
from ann.training.defaults import default_choices, default_rates
from ann.training.early_stopping import best_first
from ann.training.recipe import Recipe
from ann.training.report import EpochReport


def describe_network(network: NeuralNetwork) -> str:
    """A network's shape, size and seed."""
    shape = describe_shape(network.layer_list)
    size = network.parameters.shape[-1]
    if network.committee == 1:
        return f"network {shape}, {size:,} parameters, seed {network.seed}"
    members = f"committee of {network.committee} networks {shape}, {size:,} parameters each"
    return f"{members}, first seed {network.seed}"  # joined members may have any others


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
    members = map(network.member, range(network.committee))
    return [member.evaluate(images, labels).errors for member in members]


def describe_members(wrong: list[int], total: int) -> str:
    """The errors of each member, and their spread."""
    counts = enumerate(wrong, start=1)
    lines = [f"member {number}: {count} of {total:,} wrong" for number, count in counts]
    return "\n".join([*lines, f"members: {summarize(wrong)}"])


def describe_setup(network: NeuralNetwork, recipe: Recipe, processes: int) -> str:
    """The network, the rates, and the number of processes if there are several."""
    lines = [describe_network(network), _describe_rates(recipe)]
    if processes > 1:
        share = f"each with its share of every batch of {recipe.batch_size} images"
        lines.append(f"{processes} processes, {share}")
    return "\n".join(lines)


def _describe_rates(recipe: Recipe) -> str:
    """The optimizer and its rates: first those that were given, then the defaults.

    Hidden layers and an optimizer that depend on other flags are named, too.
    """
    usual = Recipe()
    chosen = list[str]()
    if recipe.hidden == default_choices(recipe)["hidden"] != usual.hidden:
        chosen.append(f"hidden {','.join(map(str, recipe.hidden))}")
    given = [recipe.optimizer]
    if recipe.optimizer == default_choices(recipe)["optimizer"] != usual.optimizer:
        chosen.append(f"optimizer {given.pop()}")
    for name, default in default_rates(recipe).items():
        value = getattr(recipe, name)
        words = f"{name.replace('_', ' ')} {value:g}"
        (chosen if value == default else given).append(words)
    note = [f"defaults for these flags: {', '.join(chosen)}"] if chosen else []
    return "; ".join([", ".join(given), *note] if given else note)


def describe_result(recipe: Recipe, reports: list[EpochReport]) -> str:
    """The losses and errors of the epoch whose parameters are saved."""
    if not recipe.early_stopping:
        return reports[-1].result()
    best = min(reports, key=best_first)
    early = f"stopped early after {len(reports)} epochs; " if len(reports) < recipe.epochs else ""
    return f"{early}best epoch {best.epoch}: {best.result()}"


def remarks(network: NeuralNetwork, dataset: Dataset, recipe: Recipe, members: bool) -> list[str]:
    """A warning if the network has learnt next to nothing; with ``members``, the errors of each.

    Errors are counted on the validation images, or else on about 1,000 training images.
    """
    step = max(1, -(-len(dataset.train_images) // 1000))
    chosen = slice(-recipe.validation, None) if recipe.validation else slice(None, None, step)
    images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
    warning = learnt_nothing(network.evaluate(images, labels).errors, labels)
    found = [warning] if warning else []
    if members:
        found.append(describe_members(errors_of_members(network, images, labels), len(labels)))
    return found
