import math

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.layer_list import build_layers

DEVIATIONS = {
    **dict.fromkeys(
        ("tanh", "scaled-tanh", "softmax", "identity", "your-own"), math.sqrt(2 / 500)
    ),  # Glorot: 2 / (I + O)
    "sigmoid": 4 * math.sqrt(2 / 500),
    **dict.fromkeys(
        ("relu", "leaky-relu", "softplus", "gelu", "swish"), math.sqrt(2 / 400)
    ),  # He: 2 / I
}


@pytest.mark.parametrize("activation", DEVIATIONS)
def test_size_and_shape(monkeypatch, activation):
    monkeypatch.setitem(ACTIVATIONS, "your-own", None)  # so that it is gone after the test
    ann.register_activation("your-own", lambda xp, z: 2 * z, lambda xp, z: xp.full_like(z, 2))
    spec = {"input_dim": 400, "output_dim": 100, "activation": activation}
    layer = build_layers([spec, {"input_dim": 100, "output_dim": 10, "activation": "sigmoid"}])[0]
    weight = layer.initial_values(np.random.default_rng(1))["weight"]
    assert weight.shape == (400, 100)
    assert weight.std() == pytest.approx(DEVIATIONS[activation], rel=0.02)
    assert abs(weight.mean()) < 0.03 * weight.std()


def test_the_layer_of_the_logits_is_linear():
    spec = {"input_dim": 400, "output_dim": 100, "activation": "sigmoid"}
    weight = build_layers([spec])[0].initial_values(np.random.default_rng(1))["weight"]
    assert weight.std() == pytest.approx(DEVIATIONS["identity"], rel=0.02)
