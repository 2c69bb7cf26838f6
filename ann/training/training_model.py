"""The network in its training form: a copy with batch normalisation and dropout, but without the
inputs that are black in every image.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

from ann.backends.base import Array, Backend
from ann.neural_network import NeuralNetwork
from ann.nn.batch_norm import BatchNorm
from ann.nn.convolution import Conv2D
from ann.nn.dropout import Dropout
from ann.nn.layers import ActivationLayer, Dense, Layer
from ann.nn.network import Network
from ann.nn.pooling import MaxPool2D
from ann.training.batches import EpochKeys
from ann.training.recipe import Recipe


class TrainingModel:
    """Creates the network for training, and copies parameters between it and the user's network.

    Args:
        user: the user's network.
        recipe: its ``dropout``, ``channel_dropout`` and ``batch_norm`` are layers to add. Dropout
            zeroes neurons before dense layers, and channels after each convolution with its
            pooling.
        lit: see ``ImageSet``.
        all_reduce: see ``BatchNorm``; None for a single process.

    Attributes:
        network: the training form.
        statistics: (..., S) device vector: the means and variances of the last batch, for batch
            normalisation; or None.
    """

    def __init__(
        self,
        user: NeuralNetwork,
        backend: Backend,
        recipe: Recipe,
        keys: EpochKeys,
        lit: Any,
        all_reduce: Callable[[Array], None] | None,
    ) -> None:
        xp = self._xp = backend.xp
        self._user = user
        self._lit = None
        if lit is not None:
            # Row p of the user's weights is row positions[p] here, once a row of 0 is appended
            rows = {pixel: row for row, pixel in enumerate(lit.tolist())}
            positions = [rows.get(pixel, len(lit)) for pixel in range(user.input_dim)]
            self._lit, self._positions = xp.asarray(lit.tolist()), xp.asarray(positions)
        # For each layer with weights: the user's, the one here, and the normalisation after it
        self._trained: list[tuple[Any, Any, BatchNorm | None]] = []
        layers = self._training_layers(recipe, keys, all_reduce)
        loss, dtype, leading = user.network.loss, user.network.dtype, user.network.leading
        self.network = Network(backend, layers, loss, dtype, leading)
        norms = [layer for layer in layers if isinstance(layer, BatchNorm)]
        self._shapes = [(2, norm.dim) for norm in norms]  # the statistics of each
        size = sum(map(math.prod, self._shapes))
        self.statistics: Array = xp.zeros((*leading, size), dtype=dtype) if norms else None
        for norm, part in zip(norms, backend.split(self.statistics, self._shapes), strict=True):
            norm.statistics = part
            norm.gain[...] = xp.ones_like(norm.gain)

    def _training_layers(
        self, recipe: Recipe, keys: EpochKeys, all_reduce: Callable[[Array], None] | None
    ) -> list[Layer]:
        """Copies of the user's layers, with the dropout and normalisation of the recipe."""
        layers: list[Layer] = []
        before: Layer | None = None  # the last layer with weights
        for layer in self._user.network.layers:
            own: Any = copy.copy(layer)  # an activation's name may be registered again later
            if not layer.parameters:
                # max f(z) = f(max z) if f never falls: after pooling, f has less to compute
                first = isinstance(layer, MaxPool2D) and any(map(_is_increasing, layers[-1:]))
                layers.insert(len(layers) - first, own)
                continue
            key = slice(len(self._trained), len(self._trained) + 1)
            if recipe.channel_dropout and isinstance(before, Conv2D):
                positions = math.prod(layer.input_shape) // before.filters
                share = recipe.channel_dropout
                layers.append(Dropout(share, keys.channels[..., key], positions=positions))
            before = layer
            if isinstance(layer, Dense):
                if recipe.dropout and layers:
                    layers.append(Dropout(recipe.dropout, keys.dropout[..., key]))
                if self._lit is not None and not layers:
                    own = Dense(self._lit.shape[0], layer.output_shape[0], layer.init)
            layers.append(own)
            norm = None
            if recipe.batch_norm and layer is not self._user.network.layers[-1]:
                own.parameters = own.parameters[:1]  # the normalisation's shift is the bias
                own.has_bias = False
                columns, *sides = layer.output_shape
                norm = BatchNorm(columns, all_reduce, positions=math.prod(sides))
                layers.append(norm)
            self._trained.append((layer, own, norm))
        return layers

    def fetch(self) -> None:
        """Copy the weights and biases of the user's network."""
        for users, own, norm in self._trained:
            weight = users.weight
            if weight.shape != own.weight.shape:
                weight = self._xp.take(weight, self._lit, axis=-2)
            own.weight[...] = weight
            bias = norm.shift if norm else own.bias
            bias[...] = users.bias

    def export(self, parameters: Array, statistics: Array) -> None:
        """Copy parameters, or averages of them, to the user's network, and fold the normalisation.

        Weights of pixels that were not trained on become 0. All parameters are written at once, so
        Ctrl-C cannot leave the network half updated.
        """
        xp = self._xp
        result = xp.asarray(self._user.parameters, copy=True)
        trained, results = self.network.views(parameters), self._user.network.views(result)
        parts = iter(self.network.backend.split(statistics, self._shapes))
        for users, own, norm in self._trained:
            weight = trained[own]["weight"]
            if norm:
                weight, bias = norm.fold(weight, next(parts), **trained[norm])
            else:
                bias = trained[own]["bias"]
            if weight.shape != users.weight.shape:
                weight = xp.concat([weight, xp.zeros_like(bias)], axis=-2)
                weight = xp.take(weight, self._positions, axis=-2)
            results[users]["weight"][...] = weight
            results[users]["bias"][...] = bias
        self._user.parameters[...] = result


def _is_increasing(layer: Layer) -> bool:
    """Whether a layer is an activation that never falls, and may follow max pooling instead."""
    return isinstance(layer, ActivationLayer) and layer.f.name in ("relu", "leaky-relu")
