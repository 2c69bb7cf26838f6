import numpy as np
import pytest

from ann.nn.activations import ACTIVATIONS
from ann.nn.layers import Dense
from support.backends import assert_device_array
from support.gradients import assert_gradient


def dense(backend, activation, rng, dtype="float64", inputs=5, outputs=4, **options):
    """A layer bound to vectors of its own, and those vectors: parameters, gradients."""
    layer = Dense(backend, inputs, outputs, activation, **options)
    vectors = [backend.from_host(rng.standard_normal(outputs * (inputs + 1)).astype(dtype)) for _ in range(2)]
    layer.bind(*(backend.xp.reshape(vector, layer.shape, copy=False) for vector in vectors))
    return layer, *vectors


def upload(backend, x):
    """x with the column of ones, on the device."""
    return backend.from_host(np.concatenate([x, np.ones_like(x[..., :1])], axis=-1))


@pytest.mark.parametrize("with_ones", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_inputs_and_parameters(backend, activation, with_ones, rng):
    layer, parameters, gradients = dense(backend, activation, rng, with_ones=with_ones)
    x, weights = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))  # checked: sum(weights * layer(x))
    start = backend.to_host(parameters).copy()

    def total(inputs, vector):
        parameters[...] = backend.from_host(vector)
        return float((weights * backend.to_host(layer.apply(upload(backend, inputs), 0.7))[:, :4]).sum())

    layer.forward(upload(backend, x), 0.7)
    x_gradient = backend.to_host(layer.backward(backend.from_host(weights.copy()))).copy()
    assert_gradient(lambda point: total(point, start), x_gradient, x, rng)
    assert_gradient(lambda point: total(x, point), backend.to_host(gradients), start, rng)


def test_it_is_the_formula(backend, rng):
    layer, parameters, _ = dense(backend, "tanh", rng)
    weight, bias = backend.to_host(layer.weight), backend.to_host(layer.bias)
    assert weight.shape == (5, 4) and bias.shape == (1, 4)
    np.testing.assert_array_equal(np.concatenate([weight, bias]).ravel(), backend.to_host(parameters))
    x = rng.standard_normal((3, 5))
    y = backend.to_host(layer.apply(upload(backend, x)))
    np.testing.assert_allclose(y[:, :-1], np.tanh(x @ weight + bias), rtol=1e-12)
    np.testing.assert_array_equal(y[:, -1], 1.0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_apply_and_leaves_its_input(backend, activation, rng):
    layer, *_ = dense(backend, activation, rng, "float32")
    device_x = upload(backend, rng.standard_normal((3, 5)).astype(np.float32))
    before = backend.to_host(device_x).copy()
    y = layer.forward(device_x)
    assert_device_array(backend, y, (3, 5))
    np.testing.assert_array_equal(backend.to_host(y), backend.to_host(layer.apply(device_x)))
    layer.backward(backend.from_host(np.ones((3, 4), dtype=np.float32)))
    np.testing.assert_array_equal(backend.to_host(device_x), before)


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_backward_leaves_of_the_last_gradients_what_it_is_told(backend, memory, rng):
    layer, _, gradients = dense(backend, "tanh", rng, "float32", memory=memory)
    before = backend.to_host(gradients).copy()
    x = upload(backend, rng.standard_normal((3, 5)).astype(np.float32))
    results = []
    for _ in range(2):
        layer.forward(x)
        layer.backward(backend.from_host(np.ones((3, 4), dtype=np.float32)), input_gradient=False)
        results.append(backend.to_host(gradients).copy())
    np.testing.assert_allclose(results[1], results[0] + memory * (results[0] - before), rtol=1e-5, atol=1e-5)
    assert (results[1] == results[0]).all() == (memory == 0.0)


def test_batch_sizes_may_change(backend, rng):
    layer, _, gradients = dense(backend, "sigmoid", rng, "float32")
    x = rng.standard_normal((7, 5)).astype(np.float32)
    for size in (3, 7, 2, 7, 1):
        y = layer.forward(upload(backend, x[:size]))
        assert_device_array(backend, y, (size, 5))
        grad = layer.backward(backend.from_host(np.ones((size, 4), dtype=np.float32)))
        assert_device_array(backend, grad, (size, 5))
        fresh, _, fresh_gradients = dense(backend, "sigmoid", np.random.default_rng(7), "float32")
        fresh.forward(upload(backend, x[:size]))
        fresh.backward(backend.from_host(np.ones((size, 4), dtype=np.float32)))
        np.testing.assert_array_equal(backend.to_host(gradients), backend.to_host(fresh_gradients))


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
def test_a_leading_axis_is_as_many_layers_side_by_side(backend, activation, recorded, rng):
    """Weights (K, I + 1, O) are K layers; x may be shared, (N, I + 1), or one for each, (K, N, I + 1)."""
    backend = backend.recorder() if recorded else backend
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    weights = rng.standard_normal((2, 6, 4)).astype(np.float32)
    for shared in (False, True):
        results = []
        for index in (slice(None), 0, 1):
            layer = Dense(backend, 5, 4, activation)
            parameters = backend.from_host(weights[index].copy())
            layer.bind(parameters, backend.xp.zeros_like(parameters))
            y = backend.to_host(layer.forward(upload(backend, x[0] if shared else x[index]))).copy()
            grad = backend.to_host(layer.backward(backend.from_host(np.cos(y[..., :4])))).copy()
            results.append([y, grad, backend.to_host(layer.gradients)])
        for together, first, second in zip(*results, strict=True):
            np.testing.assert_allclose(together, np.stack([first, second]), rtol=1e-5, atol=1e-6)


def test_apply_does_not_disturb_a_pass(backend, rng):
    layer, _, gradients = dense(backend, "gelu", rng, "float32")
    x, other = (upload(backend, rng.standard_normal((3, 5)).astype(np.float32)) for _ in range(2))
    results = []
    for disturb in (False, True):
        layer.forward(x)
        if disturb:
            layer.apply(other)
        layer.backward(backend.from_host(np.ones((3, 4), dtype=np.float32)))
        results.append(backend.to_host(gradients).copy())
    np.testing.assert_array_equal(*results)
