"""A training in words: its rates, and what came out of it."""

import numpy as np

from ann.analysis.metrics import learnt_nothing
from ann.cli.describe_model import describe_members, describe_network, errors_of_members
from ann.data.datasets import Dataset
from ann.neural_network import NeuralNetwork
from ann.training.early_stopping import best_first
from ann.training.recipe import Recipe
from ann.training.report import EpochReport


def describe_setup(network: NeuralNetwork, recipe: Recipe, processes: int) -> str:
    """The network, the rates, and the number of processes if there are several."""
    lines = [describe_network(network), _describe_rates(recipe)]
    if processes > 1:
        share = f"each with its share of every batch of {recipe.batch_size} images"
        lines.append(f"{processes} processes, {share}")
    return "\n".join(lines)


def _describe_rates(recipe: Recipe) -> str:
    """The optimizer and its rates: first those that were given, then the defaults.

    Hidden layers and an optimizer that follow from other flags are named, too.
    """
    usual = Recipe()
    chosen = list[str]()
    if recipe.hidden == recipe.default_choices()["hidden"] != usual.hidden:
        chosen.append(f"hidden {','.join(map(str, recipe.hidden))}")
    given = [recipe.optimizer]
    if recipe.optimizer == recipe.default_choices()["optimizer"] != usual.optimizer:
        chosen.append(f"optimizer {given.pop()}")
    for name, default in recipe.default_rates().items():
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
    warning = learnt_nothing(int(np.sum(network.predict(images) != labels)), labels)
    found = [warning] if warning else []
    if members:
        found.append(describe_members(errors_of_members(network, images, labels), len(labels)))
    return found
