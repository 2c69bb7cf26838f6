"""What the benchmark sets its contenders, and what a contender is: the same training, written the way each library's
users write it.

An epoch includes what a real one includes: gathering and scaling the pixels, the targets, the loss, and waiting for the
result. Layers have sigmoid or relu between them and sigmoid outputs, with cross-entropy. Optimizers are SGD with
momentum, and AdamW, whose decay leaves biases alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Weights = list[tuple[np.ndarray, np.ndarray]]  # for each layer (I, O) and (O,)

MOMENTUM, BETA2, EPSILON = 0.9, 0.99, 1e-8


class UnsuitedError(Exception):
    """Why a contender takes no part in a task."""


@dataclass(frozen=True)
class Task:
    """What is trained: ``count`` images a measured epoch, a multiple of ``batch``, by "sgd" or "adamw"."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    optimizer: str
    rate: float
    weight_decay: float
    count: int
    device: str = "cpu"

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.count // self.batch

    @property
    def flops(self) -> int:
        """Of one step's matrix products; the gradient of the images is not needed."""
        sizes = [inputs * outputs for inputs, outputs in zip(self.widths, self.widths[1:], strict=False)]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])


class Contender(Protocol):
    """One library's way of training a task."""

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None: ...

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order; the mean loss over the epoch."""

    def predict(self) -> np.ndarray:
        """The label of each image."""


BIG = (784, 2500, 2000, 1500, 1000, 500, 10)
TASKS = (
    Task("classroom", (784, 128, 32, 10), "sigmoid", 100, "sgd", 0.1, 0.0, 60_000),
    Task("small batches", (784, 128, 32, 10), "sigmoid", 10, "sgd", 0.01, 0.0, 20_000),
    Task("wide", (784, 1024, 1024, 10), "relu", 256, "adamw", 0.001, 0.01, 12_800),
    Task("big", BIG, "relu", 512, "sgd", 0.005, 0.0, 2_048),
)


def starting_weights(task: Task, random: np.random.Generator) -> Weights:
    """The same for all: small random weights, no biases."""
    pairs = zip(task.widths, task.widths[1:], strict=False)
    return [
        ((random.standard_normal(pair) * (2 / sum(pair)) ** 0.5).astype(np.float32), np.zeros(pair[1], np.float32))
        for pair in pairs
    ]
