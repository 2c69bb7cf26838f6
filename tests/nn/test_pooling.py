import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ann.nn.pooling import AveragePool2D, MaxPool2D
from support import optional
from support.backends import assert_device_array, make_backend
from support.gradients import assert_gradient
from support.layers import backward, bound

SHAPE = 3, 6, 4
pools = pytest.mark.parametrize("pool", [MaxPool2D, AveragePool2D])


@pools
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("ties", [False, True])
def test_it_is_what_pytorch_computes(backend, pool, recorded, size, ties, rng):
    torch = optional("torch")
    functional = torch.nn.functional
    theirs = functional.max_pool2d if pool is MaxPool2D else functional.avg_pool2d
    backend = backend.recorder() if recorded else backend
    layer, *_ = bound(backend, pool(SHAPE, size), rng)
    x = rng.standard_normal((5, 72))
    x = np.round(x) if ties else x
    inputs = torch.tensor(x.reshape(5, *SHAPE), requires_grad=True)
    expected = theirs(inputs, size)
    y = backend.to_host(layer.forward(backend.from_host(x)))
    np.testing.assert_allclose(y, expected.detach().numpy().reshape(5, -1), rtol=1e-6)
    grad = rng.standard_normal(y.shape)
    expected.backward(torch.tensor(grad.reshape(5, *layer.output_shape)))
    dx = backend.to_host(backward(layer, backend.from_host(grad)))
    np.testing.assert_allclose(dx, inputs.grad.numpy().reshape(5, -1), rtol=1e-6)


@pools
def test_gradients(backend, pool, rng):
    layer, *_ = bound(backend, pool(SHAPE, 2), rng)
    x, weights = rng.standard_normal((5, 72)), rng.standard_normal((5, 18))

    def total(inputs):
        return float((weights * backend.to_host(layer.forward(backend.from_host(inputs)))).sum())

    layer.forward(backend.from_host(x))
    dx = backend.to_host(backward(layer, backend.from_host(weights.copy()))).copy()
    assert_gradient(total, dx, x, rng)


@pools
def test_committees_and_batch_sizes(backend, pool, rng):
    layer, *_ = bound(backend, pool(SHAPE, 2), rng)
    x = rng.standard_normal((2, 5, 72)).astype(np.float32)
    for count in (5, 2):
        together = layer.forward(backend.from_host(x[:, :count].copy()))
        assert_device_array(backend, together, (2, count, 18))
        together = backend.to_host(together).copy()
        dx = backward(layer, backend.from_host(together.copy()))
        assert_device_array(backend, dx, (2, count, 72))
        dx = backend.to_host(dx).copy()
        for member in (0, 1):
            one, *_ = bound(backend, pool(SHAPE, 2), rng)
            inputs = backend.from_host(x[member, :count].copy())
            y = backend.to_host(one.forward(inputs)).copy()
            np.testing.assert_array_equal(y, together[member])
            np.testing.assert_array_equal(
                backend.to_host(backward(one, backend.from_host(y))), dx[member]
            )
            np.testing.assert_array_equal(backend.to_host(inputs), x[member, :count])


@given(
    pool=st.sampled_from([MaxPool2D, AveragePool2D]),
    size=st.integers(1, 3),
    squares=st.tuples(*[st.integers(1, 3)] * 2),
    value=st.floats(-100, 100, width=32),
)
@settings(deadline=None, max_examples=30)
def test_a_constant_stays_the_same(pool, size, squares, value):
    shape = 2, squares[0] * size, squares[1] * size
    layer, *_ = bound(make_backend("numpy"), pool(shape, size), np.random.default_rng(0))
    y = layer.forward(np.full((3, np.prod(shape)), value))
    np.testing.assert_allclose(y, np.full((3, squares[0] * squares[1] * 2), value))
    dx = backward(layer, np.ones_like(y))
    assert dx.sum() == pytest.approx(y.size)  # the gradient is distributed, and none is lost
