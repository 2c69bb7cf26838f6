"""What a trained network has learnt, in numbers for the figures of the report: calibration, ideal
inputs, robustness to distortions, and nearest images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ann.errors import require
from ann.neural_network import NeuralNetwork, probabilities, slices
from ann.nn.convolution import Conv2D
from ann.nn.layers import ActivationLayer
from ann.nn.network import PIXEL_SCALE
from ann.validation import check_labels

_TINY = 1e-38  # smaller probabilities are raised to this before the logarithm
_ASCENT, _STEP = 150, 0.25  # of an ideal input: the number of steps and their length
_DARK, _FADE = 0.1, 0.01  # its initial pixels, and the fraction by which they fade in a step
_ROWS = 10_000  # images compared at a time


@dataclass(frozen=True, eq=False)
class Calibration:
    """How confident a network is, and how often it is right.

    Attributes:
        confidence: (B,) the mean probability of the predictions in each bin.
        accuracy: (B,) the fraction of them that are right.
        counts: (B,) the number of predictions; empty bins are left out.
        expected_error: the mean of |accuracy - confidence| over predictions.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray
    expected_error: float


def calibration(outputs: np.ndarray, labels: np.ndarray, bins: int = 15) -> Calibration:
    """Compare the probabilities (N, C) of predictions with how often they are right.

    Guo et al. (2017), On calibration of modern neural networks, section 2: bins of equal width,
    equation 3. Raises ValueError if labels do not fit outputs.
    """
    labels = check_labels("labels", labels, outputs.shape[1], len(outputs))
    rows = probabilities(outputs)
    confidence, right = rows.max(axis=1).astype(np.float64), rows.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    sure, correct = (np.bincount(places, each, minlength=bins) for each in (confidence, right))
    some = counts > 0
    error = float(np.abs(sure - correct).sum()) / len(labels)
    return Calibration(sure[some] / counts[some], correct[some] / counts[some], counts[some], error)


def losses(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) -ln of each label's probability. Raises ValueError if labels do not fit outputs."""
    labels = check_labels("labels", labels, outputs.shape[1], len(outputs))
    rows = probabilities(outputs)[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(rows, _TINY)))


def ideal_inputs(network: NeuralNetwork, most: int = 1000) -> np.ndarray:
    """Images (C, I) of floats, 0 to 1, that maximise the output of each class (at most ``most``).

    Gradient ascent from dark grey, with steps of equal length, in which all pixels also fade a
    little: Simonyan et al. (2014), Deep inside convolutional networks, section 2, equation 1. The
    parameters do not change.
    """
    backend, classes = network.backend, min(most, network.output_dim)
    layers = network.network.with_own_arrays()
    targets = backend.from_host(np.eye(classes, network.output_dim, dtype=network.dtype_name))
    images = np.full((classes, network.input_dim), _DARK, dtype=network.dtype_name)
    with backend.ignore_overflow():
        for _ in range(_ASCENT):
            logits = layers.forward(backend.from_host(images))
            grad = backend.xp.empty_like(logits)
            layers.loss.gradient(backend, logits, targets, out=grad)
            slope = backend.to_host(layers.backward(grad, input_gradient=True))
            slope = slope.mean(axis=0) if network.committee > 1 else slope
            norms = np.linalg.norm(slope, axis=1, keepdims=True)
            images = np.clip((1 - _FADE) * images - _STEP * slope / np.maximum(norms, _TINY), 0, 1)
    return images


def first_weights(network: NeuralNetwork, shape: tuple[int, ...]) -> np.ndarray:
    """The weights of the first layer that has any, as pictures (N, height, width).

    There is one for each neuron of a dense layer, or for each channel of each filter of a
    convolution; for a committee, those of the first network. ``shape`` is that of an image.
    """
    for layer in network.network.layers:
        if layer.parameters:
            break
        shape = layer.output_shape[1:]  # of pooling
    if isinstance(layer, Conv2D):
        shape = layer.kernel, layer.kernel
    weight, _ = network.weights_and_biases()[0]
    matrix = weight.reshape(-1, *weight.shape[-2:])[0]
    return np.asarray(matrix.T.reshape(-1, *shape))


