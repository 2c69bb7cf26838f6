"""The contenders of the benchmark: this package, scikit-learn and a list of all, with the check
that they do the same training.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ann
from ann.training.batches import ImageSet
from ann.training.distributed import SINGLE_PROCESS, Processes
from ann.training.trainer import Trainer
from benchmarking.jax_contenders import Jax
from benchmarking.tasks import MOMENTUM, Contender, Data, Task
from benchmarking.timing import working
from benchmarking.torch_contenders import Torch, TorchGraph

_TOLERANCE = 1e-3  # relative, for the mean loss of the checked steps; TF32 gets ten times as much


class Ours:
    """This package, with the steps that ``ann.fit`` makes."""

    def __init__(
        self,
        task: Task,
        data: Data,
        processes: Processes = SINGLE_PROCESS,
        precision: str = "float32",
    ) -> None:
        recipe = ann.Recipe(
            hidden=task.widths[1:-1],
            activation=task.activation,
            optimizer=task.optimizer,
            momentum=MOMENTUM,
            weight_decay=task.weight_decay,
            batch_size=task.batch,
        )
        backend = ann.get_backend(task.device, precision)
        self._network = ann.NeuralNetwork(task.layers, device=backend)  # has the weights for seed 0
        self._images = data.images
        images_and_labels = ImageSet(self._network, data.images, data.labels, recipe)
        self._trainer = Trainer(self._network, images_and_labels, recipe, processes)
        self._rate, self._epochs = task.rate, 0

    def epoch(self, order: np.ndarray) -> float:
        with self._network.backend.ignore_overflow():
            self._epochs += 1
            rates = [self._rate] * self._trainer.steps
            for _ in self._trainer.epoch(order, self._epochs, rates):
                pass
            loss_sum = self._trainer.loss.sum(order)
        return float(loss_sum) / len(order)

    def predict(self) -> np.ndarray:
        return np.asarray(self._network.predict(self._images))


class ScikitLearn:
    """scikit-learn's MLPClassifier, with one-hot rows so that its outputs are sigmoids."""

    def __init__(self, task: Task, data: Data) -> None:
        from sklearn.neural_network import MLPClassifier

        if task.device != "cpu":
            raise RuntimeError("it only computes on the CPU")
        if task.optimizer != "sgd":
            raise RuntimeError("it has no AdamW")
        if task.is_convolutional:
            raise RuntimeError("it has no convolution")
        self._images = data.images
        self._targets = np.eye(task.widths[-1], dtype=np.int64)[data.labels]
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
        first, classes = slice(0, task.batch), np.arange(task.widths[-1])
        self._model.partial_fit(self._pixels(first), self._targets[first], classes=classes)
        for layer, (weight, bias) in enumerate(data.weights):
            self._model.coefs_[layer][...] = weight
            self._model.intercepts_[layer][...] = bias
        del self._model._optimizer  # its velocity remembers the step above

    def _pixels(self, indices: Any) -> np.ndarray:
        return np.asarray(self._images[indices].astype(np.float32) / np.float32(255))

    def epoch(self, order: np.ndarray) -> float:
        self._model.partial_fit(self._pixels(order), self._targets[order])
        return float(self._model.loss_)

    def predict(self) -> np.ndarray:
        return np.asarray(self._model.predict_proba(self._pixels(slice(None))).argmax(axis=1))


CONTENDERS: dict[str, Callable[..., Contender]] = {
    "ann": Ours,
    "ann, TF32": partial(Ours, precision="tf32"),
    "PyTorch eager": Torch,
    "PyTorch compile": partial(Torch, compiled=True),
    "PyTorch CUDA graph": TorchGraph,
    "PyTorch TF32": partial(Torch, tf32=True),
    "JAX step": Jax,
    "JAX scan": partial(Jax, scan=True),
    "scikit-learn": ScikitLearn,
}
GPU_ONLY = ("ann, TF32", "PyTorch CUDA graph", "PyTorch TF32")


def admit(task: Task, data: Data, order: np.ndarray) -> tuple[dict[str, Contender], float]:
    """The contenders that work here, after an epoch each, and the mean loss of ours.

    Raises:
        ValueError: a contender has another loss, so it is not the same training.
    """
    found = working(
        {
            name: partial(_first_epoch, make, task, data, order)
            for name, make in CONTENDERS.items()
            if task.device != "cpu" or name not in GPU_ONLY
        }
    )
    _, expected = found["ann"]
    for name, (_, loss) in found.items():
        tolerance = 10 * _TOLERANCE if "TF32" in name else _TOLERANCE
        if not abs(loss - expected) <= tolerance * expected:  # NaN neither
            losses = f"mean loss {loss:.6f} over {task.steps} steps, ann has {expected:.6f}"
            raise ValueError(f"{name}: {losses}: not the same training")
    return {name: contender for name, (contender, _) in found.items()}, expected


def _first_epoch(
    make: Callable[..., Contender], task: Task, data: Data, order: np.ndarray
) -> tuple[Contender, float]:
    contender = make(task, data)
    return contender, contender.epoch(order)
