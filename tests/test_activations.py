import math

import numpy as np
import pytest
from conftest import assert_device_array
from gradients import assert_gradient

import ann
from ann.activations import ACTIVATIONS, get_activation

NAMES = tuple(ACTIVATIONS)

FORMULAS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0),
    "leaky-relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
    "identity": lambda z: z,
}


def outputs(backend, name, z):
    device = backend.from_host(z)
    out = backend.xp.empty_like(device)
    with backend.quiet():
        get_activation(name).function(backend, device, out)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_function_is_the_formula(backend, name, rng):
    z = rng.standard_normal((5, 4)) * 3
    np.testing.assert_allclose(backend.to_host(outputs(backend, name, z)), FORMULAS[name](z), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["sigmoid", "gelu"])
def test_small_outputs_keep_their_digits_in_float32(backend, name):
    z = np.array([[-3, -4, -5, -6, -7, -8]])
    found = backend.to_host(outputs(backend, name, z.astype(np.float32)))
    u = {"sigmoid": z, "gelu": 2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)}[name]
    factor = {"sigmoid": 1, "gelu": z}[name]
    np.testing.assert_allclose(found, factor / (1 + np.exp(-u)), rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_and_out_may_be_the_input(backend, name, rng):
    z = rng.standard_normal((5, 4)).astype(np.float32)
    out = outputs(backend, name, z)
    assert_device_array(backend, out, (5, 4))
    inplace = backend.from_host(z.copy())
    get_activation(name).function(backend, inplace, inplace)
    np.testing.assert_array_equal(backend.to_host(inplace), backend.to_host(out))


@pytest.mark.parametrize("name", NAMES)
def test_derivative(backend, name, rng):
    activation = get_activation(name)
    z = rng.standard_normal((5, 4)) * 2
    weights = rng.standard_normal((5, 4))  # the function checked is sum(weights * f(z))
    y = outputs(backend, name, z)
    grad, device_z = backend.from_host(weights.copy()), backend.from_host(z)
    activation.backward(backend, grad, y if activation.keeps == "output" else device_z, backend.xp.empty_like(y))
    assert_gradient(
        lambda point: float((weights * backend.to_host(outputs(backend, name, point))).sum()),
        backend.to_host(grad),
        z,
        rng,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e4, 88.0, 20.0])
def test_large_sums_stay_finite(backend, name, size):
    z = np.array([[-size, size, 0.0, 1.0]], dtype=np.float32)
    activation = get_activation(name)
    y = outputs(backend, name, z)
    grad = backend.from_host(np.ones_like(z))
    with backend.quiet():
        activation.backward(
            backend, grad, y if activation.keeps == "output" else backend.from_host(z), backend.xp.empty_like(y)
        )
    assert np.isfinite(backend.to_host(y)).all()
    assert np.isfinite(backend.to_host(grad)).all()


def test_sigmoid_has_hardly_a_denormal_tail():
    """Processors are slow on denormal numbers; the sigmoid has them for sums between -88.8 and -87.3, and then 0."""
    z = np.linspace(-120, 0, 1000, dtype=np.float32)[None, :]
    y = outputs(ann.get_backend("cpu"), "sigmoid", z)
    denormal = z[(y > 0) & (y < np.finfo(np.float32).tiny)]
    assert denormal.size and denormal.min() > -88.8 and denormal.max() < -87.3


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown activation 'sigmoyd'; known: sigmoid, tanh, relu"):
        get_activation("sigmoyd")
