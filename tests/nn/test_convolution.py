import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ann
from ann.nn.convolution import Conv2D
from ann.nn.initializers import he
from ann.nn.layers import Dense
from support import optional
from support.backends import assert_device_array, make_backend
from support.layers import assert_layer_gradients, backward, bound
from support.pictures import CONV_LIST

SHAPE = 2, 6, 5  # channels, height, width
# (kernel, stride, padding) -> the shape of the outputs for three filters
CASES = {
    (1, 1, "valid"): (3, 6, 5),
    (3, 1, "valid"): (3, 4, 3),
    (3, 2, "valid"): (3, 2, 2),
    (5, 1, "valid"): (3, 2, 1),
    (3, 1, "same"): (3, 6, 5),
    (4, 1, "same"): (3, 6, 5),
    (3, 2, "same"): (3, 3, 3),
    (2, 3, "same"): (3, 2, 2),
}
cases = pytest.mark.parametrize(("kernel", "stride", "padding"), CASES)


def convolution(kernel=3, stride=1, padding="valid", **options):
    return Conv2D(SHAPE, 3, kernel, he, stride=stride, padding=padding, **options)


def zeros_around(layer):
    """The rows of zeros above and below a picture, and the columns left and right of it."""
    if layer.padding == "valid":
        return [(0, 0), (0, 0)]
    counts = [
        max(0, (n - 1) * layer.stride + layer.kernel - side)
        for n, side in zip(layer.output_shape[1:], SHAPE[1:], strict=True)
    ]
    return [(n // 2, n - n // 2) for n in counts]


def by_hand(x, weight, bias, layer):
    """The definition of the convolution of rows x, pixel by pixel."""
    kernel, stride, (filters, rows, columns) = layer.kernel, layer.stride, layer.output_shape
    pictures = np.pad(x.reshape(len(x), *SHAPE), [(0, 0), (0, 0), *zeros_around(layer)])
    y = np.empty((len(x), filters, rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            window = pictures[:, :, top : top + kernel, left : left + kernel]
            y[:, :, i, j] = window.reshape(len(x), -1) @ weight + bias
    return y.reshape(len(x), -1)


@cases
def test_it_is_the_definition(backend, kernel, stride, padding, rng):
    layer, values, _ = bound(backend, convolution(kernel, stride, padding), rng)
    assert layer.output_shape == CASES[kernel, stride, padding]
    x = rng.standard_normal((4, 60))
    weight, bias = (backend.to_host(values[name]) for name in ("weight", "bias"))
    found = backend.to_host(layer.forward(backend.from_host(x)))
    np.testing.assert_allclose(found, by_hand(x, weight, bias, layer), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("recorded", [False, True])
@cases
def test_it_is_what_pytorch_computes(backend, recorded, kernel, stride, padding, rng):
    torch = optional("torch")
    backend = backend.recorder() if recorded else backend
    layer, values, gradients = bound(backend, convolution(kernel, stride, padding), rng)
    x = rng.standard_normal((4, 60))
    tensors = [
        x.reshape(4, *SHAPE),
        backend.to_host(values["weight"]).T.reshape(3, SHAPE[0], kernel, kernel).copy(),
        backend.to_host(values["bias"])[0].copy(),
    ]
    theirs = [torch.tensor(array, requires_grad=True) for array in tensors]
    above_below, left_right = zeros_around(layer)
    padded = torch.nn.functional.pad(theirs[0], (*left_right, *above_below))
    expected = torch.nn.functional.conv2d(padded, *theirs[1:], stride=stride)
    y = backend.to_host(layer.forward(backend.from_host(x)))
    np.testing.assert_allclose(y, expected.detach().numpy().reshape(4, -1), rtol=1e-6, atol=1e-9)
    grad = rng.standard_normal(y.shape)
    expected.backward(torch.tensor(grad.reshape(4, *layer.output_shape)))
    dx = backend.to_host(backward(layer, backend.from_host(grad)))
    dweight = theirs[1].grad.numpy().reshape(3, -1).T
    for found, wanted in (
        (dx, theirs[0].grad.numpy().reshape(4, -1)),
        (backend.to_host(gradients["weight"]), dweight),
        (backend.to_host(gradients["bias"])[0], theirs[2].grad.numpy()),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@cases
def test_gradients_of_inputs_and_parameters(backend, kernel, stride, padding, bias, rng):
    layer, values, gradients = bound(backend, convolution(kernel, stride, padding, bias=bias), rng)
    assert set(values) == ({"weight", "bias"} if bias else {"weight"})
    x, weights = rng.standard_normal((3, 60)), rng.standard_normal((3, np.prod(layer.output_shape)))
    assert_layer_gradients(backend, layer, values, gradients, x, weights, rng)


@pytest.mark.parametrize("accumulate", [0.0, 0.5])
def test_gradients_are_added_to_the_last_ones(backend, accumulate, rng):
    layer, _, gradients = bound(backend, convolution(), rng)
    before = {name: backend.to_host(array).copy() for name, array in gradients.items()}
    x = backend.from_host(rng.standard_normal((4, 60)))
    results = []
    for _ in range(2):
        layer.forward(x)
        layer.compute_gradients(backend.from_host(np.ones((4, 36))), accumulate)
        results.append({name: backend.to_host(array).copy() for name, array in gradients.items()})
    for name, first in results[0].items():
        expected = first + accumulate * (first - before[name])
        np.testing.assert_allclose(results[1][name], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_leading_axis_is_as_many_layers_side_by_side(backend, recorded, shared, padding, rng):
    backend = backend.recorder() if recorded else backend
    x = rng.standard_normal((2, 4, 60)).astype(np.float32)
    weight = rng.standard_normal((2, 18, 3)).astype(np.float32)
    bias = rng.standard_normal((2, 1, 3)).astype(np.float32)
    results = []
    for index in (slice(None), 0, 1):
        layer = convolution(padding=padding)
        values = {
            "weight": backend.from_host(weight[index].copy()),
            "bias": backend.from_host(bias[index].copy()),
        }
        gradients = {name: backend.xp.zeros_like(array) for name, array in values.items()}
        layer.bind(backend, values, gradients)
        inputs = x[0] if shared else x[index]
        y = backend.to_host(layer.forward(backend.from_host(inputs))).copy()
        dx = backward(layer, backend.from_host(np.cos(y)))
        assert_device_array(backend, dx, (*y.shape[:-2], 4, 60))
        results.append([y, backend.to_host(dx).copy(), *map(backend.to_host, gradients.values())])
    for together, first, second in zip(*results, strict=True):
        np.testing.assert_allclose(together, np.stack([first, second]), rtol=1e-4, atol=1e-5)


def test_batch_sizes_may_change(backend, rng):
    layer, values, gradients = bound(backend, convolution(padding="same"), rng, "float32")
    x = rng.standard_normal((5, 60)).astype(np.float32)
    for size in (3, 5, 1):
        inputs = backend.from_host(x[:size])
        assert_device_array(backend, layer.forward(inputs), (size, 90))
        dx = backward(layer, backend.from_host(np.ones((size, 90), dtype=np.float32)))
        assert_device_array(backend, dx, (size, 60))
        np.testing.assert_array_equal(backend.to_host(inputs), x[:size])
        fresh, own = (
            convolution(padding="same"),
            {name: backend.xp.zeros_like(array) for name, array in gradients.items()},
        )
        fresh.bind(backend, values, own)
        fresh.forward(inputs)
        backward(fresh, backend.from_host(np.ones((size, 90), dtype=np.float32)))
        for name, array in gradients.items():
            np.testing.assert_array_equal(backend.to_host(array), backend.to_host(own[name]))


def test_weight_decay_and_initial_values():
    seen = []
    layer = Conv2D((40, 9, 9), 30, 5, lambda *sizes: seen.append(sizes) or 0.5)
    assert {p.name: (p.shape, p.decays) for p in layer.parameters} == {
        "weight": ((1000, 30), True),
        "bias": ((1, 30), False),
    }
    found = layer.initial_values(np.random.default_rng(0))
    assert seen == [(25 * 40, 25 * 30)]
    assert set(found) == {"weight"}
    assert found["weight"].std() == pytest.approx(0.5, rel=0.05)


@given(
    sides=st.tuples(*[st.integers(1, 6)] * 2),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=30)
def test_a_window_of_one_pixel_is_a_dense_layer_at_each_pixel(sides, channels, filters, seed):
    backend, rng = make_backend("numpy"), np.random.default_rng(seed)
    layer, values, gradients = bound(backend, Conv2D((channels, *sides), filters, 1, he), rng)
    dense, own = Dense(channels, filters, he), {k: v.copy() for k, v in gradients.items()}
    dense.bind(backend, values, own)

    def pixels(rows):  # (4, C H W) -> one row of C numbers per pixel
        return np.concatenate(rows.reshape(4, -1, sides[0] * sides[1]).swapaxes(1, 2))

    x = rng.standard_normal((4, channels * sides[0] * sides[1]))
    y = layer.forward(x)
    np.testing.assert_allclose(pixels(y), dense.forward(pixels(x)), atol=1e-12)
    grad = rng.standard_normal(y.shape)
    dx = backward(layer, grad.copy())
    np.testing.assert_allclose(pixels(dx), backward(dense, pixels(grad)), atol=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, own[name], atol=1e-12)


@given(
    kernel=st.integers(1, 4),
    down=st.integers(0, 3),
    right=st.integers(0, 3),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=30)
def test_a_shifted_picture_has_shifted_outputs(kernel, down, right, seed):
    backend, rng = make_backend("numpy"), np.random.default_rng(seed)
    layer, *_ = bound(backend, Conv2D((2, 7, 7), 3, kernel, he), rng)
    large = rng.standard_normal((2, 2, 10, 10))
    whole, *_ = bound(backend, Conv2D((2, 10, 10), 3, kernel, he), rng)
    whole.weight, whole.bias = layer.weight, layer.bias
    part = large[:, :, down : down + 7, right : right + 7]
    side = 8 - kernel
    found = layer.forward(part.reshape(2, -1)).reshape(2, 3, side, side)
    everything = whole.forward(large.reshape(2, -1)).reshape(2, 3, side + 3, side + 3)
    expected = everything[:, :, down : down + side, right : right + side]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_backends_agree(backend, rng):
    nets = [ann.NeuralNetwork(CONV_LIST, device=device) for device in ("cpu", backend)]
    images = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 10, 20)
    for _ in range(12):
        losses = [net.train_batch(images, labels, 0.1) for net in nets]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    np.testing.assert_allclose(*(net.apply(images) for net in nets), rtol=1e-3, atol=2e-5)


def test_a_network_with_convolution(rng):
    net = ann.NeuralNetwork(CONV_LIST)
    assert repr(net) == (
        "<NeuralNetwork 8x8 -> conv4x3 relu -> pool2 -> 6 relu -> 10 softmax, cross-entropy, "
        "on cpu>"
    )
    images = rng.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    labels = np.arange(30) % 10
    first = net.evaluate(images, labels)
    for _ in range(300):
        net.train_batch(images, labels, 0.1)
    last = net.evaluate(images, labels)
    assert last.loss < 0.8 * first.loss and last.errors < first.errors
    np.testing.assert_array_equal(net.predict(images), net.apply(images).argmax(axis=1))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin.apply(images), net.apply(images))
    many = rng.random((400, 64), dtype=np.float32)
    np.testing.assert_allclose(net.apply(many)[390:], net.apply(many[390:]), rtol=1e-4, atol=1e-6)


def test_members_of_a_committee_are_the_networks_of_their_seeds(backend, rng):
    images = rng.random((12, 64), dtype=np.float32)
    labels = rng.integers(0, 10, 12)
    both = ann.NeuralNetwork(CONV_LIST, device=backend, committee=2)
    both.train_batch(images, labels, 0.1)
    for seed in (0, 1):
        one = ann.NeuralNetwork(CONV_LIST, device=backend, seed=seed)
        one.train_batch(images, labels, 0.1)
        np.testing.assert_allclose(
            one.apply(images), both.member(seed).apply(images), rtol=1e-4, atol=1e-6
        )
