"""Does a device train like another one? The same training on both, value by value."""

from typing import NamedTuple

import numpy as np

from ann.backends.base import Backend
from ann.data.datasets import Dataset
from ann.neural_network import layers_with_arrays
from ann.training.fit import fit
from ann.training.recipe import Recipe

# Devices round differently, and every step multiplies the difference. If two numbers are nearly
# equal, a relu or a maximum may even decide differently. On a correct device a parameter differs by
# less than this share of the largest in its layer; a wrong formula shows in the first digits.
_SHARE = 1e-2


class Difference(NamedTuple):
    """How much a quantity differs between two devices."""

    name: str
    largest: float
    difference: float
    tolerance: float

    @property
    def is_small(self) -> bool:
        """Whether the difference is within its tolerance; NaN never is."""
        return self.difference <= self.tolerance


def training_differences(
    backend: Backend, reference: Backend, dataset: Dataset, recipe: Recipe, seed: int = 0
) -> list[Difference]:
    """Train on both backends; the differences of the mean loss and of each layer's parameters."""
    expected = _train(reference, dataset, recipe, seed)
    found = _train(backend, dataset, recipe, seed)
    differences = []
    for name, values in expected.items():
        largest, difference = float(abs(values).max()), float(abs(values - found[name]).max())
        differences.append(Difference(name, largest, difference, _SHARE * largest))
    return differences


def _train(backend: Backend, dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, np.ndarray]:
    """Train a network; its mean loss and its parameters, float64 on the host."""
    network = recipe.network(dataset, backend, seed)
    values = {"mean loss": np.array(fit(network, dataset, recipe)[-1].loss)}
    for number, layer in enumerate(layers_with_arrays(network), start=1):
        values |= {
            f"layer {number}, {name}": layer[name] for name in ("weight", "bias") if name in layer
        }
    return {name: value.astype(np.float64) for name, value in values.items()}
