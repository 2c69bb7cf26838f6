import numpy as np
import pytest
from conftest import assert_device_array
from gradients import assert_gradient

from ann.activations import ACTIVATIONS
from ann.layers import Dense


def dense(backend, activation, rng, dtype="float64", inputs=5, outputs=4):
    """A layer bound to vectors of its own, and those vectors: parameters, gradients."""
    layer = Dense(backend.xp, inputs, outputs, activation)
    vectors = [backend.from_host(rng.standard_normal(outputs * (inputs + 1)).astype(dtype)) for _ in range(2)]
    views = [
        {
            "weight": backend.xp.reshape(vector[: inputs * outputs], (inputs, outputs), copy=False),
            "bias": backend.xp.reshape(vector[inputs * outputs :], (1, outputs), copy=False),
        }
        for vector in vectors
    ]
    layer.bind(*views)
    return layer, *vectors


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_inputs_and_parameters(backend, activation, rng):
    layer, parameters, gradients = dense(backend, activation, rng)
    x, weights = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))  # checked: sum(weights * layer(x))
    start = backend.to_host(parameters).copy()

    def total(inputs, vector):
        parameters[...] = backend.from_host(vector)
        return float((weights * backend.to_host(layer.apply(backend.from_host(inputs)))).sum())

    layer.forward(backend.from_host(x))
    x_gradient = backend.to_host(layer.backward(backend.from_host(weights.copy()))).copy()
    assert_gradient(lambda point: total(point, start), x_gradient, x, rng)
    assert_gradient(lambda point: total(x, point), backend.to_host(gradients), start, rng)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_apply_and_leaves_its_input(backend, activation, rng):
    layer, *_ = dense(backend, activation, rng, "float32")
    x = rng.standard_normal((3, 5)).astype(np.float32)
    device_x = backend.from_host(x.copy())
    y = layer.forward(device_x)
    assert_device_array(backend, y, (3, 4))
    np.testing.assert_array_equal(backend.to_host(y), backend.to_host(layer.apply(device_x)))
    layer.backward(backend.from_host(np.ones((3, 4), dtype=np.float32)))
    np.testing.assert_array_equal(backend.to_host(device_x), x)


def test_backward_assigns(backend, rng):
    layer, _, gradients = dense(backend, "tanh", rng, "float32")
    x = backend.from_host(rng.standard_normal((3, 5)).astype(np.float32))
    results = []
    for _ in range(2):
        layer.forward(x)
        layer.backward(backend.from_host(np.ones((3, 4), dtype=np.float32)), input_gradient=False)
        results.append(backend.to_host(gradients).copy())
    np.testing.assert_array_equal(*results)


def test_batch_sizes_may_change(backend, rng):
    layer, _, gradients = dense(backend, "sigmoid", rng, "float32")
    x = rng.standard_normal((7, 5)).astype(np.float32)
    for size in (3, 7, 2, 7, 1):
        y = layer.forward(backend.from_host(x[:size].copy()))
        assert_device_array(backend, y, (size, 4))
        grad = layer.backward(backend.from_host(np.ones((size, 4), dtype=np.float32)))
        assert_device_array(backend, grad, (size, 5))
        fresh, _, fresh_gradients = dense(backend, "sigmoid", np.random.default_rng(7), "float32")
        fresh.forward(backend.from_host(x[:size].copy()))
        fresh.backward(backend.from_host(np.ones((size, 4), dtype=np.float32)))
        np.testing.assert_array_equal(backend.to_host(gradients), backend.to_host(fresh_gradients))


@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
def test_a_leading_axis_is_as_many_layers_side_by_side(backend, activation, rng):
    """Weights (K, I, O) are K layers; x may be shared, (N, I), or one for each, (K, N, I)."""
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    parts = {"weight": rng.standard_normal((2, 5, 4)), "bias": rng.standard_normal((2, 1, 4))}
    for shared in (False, True):
        results = []
        for index in (slice(None), 0, 1):
            layer = Dense(backend.xp, 5, 4, activation)
            views = {name: backend.from_host(part[index].astype(np.float32)) for name, part in parts.items()}
            layer.bind(views, {name: backend.xp.zeros_like(view) for name, view in views.items()})
            y = backend.to_host(layer.forward(backend.from_host(x[0] if shared else x[index]))).copy()
            grad = backend.to_host(layer.backward(backend.from_host(np.cos(y)))).copy()
            results.append([y, grad, *map(backend.to_host, (layer.weight_gradient, layer.bias_gradient))])
        for together, first, second in zip(*results, strict=True):
            np.testing.assert_allclose(together, np.stack([first, second]), rtol=1e-5, atol=1e-6)


def test_apply_does_not_disturb_a_pass(backend, rng):
    layer, _, gradients = dense(backend, "gelu", rng, "float32")
    x, other = (backend.from_host(rng.standard_normal((3, 5)).astype(np.float32)) for _ in range(2))
    results = []
    for disturb in (False, True):
        layer.forward(x)
        if disturb:
            layer.apply(other)
        layer.backward(backend.from_host(np.ones((3, 4), dtype=np.float32)))
        results.append(backend.to_host(gradients).copy())
    np.testing.assert_array_equal(*results)
