"""The contenders of the benchmark: the same training, written the way each library's users write it.

Each is a class with ``epoch(order)``: train on the images in this order, from where the last epoch ended, and return
the mean loss; and ``predict()``: the labels of all images. An epoch includes what a real one includes: gathering and
scaling the pixels, the targets, the loss, and waiting for the result. Layers have sigmoid or relu between them and
sigmoid outputs, with cross-entropy. Optimizers are SGD with momentum, and AdamW, whose decay leaves biases alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import ann
from ann.steps import Images, Steps

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


class Ours:
    """This package, by the steps that ``ann.fit`` makes."""

    precision = "float32"

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
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
        self._steps = Steps(self._network, Images(self._network, images, labels), recipe)
        self._rate, self._done = task.rate, 0

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        with self._network.backend.quiet():
            loss_sum = self._steps.epoch(order, self._done, [self._rate] * self._steps.count)
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


class Torch:
    """PyTorch, eager: the loop of its tutorials."""

    compiled, tf32, in_graph = False, False, False

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        import torch

        self._torch, self._task, self._device = torch, task, {"cpu": "cpu", "gpu": "cuda"}[task.device]
        if self._device == "cuda" and not torch.cuda.is_available():
            raise UnsuitedError("it finds no GPU")
        if self.tf32 and self._device == "cpu":
            raise UnsuitedError("TF32 is a GPU's")
        activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[task.activation]
        modules: list[Any] = []
        for weight, bias in weights:
            linear = torch.nn.Linear(*weight.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight.T.copy()))
                linear.bias.copy_(torch.from_numpy(bias))
            modules += [linear, activation()]
        model = torch.nn.Sequential(*modules[:-1]).to(self._device)
        self._model = torch.compile(model) if self.compiled else model
        self._parameters = list(model.parameters())
        if task.optimizer == "sgd":
            self._optimizer: Any = torch.optim.SGD(self._parameters, lr=task.rate, momentum=MOMENTUM)
        else:
            groups = [
                {"params": self._parameters[::2], "weight_decay": task.weight_decay},
                {"params": self._parameters[1::2], "weight_decay": 0.0},
            ]
            self._optimizer = torch.optim.AdamW(
                groups, lr=task.rate, betas=(MOMENTUM, BETA2), eps=EPSILON, capturable=self.in_graph
            )
        self._images = torch.from_numpy(images.copy()).to(self._device)
        self._targets = torch.eye(task.widths[-1])[torch.from_numpy(labels.astype(np.int64))].to(self._device)

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        torch, batch = self._torch, self._task.batch
        self._set_precision()
        on_device, total = torch.from_numpy(order).to(self._device), torch.zeros((), device=self._device)
        for start in range(0, len(order), batch):
            total += self._step(on_device[start : start + batch])
        return float(total) / self._task.steps

    def _set_precision(self) -> None:
        """Which is the whole process's, and other contenders want another."""
        self._torch.set_float32_matmul_precision("high" if self.tf32 else "highest")

    def _step(self, chosen: Any) -> Any:
        x = self._images[chosen].float() / 255
        loss_of = self._torch.nn.functional.binary_cross_entropy_with_logits
        loss: Any = loss_of(self._model(x), self._targets[chosen], reduction="sum") / self._task.batch
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def predict(self) -> np.ndarray:
        """The label of each image."""
        self._set_precision()
        with self._torch.inference_mode():
            labels: np.ndarray = self._model(self._images.float() / 255).argmax(dim=1).cpu().numpy()
        return labels


class TorchCompiled(Torch):
    """PyTorch with the model through ``torch.compile``."""

    compiled = True


class TorchTF32(Torch):
    """PyTorch, eager, with products of shortened numbers, on a GPU."""

    tf32 = True


