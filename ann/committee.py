"""Committees of networks that were trained apart, in other runs or on other machines: once side by side in the same
arrays, they are one network, which is saved, tested and trained like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ann.neural_network import NeuralNetwork


def committee_of(networks: Sequence[NeuralNetwork]) -> NeuralNetwork:
    """A committee with copies of these networks, or of the members of committees, on the device of the first.

    It has the seed, the recipe and the self-test images of the first, though others may have had others.

    Raises:
        ValueError: there are fewer than two, or one has other layers, another loss or type than the first; the message
            says which, counted from 1.
    """
    if not isinstance(networks, Sequence) or not all(isinstance(network, NeuralNetwork) for network in networks):
        raise ValueError("networks: expected a list of ann.NeuralNetwork")
    if len(networks) < 2:
        raise ValueError(f"networks: a committee needs at least two, got {len(networks)}")
    first = networks[0]
    for number, network in enumerate(networks, start=1):
        for name in ("layer_list", "loss_name", "dtype_name"):
            if getattr(network, name) != getattr(first, name):
                what = {"layer_list": "layers", "loss_name": "a loss", "dtype_name": "a type"}[name]
                raise ValueError(f"network {number}: {what} other than network 1: {network!r}, {first!r}")
    vectors = [network.backend.to_host(network.parameters).reshape(network.committee, -1) for network in networks]
    parameters = np.concatenate(vectors)
    arguments = first.layer_list, first.loss_name, first.backend, first.seed, first.dtype_name
    joined = NeuralNetwork(*arguments, parameters=parameters, committee=len(parameters))
    joined.recipe, joined.self_test_images = copy.deepcopy(first.recipe), first.self_test_images
    return joined
