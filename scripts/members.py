"""What each member of a committee does alone: error bars from one training, since each has a seed of its own."""

from __future__ import annotations

import numpy as np

import ann
from ann.analysis.metrics import spread


def wrong_of_members(network: ann.NeuralNetwork, images: np.ndarray, labels: np.ndarray) -> list[int]:
    """How many images each member gets wrong."""
    members = (network.member(number) for number in range(network.committee))
    return [int((member.predict(images) != labels).sum()) for member in members]


def in_words(wrong: list[int], total: int) -> str:
    """The mistakes of the members, and their spread."""
    lines = [f"member {number}: {count} of {total:,} wrong" for number, count in enumerate(wrong, start=1)]
    return "\n".join([*lines, f"members: {spread(wrong)}"])
