"""Joins networks that were trained separately into a committee, which is used like a network."""

from collections.abc import Sequence

import numpy as np

from ann.errors import printable_text
from ann.neural_network import NeuralNetwork, copy_of


def committee_of(networks: Sequence[NeuralNetwork]) -> NeuralNetwork:
    """A committee of copies of these networks. Committees among them contribute all their members.

    It has the device, the seed and the self-test images of the first network, and those fields of
    its recipe that are the same in all networks.

    Raises:
        ValueError: there are fewer than two networks, or one differs from the first in layers,
            loss, dtype or the names of its classes.
    """
    if not isinstance(networks, Sequence) or not all(
        isinstance(network, NeuralNetwork) for network in networks
    ):
        raise ValueError("networks: expected a list of ann.NeuralNetwork")
    if len(networks) < 2:
        raise ValueError(f"networks: a committee needs at least two, got {len(networks)}")
    first = networks[0]
    for number, network in enumerate(networks, start=1):
        for name, differs, text in (
            ("layer_list", "layers differ", repr),
            ("loss_name", "loss differs", repr),
            ("dtype_name", "type differs", lambda one: one.dtype_name),
            ("classes", "classes differ", lambda one: printable_text(", ".join(one.classes))),
        ):
            if getattr(network, name) != getattr(first, name):
                both = f"{text(network)}, not {text(first)}"
                raise ValueError(f"network {number}: its {differs} from network 1's: {both}")
    vectors = [network.backend.to_host(network.parameters) for network in networks]
    members = [vector.reshape(-1, vector.shape[-1]) for vector in vectors]
    committee = copy_of(first, parameters=np.concatenate(members))
    recipes = [(network.recipe or {}).items() for network in networks]
    shared = (item for item in recipes[0] if all(item in recipe for recipe in recipes[1:]))
    committee.recipe = dict(shared) or None
    return committee
