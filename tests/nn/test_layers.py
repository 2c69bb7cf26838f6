import numpy as np
import pytest

from ann.nn.activations import ACTIVATIONS
from ann.nn.initializers import he
from ann.nn.layers import ActivationLayer, Dense
from support.backends import assert_device_array
from support.layers import assert_layer_gradients, backward, bound
from support.networks import network_on


def dense(backend, rng, dtype="float64", leading=(), **options):
    return bound(backend, Dense(5, 4, he, **options), rng, dtype, leading)


LAYERS = {
    "dense": lambda: Dense(5, 5, he),
    "dense without bias": lambda: Dense(5, 5, he, bias=False),
    **{name: lambda name=name: ActivationLayer(name) for name in ACTIVATIONS},
}


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_inputs_and_parameters(backend, kind, rng):
    layer, values, gradients = bound(backend, LAYERS[kind](), rng)
    x, weights = rng.standard_normal((2, 3, 5))
    assert_layer_gradients(backend, layer, values, gradients, x, weights, rng)


@pytest.mark.parametrize("bias", [True, False])
def test_dense_is_the_formula(backend, bias, rng):
    layer, values, _ = dense(backend, rng, bias=bias)
    x = rng.standard_normal((3, 5))
    expected = x @ backend.to_host(values["weight"])
    if bias:
        expected = expected + backend.to_host(values["bias"])
    np.testing.assert_allclose(
        backend.to_host(layer.forward(backend.from_host(x))), expected, rtol=1e-12
    )
    assert ("bias" in values) is bias


def test_weight_decay_and_initial_values_of_dense_layers():
    layer = Dense(5, 400, lambda inputs, outputs: inputs / outputs)
    assert {p.name: (p.shape, p.decays) for p in layer.parameters} == {
        "weight": ((5, 400), True),
        "bias": ((1, 400), False),
    }
    with pytest.raises(AttributeError):
        layer.parameters[0].decays = False
    found = layer.initial_values(np.random.default_rng(0))
    assert set(found) == {"weight"} and found["weight"].shape == (5, 400)
    assert found["weight"].std() == pytest.approx(5 / 400, rel=0.05)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_leaves_its_input(backend, kind, rng):
    layer, *_ = bound(backend, LAYERS[kind](), rng, "float32")
    device_x = backend.from_host(rng.standard_normal((3, 5)).astype(np.float32))
    before = backend.to_host(device_x).copy()
    assert_device_array(backend, layer.forward(device_x), (3, 5))
    backward(layer, backend.from_host(np.ones((3, 5), dtype=np.float32)))
    np.testing.assert_array_equal(backend.to_host(device_x), before)


@pytest.mark.parametrize("accumulate", [0.0, 0.5])
def test_gradients_are_added_to_the_last_ones(backend, accumulate, rng):
    layer, _, gradients = dense(backend, rng, "float32")
    before = {name: backend.to_host(array).copy() for name, array in gradients.items()}
    x = backend.from_host(rng.standard_normal((3, 5)).astype(np.float32))
    results = []
    for _ in range(2):
        layer.forward(x)
        options = {"accumulate": accumulate} if accumulate else {}  # 0 is the default
        layer.compute_gradients(backend.from_host(np.ones((3, 4), dtype=np.float32)), **options)
        results.append({name: backend.to_host(array).copy() for name, array in gradients.items()})
    for name, first in results[0].items():
        expected = first + accumulate * (first - before[name])
        np.testing.assert_allclose(results[1][name], expected, rtol=1e-5, atol=1e-5)
        assert (results[1][name] == first).all() == (accumulate == 0.0)


def test_the_input_gradient_is_optional(backend, rng):
    net = network_on(backend, [Dense(5, 4, he), ActivationLayer("tanh"), Dense(4, 3, he)], rng)
    results = []
    for wanted in (True, False):
        net.forward(backend.from_host(np.ones((3, 5))))
        grad = net.backward(backend.from_host(np.ones((3, 3))), input_gradient=wanted)
        assert (grad is not None) is wanted
        results.append(backend.to_host(net.gradients).copy())
    np.testing.assert_array_equal(*results)


def test_batch_sizes_may_change(backend, rng):
    layer, values, gradients = dense(backend, rng, "float32")
    x = rng.standard_normal((7, 5)).astype(np.float32)
    for size in (3, 7, 2, 7, 1):
        assert_device_array(backend, layer.forward(backend.from_host(x[:size])), (size, 4))
        grad = backward(layer, backend.from_host(np.ones((size, 4), dtype=np.float32)))
        assert_device_array(backend, grad, (size, 5))
        fresh = Dense(5, 4, he)
        own = {name: backend.xp.zeros_like(array) for name, array in gradients.items()}
        fresh.bind(backend, values, own)
        fresh.forward(backend.from_host(x[:size]))
        backward(fresh, backend.from_host(np.ones((size, 4), dtype=np.float32)))
        for name, array in gradients.items():
            np.testing.assert_array_equal(backend.to_host(array), backend.to_host(own[name]))


@pytest.mark.parametrize("recorded", [False, True])
def test_a_leading_axis_is_as_many_layers_side_by_side(backend, recorded, rng):
    """Weights (K, I, O) are K layers; x is shared, (N, I), or each has its own, (K, N, I)."""
    backend = backend.recorder() if recorded else backend
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    weight = rng.standard_normal((2, 5, 4)).astype(np.float32)
    bias = rng.standard_normal((2, 1, 4)).astype(np.float32)
    for shared in (False, True):
        results = []
        for index in (slice(None), 0, 1):
            layer = Dense(5, 4, he)
            values = {
                "weight": backend.from_host(weight[index].copy()),
                "bias": backend.from_host(bias[index].copy()),
            }
            gradients = {name: backend.xp.zeros_like(array) for name, array in values.items()}
            layer.bind(backend, values, gradients)
            y = backend.to_host(
                layer.forward(backend.from_host(x[0] if shared else x[index]))
            ).copy()
            grad = backend.to_host(backward(layer, backend.from_host(np.cos(y)))).copy()
            results.append([y, grad, *map(backend.to_host, gradients.values())])
        for together, first, second in zip(*results, strict=True):
            np.testing.assert_allclose(together, np.stack([first, second]), rtol=1e-5, atol=1e-6)
