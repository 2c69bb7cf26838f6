"""The contenders of the benchmark: this package, scikit-learn, and a list of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from peers_jax import JaxScan, JaxStep
from peers_torch import Torch, TorchCompiled, TorchGraph, TorchTF32
from tasks import MOMENTUM, Contender, Task, UnsuitedError, Weights

import ann
from ann.training.distributed import SINGLE_PROCESS, Processes
from ann.training.images import Images
from ann.training.trainer import Steps


class Ours:
    """This package, by the steps that ``ann.fit`` makes."""

    precision = "float32"

    def __init__(
        self,
        task: Task,
        images: np.ndarray,
        labels: np.ndarray,
        weights: Weights,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        recipe = ann.Recipe(
            hidden=task.widths[1:-1],
            activation=task.activation,
            optimizer=task.optimizer,
            momentum=MOMENTUM,
            weight_decay=task.weight_decay,
            batch_size=task.batch,
        )
        vector = np.concatenate([part.ravel() for layer in weights for part in layer])
        backend = ann.get_backend(task.device, self.precision)
        self._network = ann.NeuralNetwork(
            recipe.layer_list(task.widths[0], task.widths[-1]), device=backend, parameters=vector
        )
        self._images = images
        self._steps = Steps(self._network, Images(self._network, images, labels), recipe, processes)
        self._rate, self._done = task.rate, 0

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        with self._network.backend.ignore_overflow():
            self._steps.epoch(order, self._done, [self._rate] * self._steps.count)
            loss_sum = self._steps.loss(order)
        self._done += self._steps.count
        return float(loss_sum) / len(order)

    def predict(self) -> np.ndarray:
        """The label of each image."""
        labels: np.ndarray = self._network.predict(self._images)
        return labels


class OursTF32(Ours):
    """The same with products of shortened numbers, on a GPU."""

    precision = "tf32"

    def __init__(self, task: Task, *arguments: Any) -> None:
        if task.device != "gpu":
            raise UnsuitedError("TF32 is a GPU's")
        super().__init__(task, *arguments)


class ScikitLearn:
    """scikit-learn's MLPClassifier, with one-hot rows, so that its outputs are sigmoids too."""

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        from sklearn.neural_network import MLPClassifier

        if task.device != "cpu":
            raise UnsuitedError("it computes on the CPU")
        if task.optimizer != "sgd":
            raise UnsuitedError("it has no AdamW")
        self._images, self._targets = images, np.eye(task.widths[-1], dtype=np.int64)[labels]
        self._model = MLPClassifier(
            task.widths[1:-1],
            activation={"sigmoid": "logistic", "relu": "relu"}[task.activation],
            solver="sgd",
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            learning_rate_init=task.rate,
            alpha=0.0,
            batch_size=task.batch,
            shuffle=False,
        )
        first = slice(0, task.batch)
        self._model.partial_fit(self._pixels(first), self._targets[first], classes=np.arange(task.widths[-1]))
        for own, (weight, bias) in zip(
            zip(self._model.coefs_, self._model.intercepts_, strict=True), weights, strict=True
        ):
            own[0][...], own[1][...] = weight, bias
        del self._model._optimizer  # its velocity knows the step just taken

    def _pixels(self, chosen: Any) -> np.ndarray:
        pixels: np.ndarray = self._images[chosen].astype(np.float32) / np.float32(255)
        return pixels

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        self._model.partial_fit(self._pixels(order), self._targets[order])
        return float(self._model.loss_)

    def predict(self) -> np.ndarray:
        """The label of each image."""
        labels: np.ndarray = self._model.predict_proba(self._pixels(slice(None))).argmax(axis=1)
        return labels


CONTENDERS: dict[str, Callable[..., Contender]] = {
    "ann": Ours,
    "ann, TF32": OursTF32,
    "PyTorch eager": Torch,
    "PyTorch compile": TorchCompiled,
    "PyTorch CUDA graph": TorchGraph,
    "PyTorch TF32": TorchTF32,
    "JAX step": JaxStep,
    "JAX scan": JaxScan,
    "scikit-learn": ScikitLearn,
}
GPU_ONLY = ("ann, TF32", "PyTorch CUDA graph", "PyTorch TF32")
