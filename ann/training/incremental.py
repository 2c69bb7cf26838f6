"""Incremental training: one epoch in each call, on images that may be new each time."""

from dataclasses import dataclass, field
from typing import Any

from ann.data.datasets import Dataset
from ann.neural_network import NeuralNetwork
from ann.nn.rng import drawn
from ann.training.batches import ImageSet
from ann.training.distributed import SINGLE_PROCESS
from ann.training.evaluate import raise_if_diverged
from ann.training.recipe import Recipe
from ann.training.trainer import Trainer
from ann.training.training_data import check_training_data


@dataclass
class Progress:
    """The state of a training between calls, in addition to the network.

    Attributes:
        steps: the number of steps made.
        arrays: host arrays by name: those of the optimizer, and averages of the parameters.
    """

    steps: int = 0
    arrays: dict[str, Any] = field(default_factory=dict)


def fit_epoch(
    network: NeuralNetwork,
    dataset: Dataset,
    recipe: Recipe,
    progress: Progress,
    weights: Any = None,
) -> float:
    """Train a network in place for one epoch, with a constant learning rate.

    Several calls with the same images have the same result as ``fit`` with the schedule "constant"
    and without warm-up.

    Args:
        network: as for ``fit``.
        dataset: as for ``fit``, without validation images.
        recipe: as for ``fit``; its epochs, schedule and warm-up are ignored.
        progress: a new one in the first call, and the same one later. It is updated.
        weights: as for ``fit``.

    Returns:
        The mean loss over the epoch.

    Raises:
        ValueError, DivergenceError: as for ``fit``.
    """
    data = check_training_data(network, dataset, recipe, weights, SINGLE_PROCESS)
    to_host, from_host = network.backend.to_host, network.backend.from_host
    with network.backend.ignore_overflow():
        smoothing = recipe.label_smoothing
        # Keep all pixels: those that are black in these images may not be black in the next ones
        images = ImageSet(
            *(network, data.images, data.labels),
            label_smoothing=smoothing,
            weights=data.weights,
            shape=data.shape,
        )
        trainer = Trainer(network, images, recipe)
        state = trainer.state(0)
        for name, values in progress.arrays.items():
            state[name][...] = from_host(values)
        epoch = -(-progress.steps // trainer.steps) + 1  # an epoch that begins after them
        order = drawn(network.seeds, "order", epoch, lambda rng: rng.permutation(images.count))
        trainer.run_epoch(order, epoch, [recipe.learning_rate] * trainer.steps)
        loss = float(trainer.loss.sum(order)) / images.count
        raise_if_diverged(network, loss, epoch, recipe)
    progress.steps = epoch * trainer.steps
    progress.arrays = {name: to_host(array).copy() for name, array in state.items()}
    return loss