class TorchGraph(Torch):
    """PyTorch with a whole step in a CUDA graph, as its documentation has it."""

    in_graph = True

    def __init__(self, task: Task, *arguments: Any) -> None:
        if task.device != "gpu":
            raise UnsuitedError("CUDA graphs are a GPU's")
        super().__init__(task, *arguments)
        self._set_precision()
        torch = self._torch
        self._chosen = torch.arange(task.batch, device="cuda")
        before = [parameter.detach().clone() for parameter in self._parameters]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._eager_step()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = self._eager_step()
        with torch.no_grad():  # as if the steps that were made on the way had not been
            for parameter, value in zip(self._parameters, before, strict=True):
                parameter.copy_(value)
            for state in self._optimizer.state.values():
                for value in state.values():
                    if torch.is_tensor(value):
                        value.zero_()

    def _eager_step(self) -> Any:
        return super()._step(self._chosen)

    def _step(self, chosen: Any) -> Any:
        self._chosen.copy_(chosen)
        self._graph.replay()
        return self._loss


class JaxStep:
    """JAX, one jitted step a call."""

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        import jax
        import jax.numpy as jnp

        if (jax.default_backend() == "cpu") != (task.device == "cpu"):
            raise UnsuitedError(f"it computes on {jax.default_backend()}")
        settings: Any = jax.config
        settings.update("jax_default_matmul_precision", "float32")  # on a GPU it would be TF32
        curve = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[task.activation]
        pixels, targets = jnp.asarray(images), jnp.eye(task.widths[-1])[jnp.asarray(labels)]

        def logits_of(parameters: Any, x: Any) -> Any:
            for weight, bias in parameters[:-1]:
                x = curve(x @ weight + bias)
            return x @ parameters[-1][0] + parameters[-1][1]

        def loss_of(parameters: Any, x: Any, t: Any) -> Any:
            z = logits_of(parameters, x)
            return jnp.sum(jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))) / task.batch

        def step(state: Any, chosen: Any) -> Any:
            parameters, v, s, k = state
            x = pixels[chosen].astype(jnp.float32) / 255
            loss, g = jax.value_and_grad(loss_of)(parameters, x, targets[chosen])
            k = k + 1
            if task.optimizer == "sgd":
                v = jax.tree.map(lambda v, g: MOMENTUM * v + g, v, g)
                parameters = jax.tree.map(lambda p, v: p - task.rate * v, parameters, v)
            else:
                v = jax.tree.map(lambda v, g: MOMENTUM * v + (1 - MOMENTUM) * g, v, g)
                s = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, s, g)
                scale_v, scale_s = task.rate / (1 - MOMENTUM**k), 1 / (1 - BETA2**k)
                parameters = jax.tree.map(
                    lambda p, v, s: (
                        p * (1 - task.rate * task.weight_decay * (p.ndim == 2))
                        - scale_v * v / (jnp.sqrt(scale_s * s) + EPSILON)
                    ),
                    parameters,
                    v,
                    s,
                )
            return (parameters, v, s, k), loss

        start = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in weights]
        zeros = functools.partial(jax.tree.map, jnp.zeros_like)
        squares = zeros(start) if task.optimizer != "sgd" else ()
        self._state = (start, zeros(start), squares, jnp.zeros((), jnp.float32))
        self._jax, self._task, self._step, self._pixels = jax, task, step, pixels
        self._logits = jax.jit(lambda state, pixels: logits_of(state[0], pixels.astype(jnp.float32) / 255).argmax(1))
        self._prepare()

    def _prepare(self) -> None:
        self._jitted = self._jax.jit(self._step, donate_argnums=0)

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        batches = self._jax.numpy.asarray(order.reshape(-1, self._task.batch))
        total = 0.0
        for batch in batches:
            self._state, loss = self._jitted(self._state, batch)
            total = total + loss
        return float(total) / self._task.steps

    def predict(self) -> np.ndarray:
        """The label of each image."""
        return np.asarray(self._logits(self._state, self._pixels))


class JaxScan(JaxStep):
    """JAX, a whole epoch as one jitted ``lax.scan``."""

    def _prepare(self) -> None:
        jax = self._jax
        self._jitted = jax.jit(lambda state, batches: jax.lax.scan(self._step, state, batches), donate_argnums=0)

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        batches = self._jax.numpy.asarray(order.reshape(-1, self._task.batch))
        self._state, losses = self._jitted(self._state, batches)
        return float(losses.mean())


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
