"""Finds the faster device for a training run. A small network may train faster on the CPU than on a
GPU, so a few steps of the run are timed on both, with a temporary network.
"""

import math
import time
from itertools import islice

import numpy as np

from ann.backends.base import Backend
from ann.backends.select import get_backend
from ann.data.datasets import Dataset
from ann.training.batches import ImageSet
from ann.training.recipe import Recipe
from ann.training.trainer import Trainer
from ann.validation import check_images

_FEW, _MANY, _ROUNDS = 2, 7, 3


def choose_backend(dataset: Dataset, recipe: Recipe, precision: str = "float32") -> Backend:
    """The faster device for this training run; the result is added to its ``description``.

    Without a working GPU it is the CPU, and nothing is timed. The timing does not affect the run.
    Raises ValueError if the data do not fit the recipe, and DeviceError if the precision needs a
    GPU and there is none.
    """
    found = get_backend("auto", precision)
    if found.name != "gpu" or precision != "float32":  # there is no choice
        return found
    backends = [found, get_backend("cpu")]
    seconds = [seconds_an_epoch(backend, dataset, recipe) for backend in backends]
    faster = backends[seconds.index(min(seconds))]
    ratio = max(seconds) / min(seconds)
    faster.description = f"{ratio:.1f}x faster on this network; {faster.description}"
    return faster


def seconds_an_epoch(backend: Backend, dataset: Dataset, recipe: Recipe) -> float:
    """Estimate the time of an epoch from the shortest times of a few steps and of a few more.

    Their difference is the time of a step; the rest is the fixed cost of an epoch. Raises
    ValueError if the data do not fit the recipe.
    """
    shape = dataset.train_images.shape[1:]
    pixels = check_images("train_images", dataset.train_images, (math.prod(shape),))
    count = max(1, len(pixels) - recipe.validation)  # ``fit`` rejects too many validation images
    network = recipe.network(dataset, backend)
    images = ImageSet(network, pixels[:count], dataset.train_labels[:count], recipe, shape)
    trainer = Trainer(network, images, recipe)
    many = min(_MANY, trainer.steps)
    few = min(_FEW, many - 1)
    rates = [recipe.learning_rate / 100] * many
    order = np.tile(np.arange(count), (*network.network.leading, 1))

    def seconds(number: int) -> float:
        backend.synchronize()
        started = time.perf_counter()
        for _ in islice(trainer.epoch(order, 1, rates), number):
            pass
        backend.synchronize()
        return time.perf_counter() - started

    with backend.ignore_overflow():
        for _ in range(2):  # records the steps; then, on a GPU, captures the CUDA graph
            seconds(many)
        of_many = min(seconds(many) for _ in range(_ROUNDS))
        of_few = min(seconds(few) for _ in range(_ROUNDS))
    of_one = max(0.0, of_many - of_few) / (many - few)
    return of_many + of_one * (trainer.steps - many)
