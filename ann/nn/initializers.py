"""Initial weights: the standard deviation of the random numbers that training starts from. Weights
that are too large saturate a layer, and weights that are too small pass on no signal. The right
size depends on the activation.
"""

import math
from collections.abc import Callable

Deviation = Callable[[int, int], float]  # (I, O) -> standard deviation of the weights


def glorot(gain: float) -> Deviation:
    """Glorot & Bengio (2010), equation 12: gain sqrt(2 / (I + O)).

    The gain is 4 for the sigmoid, whose slope is at most 1/4 (end of section 4.2.1).
    """
    return lambda inputs, outputs: gain * math.sqrt(2.0 / (inputs + outputs))


GLOROT = glorot(1.0)


def he(inputs: int, outputs: int) -> float:
    """He et al. (2015), equation 10, for relu and similar activations: sqrt(2 / I)."""
    return math.sqrt(2.0 / inputs)
