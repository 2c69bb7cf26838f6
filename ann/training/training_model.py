"""The network in its training form: on its own vectors, with batch normalisation and dropout, and
without the inputs that are black in every image.
"""

import copy
from collections.abc import Callable
from typing import Any

from ann.backends.base import Array, Backend
from ann.neural_network import NeuralNetwork
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.layers import ActivationLayer, Dense, Layer
from ann.nn.network import Network, size_of
from ann.training.recipe import Recipe


class TrainingModel:
    """Makes the network for training, and copies parameters from the user's network and back.

    Args:
        user: the user's network.
        backend: computes.
        recipe: its ``dropout`` and ``batch_norm`` decide which layers are added.
        keys: device array, uint32: column l is the key of the dropout before dense layer l, counted
            from 0.
        lit: host array: the columns of the images that training needs; None: all of them.
        all_reduce: see ``BatchNorm``; None for a single process.

    Attributes:
        network: for training.
        statistics: (..., S) device vector: the means and variances of the last batch, for batch
            normalisation; or None.
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
        self._lit = None if lit is None else _Columns(user, lit)
        layers: list[Layer] = []
        # For each dense layer: the one here, the user's, and the normalisation after it
        self._rows: list[tuple[Dense, Dense, BatchNorm | None]] = []
        for theirs in user.network.layers:
            if isinstance(theirs, ActivationLayer):
                layers.append(copy.copy(theirs))  # its name may have been registered again since
            if not isinstance(theirs, Dense):
                continue
            if recipe.dropout and layers:
                key = len(self._rows)
                layers.append(Dropout(recipe.dropout, keys[..., key : key + 1]))
            normalised = recipe.batch_norm and theirs is not user.network.layers[-1]
            norm = BatchNorm(theirs.output_dim, all_reduce) if normalised else None
            inputs = theirs.input_dim if layers or lit is None else len(lit)
            ours = Dense(inputs, theirs.output_dim, theirs.init, bias=norm is None)
            layers += [ours] if norm is None else [ours, norm]
            self._rows.append((ours, theirs, norm))
        shape = (*user.network.leading, size_of(layers))
        parameters = xp.zeros(shape, dtype=user.network.dtype)
        gradients = xp.zeros(shape, dtype=user.network.dtype)
        self.network = Network(backend, layers, user.network.loss, parameters, gradients)
        self._norms = [layer for layer in layers if isinstance(layer, BatchNorm)]
        self.statistics: Array = None
        if self._norms:
            dims = 2 * sum(norm.dim for norm in self._norms)
            self.statistics = xp.zeros((*user.network.leading, dims), dtype=user.network.dtype)
            for norm, part in zip(self._norms, self._parts(self.statistics), strict=True):
                norm.use(part)
                norm.gain[...] = xp.ones_like(norm.gain)

    def _parts(self, statistics: Array) -> list[Array]:
        """The part (..., 2, O) of each batch normalisation in a vector like ``statistics``."""
        parts = []
        start = 0
        for norm in self._norms:
            stop = start + 2 * norm.dim
            shape = (*self._user.network.leading, 2, norm.dim)
            parts.append(self._xp.reshape(statistics[..., start:stop], shape, copy=False))
            start = stop
        return parts

    def fetch(self) -> None:
        """Copy the weights and biases of the user's network."""
        for ours, theirs, norm in self._rows:
            first = theirs is self._user.network.layers[0]
            ours.weight[...] = self._lit.of(theirs.weight) if self._lit and first else theirs.weight
            bias = norm.shift if norm else ours.bias
            bias[...] = theirs.bias

    def export(self, parameters: Array, statistics: Array) -> None:
        """Copy parameters, or averages of them, to the user's network, with folded normalisation.

        All are written at once, so that neither Ctrl-C nor another thread leaves or finds the
        network half updated.
        """
        whole = self._xp.asarray(self._user.parameters, copy=True)
        found, wanted = self.network.views(parameters), self._user.network.views(whole)
        parts = iter(self._parts(statistics))
        for ours, theirs, norm in self._rows:
            values = found[ours]
            weight = values["weight"]
            if norm:
                weight, bias = norm.fold(weight, next(parts), **found[norm])
            else:
                bias = values["bias"]
            target = wanted[theirs]
            first = theirs is self._user.network.layers[0]
            target["weight"][...] = self._lit.into(weight) if self._lit and first else weight
            target["bias"][...] = bias
        self._user.parameters[...] = whole


class _Columns:
    """Some inputs of a network, and the corresponding rows of its first weights."""

    def __init__(self, network: NeuralNetwork, kept: Any) -> None:
        self._xp = network.backend.xp
        kept = kept.tolist()
        rest = sorted({*range(network.input_dim)} - {*kept})
        order = [*kept, *rest]
        self._kept = self._xp.asarray(kept)
        # The inverse permutation: where each input of the network is in ``order``
        self._usual = self._xp.asarray(sorted(range(len(order)), key=order.__getitem__))
        self._rest = len(rest)

    def of(self, weight: Array) -> Array:
        """The rows (..., kept, O) of weights (..., I, O)."""
        return self._xp.take(weight, self._kept, axis=-2)

    def into(self, rows: Array) -> Array:
        """Weights (..., I, O) with these rows (..., kept, O), and 0 for inputs that are not kept."""
        rest = self._xp.zeros((*rows.shape[:-2], self._rest, rows.shape[-1]), dtype=rows.dtype)
        return self._xp.take(self._xp.concat([rows, rest], axis=-2), self._usual, axis=-2)
