"""Initial weights: the standard deviation of the random numbers that training starts from. Weights
that are too large saturate a layer, and weights that are too small pass on no signal. The right
size depends on the activation.
"""

import math
from collections.abc import Callable

Deviation = Callable[[int, int], float]  # (I, O) -> standard deviation of the weights


def glorot(gain: float) -> Deviation:
    """Glorot & Bengio (2010), equation 12: gain sqrt(2 / (I + O)), for tanh with a gain of 1.

    Glorot's text on initial weights in the Deep Learning Tutorials of his laboratory (2010,
    doc/mlp.txt) recommends a gain of 4 for the sigmoid, whose slope at 0 is 1/4.
    """
    return lambda inputs, outputs: gain * math.sqrt(2.0 / (inputs + outputs))


GLOROT = glorot(1.0)


def he(inputs: int, outputs: int) -> float:
    """He et al. (2015), equation 10, for relu and similar activations: sqrt(2 / I)."""
    return math.sqrt(2.0 / inputs)
