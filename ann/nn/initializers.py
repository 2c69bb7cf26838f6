"""Initial weights: how large the random numbers are from which learning starts. Weights that are
too large saturate a layer, weights that are too small pass no signal on, and the right size depends
on the activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Deviation = Callable[[int, int], float]  # (inputs I, outputs O of a layer) -> standard deviation of its weights


def glorot(gain: float) -> Deviation:
    """Glorot & Bengio (2010), equation 12: gain sqrt(2 / (I + O)).

    The gain is 4 for the sigmoid, whose slope is at most 1/4 (the end of section 4.2.1).
    """
    return lambda inputs, outputs: gain * math.sqrt(2.0 / (inputs + outputs))


GLOROT = glorot(1.0)


def he(inputs: int, outputs: int) -> float:
    """He et al. (2015), equation 10, for relu and similar activations: sqrt(2 / I)."""
    return math.sqrt(2.0 / inputs)
