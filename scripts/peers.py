"""The contenders of the benchmark: the same training, written the way each library's users write it.

Each is a class with one method, ``epoch(order)``: train on the images in this order, from where the last epoch ended,
and return the mean loss. It includes what a real epoch includes: gathering and scaling the pixels, the targets, the
loss, and waiting for the result. Layers have sigmoid or relu between them and sigmoid outputs, with cross-entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import ann
from ann.optimizers import get_optimizer

Weights = list[tuple[np.ndarray, np.ndarray]]  # for each layer (I, O) and (O,)


@dataclass(frozen=True)
class Task:
    """What is trained: ``count`` images a measured epoch, a multiple of ``batch``, by SGD with momentum or by Adam."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    optimizer: str
    rate: float
    count: int

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


class Ours:
    """This package, by the methods that ``ann.fit`` is made of."""

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        recipe = ann.Recipe(hidden=task.widths[1:-1], activation=task.activation)
        vector = np.concatenate([part.ravel() for parts in zip(*weights, strict=True) for part in parts])
        self._net = ann.NeuralNetwork(recipe.layer_list(task.widths[0], task.widths[-1]), parameters=vector)
        net = self._net
        self._optimizer = get_optimizer(
            task.optimizer,
            np,
            net.parameters,
            net.gradients,
            net.weight_count,
            momentum=0.9,
            weight_decay=0.0,
        )
        self._task, self._images = task, images
        self._targets = np.eye(task.widths[-1], dtype=np.float32)[labels]
        self._x = np.empty((task.batch, task.widths[0]), dtype=np.float32)

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        net, batch, total = self._net, self._task.batch, np.zeros((), dtype=np.float32)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            x = net.inputs(np.take(self._images, chosen, axis=0), out=self._x)
            total += net.compute_gradients(x, np.take(self._targets, chosen, axis=0))
            self._optimizer.step(self._task.rate)
        return float(total) / self._task.steps


class Torch:
    """PyTorch, eager: the loop of its tutorials."""

    compiled = False

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        import torch

        self._torch, self._task = torch, task
        activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[task.activation]
        modules: list[Any] = []
        for weight, bias in weights:
            linear = torch.nn.Linear(*weight.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight.T.copy()))
                linear.bias.copy_(torch.from_numpy(bias))
            modules += [linear, activation()]
        model = torch.nn.Sequential(*modules[:-1])
        self._model = torch.compile(model) if self.compiled else model
        if task.optimizer == "sgd":
            self._optimizer: Any = torch.optim.SGD(model.parameters(), lr=task.rate, momentum=0.9)
        else:
            self._optimizer = torch.optim.Adam(model.parameters(), lr=task.rate, betas=(0.9, 0.99))
        self._images = torch.from_numpy(images.copy())
        self._targets = torch.eye(task.widths[-1])[torch.from_numpy(labels.astype(np.int64))]

    def epoch(self, order: np.ndarray) -> float:
        """Train on the images in this order."""
        torch, batch = self._torch, self._task.batch
        on_device, total = torch.from_numpy(order), torch.zeros(())
        loss_of = torch.nn.functional.binary_cross_entropy_with_logits
        for start in range(0, len(order), batch):
            chosen = on_device[start : start + batch]
            x = self._images[chosen].float() / 255
            loss = loss_of(self._model(x), self._targets[chosen], reduction="sum") / batch
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            total += loss.detach()
        return float(total) / self._task.steps


class TorchCompiled(Torch):
    """PyTorch with the model through ``torch.compile``."""

    compiled = True


class JaxStep:
    """JAX, one jitted step a call. SGD with momentum only."""

    def __init__(self, task: Task, images: np.ndarray, labels: np.ndarray, weights: Weights) -> None:
        import jax
        import jax.numpy as jnp

        if task.optimizer != "sgd":
            raise ImportError("its optimizers are in another package, optax")
        curve = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[task.activation]
        pixels, targets = jnp.asarray(images), jnp.eye(task.widths[-1])[jnp.asarray(labels)]

        def loss_of(parameters: Any, x: Any, t: Any) -> Any:
            for weight, bias in parameters[:-1]:
                x = curve(x @ weight + bias)
            z = x @ parameters[-1][0] + parameters[-1][1]
            return jnp.sum(jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))) / task.batch

        def step(state: Any, chosen: Any) -> Any:
            parameters, velocity = state
            x = pixels[chosen].astype(jnp.float32) / 255
            loss, gradient = jax.value_and_grad(loss_of)(parameters, x, targets[chosen])
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            parameters = jax.tree.map(lambda p, v: p - task.rate * v, parameters, velocity)
            return (parameters, velocity), loss

        start = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in weights]
        self._state = (start, jax.tree.map(jnp.zeros_like, start))
        self._jax, self._task, self._step = jax, task, step
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


class JaxScan(JaxStep):
    """JAX, a whole epoch as one jitted ``lax.scan``. SGD with momentum only."""

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

        self._images, self._targets = images, np.eye(task.widths[-1], dtype=np.int64)[labels]
        options: dict[str, Any] = {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False}
        if task.optimizer != "sgd":
            options = {"solver": "adam", "beta_2": 0.99}
        self._model = MLPClassifier(
            task.widths[1:-1],
            activation={"sigmoid": "logistic", "relu": "relu"}[task.activation],
            learning_rate_init=task.rate,
            alpha=0.0,
            batch_size=task.batch,
            shuffle=False,
            **options,
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


CONTENDERS: dict[str, type[Contender]] = {
    "ann": Ours,
    "PyTorch eager": Torch,
    "PyTorch compile": TorchCompiled,
    "JAX step": JaxStep,
    "JAX scan": JaxScan,
    "scikit-learn": ScikitLearn,
}
