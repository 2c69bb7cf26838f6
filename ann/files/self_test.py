"""The self-test in a model file: a few images and the network's outputs for them. Loading the file
computes the outputs again, so a model that loads is a model that works on this machine.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ann.backends.select import get_backend
from ann.nn.activations import get_activation
from ann.nn.convolution import Conv2D, as_pictures
from ann.nn.layer_list import build_layers, without_activations, without_arrays
from ann.nn.pooling import Pool2D

_TOLERANCE = 0.01  # largest error of an output, relative to the largest output or 1
_NUDGE = 1.0 - 2.0**-18  # changes inputs about as much as rounding on another machine changes sums
_STEADY = 1e-3  # largest change of an output, in the same units, when inputs are nudged
_PIECE = 2**20  # weights, or inputs, that are multiplied at a time


def record_self_test(contents: dict[str, Any], images: np.ndarray) -> dict[str, Any] | None:
    """The self-test of a model file's contents on images (M, I), uint8.

    None without images, or if the outputs depend on rounding, and so on the machine.
    """
    if len(images) == 0:
        return None
    apply = partial(_outputs, contents)
    test = {"images": images, "outputs": _safe(apply, images)}
    nudged = _safe(apply, images * np.float32(_NUDGE))
    return test if _match(test["outputs"], nudged, _STEADY) else None


def passes_self_test(
    contents: dict[str, Any], apply: Callable[[Any], np.ndarray] | None = None
) -> bool:
    """Whether the checked contents of a model file give the outputs of their self-test, if any.

    Args:
        contents: their own arrays are multiplied, on the CPU and a few megabytes at a time, so that
            rejecting a stranger's file costs little. ``model_schema`` limits the number of images.
        apply: computes the outputs (N, O) for images (N, I) instead: a network of these contents.

    Raises:
        MemoryError: there is not enough memory even for that.
    """
    test = contents["examples"]
    if test is None:
        return True
    found = _safe(apply or partial(_outputs, contents), test["images"])
    return _match(test["outputs"], found, _TOLERANCE)


def _safe(apply: Callable[[Any], np.ndarray], images: np.ndarray) -> np.ndarray:
    """``apply(images)``; the weights may be a stranger's, so overflow causes no warnings.

    Any exception but MemoryError, such as one in a user's activation, gives outputs of NaN.
    """
    with np.errstate(all="ignore"):
        try:
            return apply(images)
        except MemoryError:
            raise
        except Exception:
            return np.full(1, np.nan)


def _match(expected: np.ndarray, found: np.ndarray, tolerance: float) -> bool:
    """Whether outputs are equal up to the rounding of different machines. NaN never matches."""
    scale = max(1.0, float(expected.max()), -float(expected.min()))
    with np.errstate(all="ignore"):
        return bool(np.abs(found - expected).max() <= tolerance * scale)


def _outputs(contents: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Images (N, I) -> outputs (N, O): y = f(x W + b) layer by layer, then the committee's mean."""
    backend = get_backend("cpu")
    x = images.astype(np.float32) * np.float32(contents["preprocessing"]["scale"])
    specs = [without_arrays(layer) for layer in contents["layers"]]
    layers = without_activations(build_layers(specs))  # they have shapes, but no parameters
    for layer, built in zip(contents["layers"], layers, strict=True):
        if isinstance(built, Conv2D):
            x = _convolved(built, layer["weight"], layer["bias"], x)
        elif isinstance(built, Pool2D):
            built.bind(backend, {}, {})
            x = built.forward(x)
        else:
            x = _dense(layer["weight"], layer["bias"], x)
        if "activation" in layer:
            backend.elementwise(get_activation(layer["activation"]).function, x, out=x)
    return np.asarray(x.mean(axis=0)) if x.ndim == 3 else x


def _dense(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _sums(weight, bias, x.shape[-2], lambda part: x[..., part])


def _sums(
    weight: np.ndarray, bias: np.ndarray, count: int, inputs: Callable[[slice], np.ndarray]
) -> np.ndarray:
    """x W + b for x (..., count, I), a few inputs at a time: ``inputs(part)`` is x[..., part]."""
    z = np.repeat(bias[..., np.newaxis, :].astype(np.float32), count, axis=-2)
    numbers = z.size // min(z.shape[-2:])  # of each input: its weights, or its values for all rows
    step = max(1, _PIECE // numbers)
    for start in range(0, weight.shape[-2], step):
        part = slice(start, min(start + step, weight.shape[-2]))
        piece = np.ascontiguousarray(weight[..., part, :], dtype=np.float32)
        get_backend("cpu").matmul(inputs(part), piece, out=z, beta=1.0)
    return z


def _convolved(layer: Conv2D, weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The outputs of a convolution for x (..., N, C H W), a few pixels of all windows at a time."""
    count, stride, sides = x.shape[-2], layer.stride, (layer.kernel, layer.kernel)
    channels = layer.input_shape[0]
    padded = np.zeros((*x.shape[:-2], channels, *layer.padded, count), dtype=np.float32)
    layer.without_padding(padded)[...] = as_pictures(np, x, layer.input_shape)
    windows = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=(-3, -2))
    windows = windows[..., ::stride, ::stride, :, :, :]  # (..., C, rows, columns, N, k, k)
    windows = np.moveaxis(windows, (-2, -1), (-5, -4))  # (..., C, k, k, rows, columns, N)

    def pixels(part: slice) -> np.ndarray:
        numbers = np.arange(part.start, part.stop)
        channel, row, column = np.unravel_index(numbers, (channels, *sides))
        chosen = windows[..., channel, row, column, :, :, :]
        return chosen.reshape(*chosen.shape[:-3], -1).mT

    y = _sums(weight, bias, layer.positions * count, pixels)  # (..., P N, F)
    return y.mT.reshape(*y.shape[:-2], -1, count).mT
