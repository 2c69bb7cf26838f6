"""Incremental training: one epoch in each call, on images that may be new each time."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from ann.data.datasets import Dataset
from ann.neural_network import NeuralNetwork
from ann.nn.rng import drawn
from ann.training.batches import ImageSet
from ann.training.diagnostics import raise_if_diverged
from ann.training.distributed import SINGLE_PROCESS
from ann.training.recipe import Recipe
from ann.training.trainer import Trainer
from ann.training.training_data import check_training_data

_SMALL = 2**20  # numbers in the images


@dataclass
class Progress:
    """The state of training between calls, in addition to the network.

    Attributes:
        steps: the number of steps made.
        arrays: host arrays by name: those of the optimizer, and averages of the parameters.
        prepared: what the last call prepared; a pickle or a copy does not have it.
    """

    steps: int = 0
    arrays: dict[str, Any] = field(default_factory=dict)
    prepared: "_Prepared | None" = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "prepared": None}


@dataclass
class _Prepared:
    """A trainer for data of one shape, with its own network and its own copy of the data."""

    key: tuple[Any, ...]  # the recipe, and the shapes and types of the data
    network: NeuralNetwork
    images: ImageSet
    trainer: Trainer

    def use(self, network: NeuralNetwork, images: ImageSet) -> None:
        """Replace the parameters and the data by these."""
        self.network.parameters[...] = network.parameters
        for name in ("pixels", "targets", "weights"):
            array = getattr(self.images, name)
            if array is not None:
                array[...] = getattr(images, name)


def fit_epoch(
    network: NeuralNetwork, dataset: Dataset, recipe: Recipe, before: Progress, weights: Any = None
) -> tuple[float, Progress]:
    """Train a network in place for one epoch, with a constant learning rate.

    Several calls with the same images have the same result as ``fit`` with the schedule "constant"
    and without warm-up. A call takes less time if its recipe, and the shape of its data, are those
    of the last call.

    Args:
        network: as for ``fit``. All calls need networks with the same layers and seed.
        dataset: as for ``fit``, without validation images.
        recipe: as for ``fit``, without distortions. Its epochs, schedule and warm-up are ignored.
        before: what the last call returned; ``Progress()`` in the first call. An optimizer with
            other vectors starts anew.
        weights: as for ``fit``.

    Returns the mean loss over the epoch, and the progress for the next call. Raises ValueError and
    DivergenceError, as ``fit`` does.
    """
    data = check_training_data(network, dataset, recipe, weights, SINGLE_PROCESS)
    key = (recipe, *((array.shape, array.dtype.name) for array in data.arrays))
    with network.backend.ignore_overflow():
        # Keep all pixels: those that are black in these images may not be black in the next ones
        images = ImageSet(
            network, data.images, data.labels, recipe, weights=data.weights, trim=False
        )
        # If this call fails, or continues another copy of an estimator, it must not be used again
        prepared, before.prepared = before.prepared, None
        # A copy of large data would cost much memory, to save little time
        is_reusable = images.pixels.size <= _SMALL
        if prepared and prepared.key == key:
            prepared.use(network, images)
        else:
            if is_reusable:  # on a CPU, the array may be the caller's
                images.pixels = network.backend.xp.asarray(images.pixels, copy=True)
            own = copy.deepcopy(network)
            prepared = _Prepared(key, own, images, Trainer(own, images, recipe))
        trainer = prepared.trainer
        state = trainer.state(0)
        shapes = {name: array.shape for name, array in state.items()}
        if shapes != {name: array.shape for name, array in before.arrays.items()}:
            before = Progress()  # the first call, or the first one with another optimizer
        for name, values in before.arrays.items():
            state[name][...] = network.backend.from_host(values)
        epoch = math.ceil(before.steps / trainer.steps) + 1  # an epoch that begins after them
        order = drawn(network.seeds, "order", epoch, lambda rng: rng.permutation(images.count))
        for _ in trainer.epoch(order, epoch, [recipe.learning_rate] * trainer.steps):
            pass
        network.parameters[...] = prepared.network.parameters
        loss = float(trainer.loss.sum(order)) / images.count
        raise_if_diverged(network, loss, epoch, recipe)
    arrays = {name: network.backend.to_host(array).copy() for name, array in state.items()}
    return loss, Progress(epoch * trainer.steps, arrays, prepared if is_reusable else None)
