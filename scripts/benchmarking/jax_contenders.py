"""JAX as a contender: one jitted step a call, or a jitted epoch."""

from functools import partial
from typing import Any

import numpy as np

from ann.nn.convolution import Conv2D
from ann.nn.layer_list import build_layers
from ann.nn.layers import ActivationLayer, Dense
from ann.nn.pooling import MaxPool2D
from ann.optim.adam import BETA2, EPSILON
from benchmarking.tasks import CLASSES, Data, Task


class Jax:
    """JAX with a jitted step or, with ``scan``, a whole epoch in one jitted ``lax.scan``."""

    def __init__(self, task: Task, data: Data, *, scan: bool = False) -> None:
        import jax
        import jax.numpy as jnp

        if (jax.default_backend() == "cpu") != (task.device == "cpu"):
            raise RuntimeError(f"JAX computes on {jax.default_backend()}")
        settings: Any = jax.config
        settings.update("jax_default_matmul_precision", "float32")  # on a GPU it would be TF32
        recipe, tree_map = task.recipe, jax.tree.map
        rate, beta1, batch_size = recipe.learning_rate, recipe.momentum, recipe.batch_size
        activation = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[recipe.activation]
        images = jnp.asarray(data.images)
        targets = jnp.eye(CLASSES)[jnp.asarray(data.labels)]

        def logits_of(parameters: Any, pixels: Any) -> Any:
            x = pixels.astype(jnp.float32) / 255
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

        def loss_of(parameters: Any, indices: Any) -> Any:
            z, t = logits_of(parameters, images[indices]), targets[indices]
            return jnp.sum(jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))) / batch_size

        def step(state: Any, indices: Any) -> Any:
            p, m, v, k = state
            loss, g = jax.value_and_grad(loss_of)(p, indices)
            k = k + 1
            if recipe.optimizer == "sgd":
                m = tree_map(lambda m, g: beta1 * m + g, m, g)
                p = tree_map(lambda p, m: p - rate * m, p, m)
            else:
                m = tree_map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
                v = tree_map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
                size, scale = rate / (1 - beta1**k), 1 / (1 - BETA2**k)

                def moved(p: Any, m: Any, v: Any) -> Any:
                    shrink = 1 - rate * recipe.weight_decay * (p.ndim == 2)
                    return shrink * p - size * m / (jnp.sqrt(scale * v) + EPSILON)

                p = tree_map(moved, p, m, v)
            return (p, m, v, k), loss

        start = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in data.weights]
        zeros = partial(tree_map, jnp.zeros_like, start)
        squares = () if recipe.optimizer == "sgd" else zeros()
        self._state = start, zeros(), squares, jnp.zeros((), jnp.float32)
        self._scan, self._task, self._images, self._to_device = scan, task, data.images, jnp.asarray
        self._step = jax.jit(step, donate_argnums=0)
        self._epoch = jax.jit(partial(jax.lax.scan, self._step), donate_argnums=0)
        self._predict = jax.jit(lambda state, pixels: logits_of(state[0], pixels).argmax(1))

    def epoch(self, order: np.ndarray) -> float:
        batches = self._to_device(order.reshape(self._task.steps, -1))
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
