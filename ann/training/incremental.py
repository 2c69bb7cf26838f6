"""Incremental training: one epoch in each call, on images that may be new each time."""

import copy
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
from ann.training.training_data import TrainingData, check_training_data

_SMALL = 2**20  # numbers in the images


@dataclass
class Progress:
    """The state of a training between calls, in addition to the network.

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


class _Prepared:
    """A trainer for data of one shape, with its own network and its own copy of the data."""

    def __init__(
        self, network: NeuralNetwork, recipe: Recipe, data: TrainingData, images: ImageSet
    ) -> None:
        self._key = _key(recipe, data)
        self._images = images
        # Not if it would cost much memory, to save little of the time; distortions depend on labels
        self.is_reusable = data.images.size <= _SMALL and not recipe.strengths.any
        if self.is_reusable:  # on a CPU, the array may be the caller's
            images.pixels = network.backend.xp.asarray(images.pixels, copy=True)
        self.network = copy.deepcopy(network)
        self.trainer = Trainer(self.network, images, recipe)

    def fits(self, recipe: Recipe, data: TrainingData) -> bool:
        """Whether this data has the same shape, and the recipe is the same."""
        return self._key == _key(recipe, data)

    def use(self, network: NeuralNetwork, images: ImageSet) -> None:
        """Replace the parameters and the data by these."""
        self.network.parameters[...] = network.parameters
        self._images.pixels[...] = images.pixels
        self._images.targets[...] = images.targets
        if self._images.weights is not None:
            self._images.weights[...] = images.weights


def _key(recipe: Recipe, data: TrainingData) -> tuple[Any, ...]:
    return (recipe, *((array.shape, array.dtype.name) for array in data.arrays))


def fit_epoch(
    network: NeuralNetwork,
    dataset: Dataset,
    recipe: Recipe,
    progress: Progress,
    weights: Any = None,
) -> float:
    """Train a network in place for one epoch, with a constant learning rate.

    Several calls with the same images have the same result as ``fit`` with the schedule "constant"
    and without warm-up. A call with data of the same shape as in the last one, and the same recipe,
    takes less time.

    Args:
        network: as for ``fit``.
        dataset: as for ``fit``, without validation images.
        recipe: as for ``fit``; its epochs, schedule and warm-up are ignored.
        progress: a new one in the first call, and the same one later. It is updated. All calls need
            networks with the same layers and seed.
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
        prepared, progress.prepared = progress.prepared, None  # it is lost if the call fails
        if prepared and prepared.fits(recipe, data):
            prepared.use(network, images)
        else:
            prepared = _Prepared(network, recipe, data, images)
        trainer = prepared.trainer
        state = trainer.state(0)
        for name, values in progress.arrays.items():
            state[name][...] = from_host(values)
        epoch = -(-progress.steps // trainer.steps) + 1  # an epoch that begins after them
        order = drawn(network.seeds, "order", epoch, lambda rng: rng.permutation(images.count))
        trainer.run_epoch(order, epoch, [recipe.learning_rate] * trainer.steps)
        network.parameters[...] = prepared.network.parameters
        loss = float(trainer.loss.sum(order)) / images.count
        raise_if_diverged(network, loss, epoch, recipe)
    progress.steps = epoch * trainer.steps
    progress.prepared = prepared if prepared.is_reusable else None
    progress.arrays = {name: to_host(array).copy() for name, array in state.items()}
    return loss
