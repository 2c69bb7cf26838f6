"""Initial weights: how large the random numbers are from which learning starts. A layer that is too large
saturates, one too small passes no signal on, and the right size depends on the activation.
"""

from __future__ import annotations

import math

import numpy as np

# Standard deviations times sqrt((I + O) / 2), so that 1.0 is Glorot & Bengio (2010), equation 12.
# The factor 4 for the sigmoid, whose slope is at most 1/4, is from the end of the same paper's section 4.2.1.
_GAINS = {"sigmoid": 4.0, "tanh": 1.0, "softmax": 1.0, "identity": 1.0}


def initial_weight(random: np.random.Generator, input_dim: int, output_dim: int, activation: str) -> np.ndarray:
    """Normally distributed weights (I, O), float64, for a layer with this activation.

    relu and its kin: He et al. (2015), equation 10, standard deviation sqrt(2 / I).
    All others: Glorot & Bengio (2010), gain * sqrt(2 / (I + O)).
    """
    if activation in _GAINS:
        deviation = _GAINS[activation] * math.sqrt(2.0 / (input_dim + output_dim))
    else:
        deviation = math.sqrt(2.0 / input_dim)
    return random.standard_normal((input_dim, output_dim)) * deviation
