"""The contender of the benchmark that is JAX."""

import functools
from typing import Any

import numpy as np

from ann.nn.convolution import Conv2D
from ann.nn.layer_list import build_layers
from ann.nn.layers import ActivationLayer, Dense
from ann.nn.pooling import MaxPool2D
from benchmarking.tasks import BETA2, EPSILON, MOMENTUM, Data, Task


class Jax:
    """JAX with a jitted step or, with ``scan``, a whole epoch in one jitted ``lax.scan``."""

    def __init__(self, task: Task, data: Data, *, scan: bool = False) -> None:
        import jax
        import jax.numpy as jnp

        if (jax.default_backend() == "cpu") != (task.device == "cpu"):
            raise RuntimeError(f"JAX computes on {jax.default_backend()}")
        settings: Any = jax.config
        settings.update("jax_default_matmul_precision", "float32")  # on a GPU it would be TF32
        activation = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[task.activation]
        pixels = jnp.asarray(data.images)
        targets = jnp.eye(task.widths[-1])[jnp.asarray(data.labels)]

        def logits_of(parameters: Any, x: Any) -> Any:
            weights = iter(parameters)
            for layer in build_layers(task.layers):
                match layer:
                    case Conv2D():
                        weight, bias = next(weights)
                        kernel = weight.T.reshape(-1, layer.input_shape[0], *[layer.kernel] * 2)
                        pictures = x.reshape(-1, *layer.input_shape)
                        strides = layer.stride, layer.stride
                        x = jax.lax.conv(pictures, kernel, strides, "VALID") + bias[:, None, None]
                    case MaxPool2D():
                        window = 1, 1, layer.size, layer.size
                        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
                    case ActivationLayer():
                        x = activation(x)
                    case Dense():
                        weight, bias = next(weights)
                        x = x.reshape(-1, layer.input_shape[0]) @ weight + bias
            return x

        def loss_of(parameters: Any, x: Any, t: Any) -> Any:
            z = logits_of(parameters, x)
            return jnp.sum(jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))) / task.batch

        def step(state: Any, indices: Any) -> Any:
            parameters, v, s, k = state
            x = pixels[indices].astype(jnp.float32) / 255
            loss, g = jax.value_and_grad(loss_of)(parameters, x, targets[indices])
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

        start = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in data.weights]
        zeros = functools.partial(jax.tree.map, jnp.zeros_like)
        squares = zeros(start) if task.optimizer != "sgd" else ()
        self._state = (start, zeros(start), squares, jnp.zeros((), jnp.float32))
        self._jax, self._task, self._images = jax, task, data.images
        self._scan = scan

        def predict(state: Any, pixels: Any) -> Any:
            return logits_of(state[0], pixels.astype(jnp.float32) / 255).argmax(1)

        self._predict = jax.jit(predict)
        self._step = jax.jit(step, donate_argnums=0)
        self._epoch = jax.jit(functools.partial(jax.lax.scan, self._step), donate_argnums=0)

    def epoch(self, order: np.ndarray) -> float:
        batches = self._jax.numpy.asarray(order.reshape(-1, self._task.batch))
        if self._scan:
            self._state, losses = self._epoch(self._state, batches)
            return float(losses.mean())
        total = 0.0
        for batch in batches:
            self._state, loss = self._step(self._state, batch)
            total = total + loss
        return float(total) / self._task.steps

    def predict(self) -> np.ndarray:
        return np.asarray(self._predict(self._state, self._images))
