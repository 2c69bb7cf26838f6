"""Initial weights: how large the random numbers are from which learning starts. A layer that is too large
saturates, one too small passes no signal on, and the right size depends on the activation.
"""

from __future__ import annotations

import math

import numpy as np

# Standard deviations times sqrt((I + O) / 2), so that 1.0 is Glorot & Bengio (2010), equation 12.
# The factor 4 for the sigmoid, whose slope is at most 1/4, is from the end of the same paper's section 4.2.1.
_GAINS = {"sigmoid": 4.0}
_LIKE_RELU = ("relu", "leaky-relu", "softplus", "gelu", "swish")


def initial_weight(random: np.random.Generator, input_dim: int, output_dim: int, activation: str) -> np.ndarray:
    """Normally distributed weights (I, O), float64, for a layer with this activation.

    relu and its kin: He et al. (2015), equation 10, standard deviation sqrt(2 / I).
    All others: Glorot & Bengio (2010), gain * sqrt(2 / (I + O)).
    """
    if activation in _LIKE_RELU:
        deviation = math.sqrt(2.0 / input_dim)
    else:
        deviation = _GAINS.get(activation, 1.0) * math.sqrt(2.0 / (input_dim + output_dim))
    return random.standard_normal((input_dim, output_dim)) * deviation
