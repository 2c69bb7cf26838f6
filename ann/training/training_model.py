"""The network as it is while it is trained: on vectors of its own, with batch normalisation and dropout, and without the
inputs that are black in every image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ann.backends.base import Array, Backend
from ann.neural_network import NeuralNetwork
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.layer_list import build_layers
from ann.nn.layers import Dense, Layer
from ann.nn.network import Network, size_of
from ann.training.recipe import Recipe


class TrainingModel:
    """The network for training, and the way of its parameters from the user's network and back.

    Args:
        user: the user's network.
        backend: what computes.
        recipe: its ``dropout`` and ``batch_norm`` say which layers are added.
        keys: (..., L) device array, uint32: the key of the dropout before each layer that has weights.
        lit: a host array: the columns of the images that training needs; None: all of them.
        all_reduce: see ``BatchNorm``; None for a single process.

    Attributes:
        network: for training.
        statistics: (..., S) device vector: the means and variances of the last batch, for batch normalisation; or None.
    """

    def __init__(
        self,
        user: NeuralNetwork,
        backend: Backend,
        recipe: Recipe,
        keys: Array,
        lit: Any,
        all_reduce: Callable[[Array], None] | None,
    ) -> None:
        xp = backend.xp
        self._user = user
        self._xp = xp
        layers: list[Layer] = []
        self._places: list[tuple[int, int]] = []  # where the user's layers with weights are: theirs, and here
        originals = build_layers(user.layer_list)
        for number, layer in enumerate(originals):
            if not isinstance(layer, Dense):
                layers.append(layer)
                continue
            if recipe.dropout and layers:
                key = len(self._places)
                layers.append(Dropout(recipe.dropout, keys[..., key : key + 1]))
            normalised = recipe.batch_norm and number < len(originals) - 1
            inputs = layer.input_dim if layers or lit is None else len(lit)
            self._places.append((number, len(layers)))
            layers.append(Dense(inputs, layer.output_dim, layer.init, bias=not normalised))
            if normalised:
                layers.append(BatchNorm(layer.output_dim, all_reduce))
        shape = (*user.network.leading, size_of(layers))
        vectors = (xp.zeros(shape, dtype=user.network.dtype) for _ in range(2))
        self.network = Network(backend, layers, user.network.loss, *vectors)
        self._lit = None if lit is None else _Columns(user, lit)
        self._norms = [layer for layer in layers if isinstance(layer, BatchNorm)]
        self.statistics: Array = None
        if self._norms:
            dims = 2 * sum(norm.dim for norm in self._norms)
            self.statistics = xp.zeros((*user.network.leading, dims), dtype=user.network.dtype)
            for norm, part in zip(self._norms, self._parts(self.statistics), strict=True):
                norm.use(part)
                norm.gain[...] = xp.ones_like(norm.gain)

    def _parts(self, statistics: Array) -> list[Array]:
        """Each normalisation's part (..., 2, O) of a vector like ``statistics``."""
        parts, start = [], 0
        for norm in self._norms:
            stop = start + 2 * norm.dim
            shape = (*self._user.network.leading, 2, norm.dim)
            parts.append(self._xp.reshape(statistics[..., start:stop], shape, copy=False))
            start = stop
        return parts

    def fetch(self) -> None:
        """Take the weights and biases of the user's network."""
        for number, place in self._places:
            theirs, layer = self._user.network.layers[number], self.network.layers[place]
            first = number == 0 and self._lit
            layer.weight[...] = self._lit.of(theirs.weight) if first else theirs.weight
            bias = layer.bias if layer.has_bias else self.network.layers[place + 1].shift
            bias[...] = theirs.bias

    def export(self, parameters: Array, statistics: Array) -> None:
        """Give the user's network these parameters, or averages of them, with normalisation folded into its weights.

        It gets all of them at once, so that neither Ctrl-C nor another thread finds half of them.
        """
        values = self._user.backend.xp.asarray(self._user.parameters, copy=True)
        theirs, ours = self._user.network.views(values), self.network.views(parameters)
        folded = iter(self._parts(statistics))
        for number, place in self._places:
            weight, bias = ours[place]["weight"], ours[place].get("bias")
            if bias is None:
                norm = self.network.layers[place + 1]
                weight, bias = norm.fold(weight, next(folded), **ours[place + 1])
            first = number == 0 and self._lit
            theirs[number]["weight"][...] = self._lit.into(theirs[number]["weight"], weight) if first else weight
            theirs[number]["bias"][...] = bias
        self._user.parameters[...] = values


class _Columns:
    """Some inputs of a network, and the rows of its first weights that belong to them."""

    def __init__(self, network: NeuralNetwork, kept: Any) -> None:
        self._xp = network.backend.xp
        rest = [number for number in range(network.input_dim) if number not in set(kept.tolist())]
        order = [*kept.tolist(), *rest]
        usual = sorted(range(len(order)), key=order.__getitem__)
        self._kept, self._rest, self._usual = (self._xp.asarray(rows) for rows in (order[: len(kept)], rest, usual))

    def of(self, weight: Array) -> Array:
        """The rows (..., kept, O) of weights (..., I, O)."""
        return self._xp.take(weight, self._kept, axis=-2)

    def into(self, weight: Array, rows: Array) -> Array:
        """The weights (..., I, O) with these rows (..., kept, O) instead of their own."""
        rest = self._xp.take(weight, self._rest, axis=-2)
        return self._xp.take(self._xp.concat([rows, rest], axis=-2), self._usual, axis=-2)
