import math

import numpy as np
import pytest

from ann.nn.activations import ACTIVATIONS
from ann.nn.initializers import initial_weight

DEVIATIONS = {
    **dict.fromkeys(
        ("tanh", "scaled-tanh", "softmax", "identity", "one of your own"), math.sqrt(2 / 500)
    ),  # Glorot: 2 / (I + O)
    "sigmoid": 4 * math.sqrt(2 / 500),
    **dict.fromkeys(("relu", "leaky-relu", "softplus", "gelu", "swish"), math.sqrt(2 / 400)),  # He: 2 / I
}


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "one of your own"])
def test_size_and_shape(activation):
    weight = initial_weight(np.random.default_rng(1), 400, 100, activation)
    assert weight.shape == (400, 100)
    assert weight.std() == pytest.approx(DEVIATIONS[activation], rel=0.02)
    assert abs(weight.mean()) < 0.03 * weight.std()
