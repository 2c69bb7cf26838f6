"""The contenders of the benchmark: this package, scikit-learn and a list of all, with the check
that they do the same training.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

import ann
from ann.training.batches import ImageSet
from ann.training.distributed import SINGLE_PROCESS, Processes
from ann.training.trainer import Trainer
from benchmarking.jax_contenders import Jax
from benchmarking.tasks import CLASSES, Contender, Data, Task
from benchmarking.timing import working
from benchmarking.torch_contenders import Torch, TorchGraph

_TOLERANCE = 1e-3  # relative, for the mean loss of an epoch; TF32 gets ten times as much


class Ours:
    """This package, with the steps that ``ann.fit`` makes."""

    def __init__(
        self,
        task: Task,
        data: Data,
        processes: Processes = SINGLE_PROCESS,
        precision: str = "float32",
    ) -> None:
        backend = ann.get_backend(task.device, precision)
        self._network = ann.NeuralNetwork(task.layers, device=backend)  # has the weights for seed 0
        self._images = data.images
        images = ImageSet(self._network, data.images, data.labels, task.recipe)
        self._trainer = Trainer(self._network, images, task.recipe, processes)
        self._rates = [task.recipe.learning_rate] * task.steps
        self._epochs = 0

    def epoch(self, order: np.ndarray) -> float:
        self._epochs += 1
        with self._network.backend.ignore_overflow():
            for _ in self._trainer.epoch(order, self._epochs, self._rates):
                pass
            return float(self._trainer.loss.sum(order)) / len(order)

    def predict(self) -> np.ndarray:
        return np.asarray(self._network.predict(self._images))


class ScikitLearn:
    """scikit-learn's MLPClassifier, with one-hot rows so that its outputs are sigmoids."""

    def __init__(self, task: Task, data: Data) -> None:
        from sklearn.neural_network import MLPClassifier

        recipe = task.recipe
        if task.device != "cpu":
            raise RuntimeError("it only computes on the CPU")
        if recipe.optimizer != "sgd":
            raise RuntimeError("it has no AdamW")
        if task.is_convolutional:
            raise RuntimeError("it has no convolution")
        self._pixels = data.images
        self._targets = np.eye(CLASSES, dtype=np.int64)[data.labels]
        self._model = MLPClassifier(
            recipe.hidden,
            activation={"sigmoid": "logistic", "relu": "relu"}[recipe.activation],
            solver="sgd",
            momentum=recipe.momentum,
            nesterovs_momentum=False,
            learning_rate_init=recipe.learning_rate,
            alpha=0.0,
            batch_size=recipe.batch_size,
            shuffle=False,
        )
        batch = slice(0, recipe.batch_size)
        self._model.partial_fit(self._x(batch), self._targets[batch], classes=np.arange(CLASSES))
        for layer, (weight, bias) in enumerate(data.weights):
            self._model.coefs_[layer][...] = weight
            self._model.intercepts_[layer][...] = bias
        del self._model._optimizer  # its velocity remembers the step above

    def _x(self, indices: np.ndarray | slice) -> np.ndarray:
        return self._pixels[indices].astype(np.float32) / 255

    def epoch(self, order: np.ndarray) -> float:
        self._model.partial_fit(self._x(order), self._targets[order])
        return float(self._model.loss_)

    def predict(self) -> np.ndarray:
        return np.asarray(self._model.predict_proba(self._x(slice(None))).argmax(axis=1))


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

    def first_epoch(make: Callable[..., Contender]) -> tuple[Contender, float]:
        contender = make(task, data)
        return contender, contender.epoch(order)

    found = working(
        {
            name: partial(first_epoch, make)
            for name, make in CONTENDERS.items()
            if task.device != "cpu" or name not in GPU_ONLY
        }
    )
    _, expected = found["ann"]
    for name, (_, loss) in found.items():
        check_same_loss(name, loss, expected, 10 if "TF32" in name else 1)
    return {name: contender for name, (contender, _) in found.items()}, expected


def check_same_loss(name: str, loss: float, expected: float, factor: float = 1) -> None:
    """Raise ValueError if a contender's loss of an epoch shows that it trained differently."""
    if not abs(loss - expected) <= factor * _TOLERANCE * expected:  # NaN neither
        losses = f"mean loss {loss:.6f}, ann has {expected:.6f}"
        raise ValueError(f"{name}: {losses}: not the same training")
