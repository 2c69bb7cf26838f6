"""The tasks of the benchmark, and what a contender is: one library's way of training them.

All contenders do the same training, written as each library's users write it. An epoch includes
what a real one includes: gathering and scaling the pixels, the targets, the loss, and waiting for
the result. Hidden layers are sigmoid or relu, and outputs are sigmoids with cross-entropy. The
optimizers are SGD with momentum, and AdamW, which does not decay biases.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

import ann
from ann.nn.layer_list import build_layers, describe_shape

MOMENTUM, BETA2, EPSILON = 0.9, 0.99, 1e-8


class Data(NamedTuple):
    """What all contenders start from: uint8 images (N, I), labels (N,), and the initial weights
    (I, O) and biases (O,) of each layer, as in ``weights_and_biases``.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Task:
    """A training of ``count`` images an epoch, a multiple of ``batch``, by "sgd" or "adamw".

    ``widths`` are the numbers of inputs, the hidden layers of a recipe and the number of outputs.
    """

    name: str
    widths: tuple[Any, ...]
    activation: str
    batch: int
    optimizer: str
    rate: float
    weight_decay: float
    count: int
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.name}: {describe_shape(self.layers)} {self.activation}"

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The layer list of the network."""
        recipe = ann.Recipe(hidden=self.widths[1:-1], activation=self.activation)
        return recipe.layer_list(self.widths[0], self.widths[-1])

    @property
    def is_convolutional(self) -> bool:
        """Whether the images are pictures for the network, not rows."""
        return "type" in self.layers[0]

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.count // self.batch

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """``product_of`` each layer that has weights."""
        layers = build_layers(self.layers)
        return [product_of(layer, self.batch) for layer in layers if layer.parameters]

    @property
    def flops(self) -> int:
        """The FLOPs of one step's products, without the gradient of the images."""
        sizes = [math.prod(product) for product in self.products]
        return 2 * (3 * sum(sizes) - sizes[0])

    def data(self, images: np.ndarray, labels: np.ndarray) -> Data:
        """The first of these images, and the initial weights of this package for seed 0.

        Raises ValueError for images of another size.
        """
        if images[0].size != self.widths[0]:
            problem = f"images of {images[0].size} pixels; the networks of the tasks take"
            fix = "leave out --data, or use --profile"
            raise ValueError(f"--data: {problem} {self.widths[0]}; {fix}")
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


CONV = (784, "conv16x5", "pool2", "conv32x5", "pool2", 128, 10)
BIG = (784, 2500, 2000, 1500, 1000, 500, 10)
TASKS = (
    Task("classroom", (784, 128, 32, 10), "sigmoid", 100, "sgd", 0.1, 0.0, 60_000),
    Task("small batches", (784, 128, 32, 10), "sigmoid", 10, "sgd", 0.01, 0.0, 20_000),
    Task("wide", (784, 1024, 1024, 10), "relu", 256, "adamw", 0.001, 0.01, 12_800),
    Task("conv", CONV, "relu", 128, "sgd", 0.02, 0.0, 2_560),
    Task("big", BIG, "relu", 512, "sgd", 0.005, 0.0, 2_048),
)