def feature_maps(network: NeuralNetwork, image: np.ndarray) -> list[np.ndarray]:
    """What each filter of each convolution sees in an image (I,) of uint8 pixels.

    Returns the outputs (F, H, W) of each convolution after its activation; for a committee, those
    of the first network.
    """
    backend, maps = network.backend, []
    x = backend.from_host((image[np.newaxis, :] * PIXEL_SCALE).astype(network.dtype_name))
    layers = network.network.with_own_arrays().layers
    with backend.ignore_overflow():
        for layer, after in pairwise(layers):
            x = layer.forward(x)
            if isinstance(layer, Conv2D):
                y = after.forward(x) if isinstance(after, ActivationLayer) else x
                maps.append(backend.to_host(y).reshape(-1, *layer.output_shape)[0].copy())
    return maps


def nearest(images: np.ndarray, chosen: Sequence[int] | np.ndarray, count: int = 3) -> np.ndarray:
    """Indices (Q, count) of the images nearest to each chosen one, which is itself left out.

    There are fewer if there are fewer other images.

    ``images`` are (N, I), uint8; ``chosen`` are (Q,) indices of some.
    """
    chosen = np.asarray(chosen, dtype=np.int64)
    queries = images[chosen].astype(np.float32)
    # |a - b|^2 = |a|^2 - 2 a b + |b|^2, where |a|^2 is the same for all b
    distances = np.empty((len(chosen), len(images)), dtype=np.float32)
    for rows in slices(len(images), _ROWS):
        part = images[rows].astype(np.float32)
        distances[:, rows] = (part * part).sum(axis=1) - 2.0 * queries @ part.T
    distances[np.arange(len(chosen)), chosen] = np.inf  # so each chosen image comes last
    return distances.argsort(axis=1, kind="stable")[:, : min(count, len(images) - 1)]


@dataclass(frozen=True)
class Change:
    """A distortion of images.

    Attributes:
        name: with its unit.
        levels: the strengths to try.
        make: images (N, height, width), uint8, and a level -> one or more such arrays.
    """

    name: str
    levels: tuple[float, ...]
    make: Callable[[np.ndarray, float], list[np.ndarray]]


def changes() -> list[Change]:
    """Distortions that occur in practice. Raises ImportError without SciPy."""
    ndimage = require("scipy.ndimage", "report", "the report needs SciPy")

    def rotated(images: np.ndarray, degrees: float) -> list[np.ndarray]:
        return [ndimage.rotate(images, -degrees, axes=(1, 2), reshape=False, order=1)]

    def shifted(images: np.ndarray, pixels: float) -> list[np.ndarray]:
        ways = ((0, pixels), (0, -pixels), (pixels, 0), (-pixels, 0)) if pixels else ((0, 0),)
        return [ndimage.shift(images, (0, *way), order=1) for way in ways]

    def noisy(images: np.ndarray, deviation: float) -> list[np.ndarray]:
        noise = np.random.default_rng(0).standard_normal(images.shape, dtype=np.float32)
        return [np.clip(np.rint(images + 255.0 * deviation * noise), 0, 255).astype(np.uint8)]

    def blurred(images: np.ndarray, deviation: float) -> list[np.ndarray]:
        return [ndimage.gaussian_filter(images, (0, deviation, deviation))]

    def thicker(images: np.ndarray, pixels: float) -> list[np.ndarray]:
        size = 1 + abs(int(pixels))
        filtered = ndimage.grey_dilation if pixels > 0 else ndimage.grey_erosion
        return [filtered(images, size=(1, size, size))]

    return [
        Change("rotation, degrees clockwise", tuple(range(-60, 61, 15)), rotated),
        Change("shift, pixels in any direction", (0, 1, 2, 3, 4, 5, 6), shifted),
        Change("noise, deviation as a share of white", (0, 0.1, 0.2, 0.3, 0.4, 0.5), noisy),
        Change("blur, standard deviation in pixels", (0, 0.5, 1, 1.5, 2, 2.5), blurred),
        Change("stroke thickening, pixels", (-2, -1, 0, 1, 2, 3), thicker),
    ]


def robustness(
    network: NeuralNetwork, images: np.ndarray, labels: np.ndarray, change: Change
) -> list[float]:
    """The error rate at each level of a distortion, on images (N, height, width)."""
    rates = []
    for level in change.levels:
        stacks = change.make(images, level)
        rates.append(float(np.mean([network.predict(stack) != labels for stack in stacks])))
    return rates
