"""The tasks of the benchmark, and what a contender is: one library's way of training them.

All contenders do the same training, written as each library's users write it. An epoch includes
what a real one includes: gathering and scaling the pixels, the targets, the loss, and waiting for
the result. Hidden layers are sigmoid or relu, and outputs are sigmoids with cross-entropy. The
optimizers are SGD with momentum, and AdamW, which does not decay biases.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

import ann
from ann.nn.layer_list import describe_shape

INPUTS, CLASSES = 784, 10


class Data(NamedTuple):
    """What all contenders start from: uint8 images (N, I), labels (N,), and the initial weights
    (I, O) and biases (O,) of each layer, as in ``weights_and_biases``.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Task:
    """A training with a recipe, for a network of ``INPUTS`` inputs and ``CLASSES`` outputs.

    ``count`` is the number of images in an epoch, a multiple of the batch size.
    """

    name: str
    recipe: ann.Recipe
    count: int
    device: str = "cpu"

    def __str__(self) -> str:
        recipe = self.recipe
        network = f"{describe_shape(self.layers)} {recipe.activation}"
        return f"{self.name}: {network}, batch {recipe.batch_size}, {recipe.optimizer}"

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The layer list of the network."""
        return self.recipe.layer_list(INPUTS, CLASSES)

    @property
    def is_convolutional(self) -> bool:
        """Whether the images are pictures for the network, not rows."""
        return "type" in self.layers[0]

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.count // self.recipe.batch_size

    def data(self, images: np.ndarray, labels: np.ndarray) -> Data:
        """The first of these images, and the initial weights of this package for seed 0.

        Raises ValueError for images of another size.
        """
        if images[0].size != INPUTS:
            problem = f"images of {images[0].size} pixels; the networks of the tasks take"
            fix = "leave out --data, or use --profile"
            raise ValueError(f"--data: {problem} {INPUTS}; {fix}")
        weights = ann.NeuralNetwork(self.layers).weights_and_biases()
        return Data(images[: self.count].reshape(self.count, -1), labels[: self.count], weights)


def product_of(layer: Any, images: int) -> tuple[int, int, int]:
    """(N, I, O) of a layer's product x W; a convolution has a row for each position."""
    return images * math.prod(layer.output_shape[1:]), *layer.parameters[0].shape


class Contender(Protocol):
    """One library's way of training a task. It raises RuntimeError if it cannot train it."""

    def __init__(self, task: Task, data: Data) -> None: ...

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order; the mean loss over the epoch."""

    def predict(self) -> np.ndarray:
        """The label of each image."""


_SMALL = ann.Recipe(
    (128, 32), "sigmoid", optimizer="sgd", learning_rate=0.1, weight_decay=0.0, batch_size=100
)
_RELU = replace(_SMALL, activation="relu")
_WIDE = replace(_RELU, hidden=(1024, 1024), optimizer="adamw", weight_decay=0.01)
_CONV = replace(_RELU, hidden=("conv16x5", "pool2", "conv32x5", "pool2", 128))
_BIG = replace(_RELU, hidden=(2500, 2000, 1500, 1000, 500))
TASKS = (
    Task("classroom", _SMALL, 60_000),
    Task("small batches", replace(_SMALL, learning_rate=0.01, batch_size=10), 20_000),
    Task("wide", replace(_WIDE, learning_rate=0.001, batch_size=256), 12_800),
    Task("conv", replace(_CONV, learning_rate=0.02, batch_size=128), 2_560),
    Task("big", replace(_BIG, learning_rate=0.005, batch_size=512), 2_048),
)
