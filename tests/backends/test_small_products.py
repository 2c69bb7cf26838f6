"""The recorder's convolution, in parts that fit the cache, against the definition in ``Backend``."""

import numpy as np
import pytest

import ann.backends.bands
from ann.backends.base import Backend
from ann.backends.recorder import CpuRecorder


@pytest.mark.parametrize("shared", [ann.backends.bands.SHARED, 0])
@pytest.mark.parametrize("leading", [(), (2,)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_is_the_definition(dtype, channels, stride, leading, shared, rng, monkeypatch):
    monkeypatch.setattr(ann.backends.bands, "SHARED", shared)

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
