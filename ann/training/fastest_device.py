"""How fast a device trains a network. A small one may be done sooner on the CPU than a GPU's queue is filled, and only
trying tells; so a few steps of the very training are made, with a network that is thrown away.
"""

from __future__ import annotations

import time

import numpy as np

from ann.backends.base import Backend
from ann.backends.select import get_backend
from ann.data.datasets import Dataset
from ann.training.black_pixels import black_first
from ann.training.images import Images
from ann.training.recipe import Recipe
from ann.training.trainer import Steps
from ann.validation import check_images

_FEW, _MANY, _ROUNDS = 2, 7, 3


def choose_backend(dataset: Dataset, recipe: Recipe, precision: str = "float32") -> Backend:
    """The faster device for this training, with what was found in its ``description``.

    Where no GPU computes it is the CPU, and nothing is tried. Nothing random is drawn and nothing kept, so the
    training that follows is as it would have been.

    Raises:
        ValueError: the data do not fit the recipe.
        DeviceError: a precision was asked for that needs a GPU, and there is none.
    """
    found = get_backend("auto", precision)
    if found.name != "gpu" or precision != "float32":  # there is no choice
        return found
    backends = [found, get_backend("cpu")]
    seconds = [seconds_an_epoch(backend, dataset, recipe) for backend in backends]
    faster = seconds.index(min(seconds))
    ratio = max(seconds) / min(seconds)
    backend = backends[faster]
    backend.description = f"{ratio:.1f}x faster on this network; {backend.description}"
    return backend


def seconds_an_epoch(backend: Backend, dataset: Dataset, recipe: Recipe) -> float:
    """Estimate how long an epoch takes, from the shortest times of a few steps and of a few more.

    Their difference gives the time of a step; the rest is the fixed cost of an epoch. Raises ValueError if the data do
    not fit the recipe.
    """
    images = check_images("train_images", dataset.train_images, dataset.train_images[0].size)
    count = min(_MANY * recipe.batch_size, len(images))
    network = recipe.network(dataset, backend)
    sample = Images(network, images[:count], dataset.train_labels[:count], shape=dataset.train_images.shape[1:])
    # Skip only the pixels that are black in the whole training set; more are black in the sample
    sample.rows, sample.black = black_first(images)
    steps = Steps(network, sample, recipe)
    rates = [recipe.learning_rate / 100] * steps.count
    order = np.tile(np.arange(count), (*network.leading, 1))

    def seconds(number: int) -> float:
        backend.synchronize()
        started = time.perf_counter()
        steps.epoch(order, 0, rates, lambda done, size: done == number)
        backend.synchronize()
        return time.perf_counter() - started

    many, few = steps.count, min(_FEW, steps.count - 1)
    with backend.ignore_overflow():
        for _ in range(2):  # the first records the steps, the second captures the CUDA graph, if there is one
            seconds(many)
        of_many = min(seconds(many) for _ in range(_ROUNDS))
        of_few = min(seconds(few) for _ in range(_ROUNDS)) if few else 0.0
    of_one = max(0.0, of_many - of_few) / (many - few)
    steps_an_epoch = -(-(len(images) - recipe.validation) // recipe.batch_size)
    return of_many + of_one * (steps_an_epoch - many)
