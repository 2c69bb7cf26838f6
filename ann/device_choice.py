"""How fast a device trains a network. A small one may be done sooner on the CPU than a GPU's queue is filled, and only
trying tells; so a few steps of the very training are made, with a network that is thrown away.
"""

from __future__ import annotations

import time

import numpy as np

from ann.backend import get_backend
from ann.datasets import CLASSES, Dataset
from ann.images import Images
from ann.network import NeuralNetwork
from ann.operations import Backend
from ann.pixels import black_first
from ann.recipes import Recipe
from ann.steps import Steps
from ann.validation import check_images

_STEPS, _ROUNDS = 5, 3


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
    """About how long an epoch takes: the least of a few rounds of a few steps, after a first that records them, times
    as many as there are. Raises ValueError where the data do not fit the recipe.
    """
    images = check_images("train_images", dataset.train_images, dataset.train_images[0].size)
    count = min(_STEPS * recipe.batch_size, len(images))
    layers = recipe.layer_list(images.shape[1], CLASSES)
    network = NeuralNetwork(layers, recipe.loss, backend, committee=recipe.committee)
    few = Images(network, images[:count], dataset.train_labels[:count], shape=dataset.train_images.shape[1:])
    few.rows, few.black = black_first(images)  # what all of the training can leave out; these few would allow more
    steps = Steps(network, few, recipe)
    rates = [recipe.learning_rate / 100] * steps.count
    order = np.tile(np.arange(count), (*network.leading, 1))
    best = float("inf")
    with backend.quiet():
        for turn in range(2 + _ROUNDS):  # one to record the steps, one to capture a graph where there are graphs
            backend.synchronize()
            started = time.perf_counter()
            steps.epoch(order, 0, rates)
            backend.synchronize()
            if turn > 1:
                best = min(best, time.perf_counter() - started)
    return best * (len(images) - recipe.validation) / count
