"""The recorder processes pictures in bands; compared with the definitions in ``Backend``."""

import numpy as np
import pytest

import ann
import ann.backends.bands
import ann.backends.blas
from ann.backends.base import Backend
from ann.backends.recorder import CpuRecorder


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("shared", [ann.backends.bands.SHARED, 0])
@pytest.mark.parametrize("leading", [(), (2,)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_is_the_definition(
    dtype, channels, stride, leading, shared, direct, rng, monkeypatch
):
    monkeypatch.setattr(ann.backends.bands, "SHARED", shared)
    if not direct:  # as if NumPy's BLAS could not be called directly
        monkeypatch.setattr(ann.backends.blas, "_library", dict)

    def random(*shape):
        return rng.standard_normal(shape).astype(dtype)

    side = 1 + 4 * stride
    pictures = random(channels, 2 + side, 3 + side, 7)  # the members of a committee share them
    weight = random(*leading, channels, 3, 3, 5)
    dy = random(*leading, 5, (side - 1) // stride + 1, side // stride + 1, 7)
    before = random(*weight.shape)

    def results(backend):
        y, dw, dx = np.empty_like(dy), before.copy(), random(*leading, *pictures.shape)

        def step():
            dw[...] = before
            backend.convolve(pictures, weight, stride, out=y)
            backend.convolution_weights(pictures, dy, stride, out=dw, beta=0.5)
            backend.convolution_inputs(weight, dy, stride, out=dx)

        replay = backend.compile(step)
        y[...] = dx[...] = np.nan
        dw[...] = before
        replay()
        return y, dw, dx

    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for result, expected in zip(results(CpuRecorder("")), results(Backend("cpu", np)), strict=True):
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("committee", [1, 2])
@pytest.mark.parametrize("cache", [ann.backends.bands._CACHE, 1])
def test_passes_in_bands_compute_the_same_gradients(cache, committee, rng, monkeypatch):
    monkeypatch.setattr(ann.backends.bands, "SHARED", 0)
    monkeypatch.setattr(ann.backends.bands, "_CACHE", cache)
    layers = [
        {"type": "conv2d", "filters": 3, "kernel": 3, "activation": "relu", "padding": "same"},
        {"type": "max_pool2d", "size": 2},
        {"type": "conv2d", "filters": 9, "kernel": 3, "activation": "tanh"},
        {"type": "conv2d", "filters": 4, "kernel": 3, "activation": "gelu"},
        {"type": "average_pool2d", "size": 2},
        {"output_dim": 3, "activation": "softmax"},
    ]
    layers[0]["input_shape"] = [16, 12]
    network = ann.NeuralNetwork(layers, dtype="float64", committee=committee).network
    x, targets = rng.random((5, 192)), np.eye(3)[[0, 1, 2, 0, 1]]
    targets = np.broadcast_to(targets, (*network.leading, 5, 3))
    network.compute_gradients(x, targets)
    expected = network.gradients.copy()
    recorder = CpuRecorder("")
    recorded = network.with_own_arrays(recorder)
    replay = recorder.compile(lambda: recorded.backpropagate(x, targets))
    network.gradients[...] = np.nan
    replay()
    np.testing.assert_allclose(network.gradients, expected, rtol=1e-12, atol=1e-14)
