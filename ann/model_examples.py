"""The examples in a model file: a few images, and the outputs that the network gave for them where it was saved.
Whoever loads the file tries them, so a model that loads is a model that works.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ann.activations import get_activation
from ann.backend import get_backend
from ann.losses import get_loss

TOLERANCE = 0.01  # how far outputs for the examples may be off, in units of the largest output, or of 1 if that is more
_PIECE = 2**20  # numbers that an array has at a time, at most


def outputs_of(apply: Callable[[Any], np.ndarray], images: np.ndarray) -> np.ndarray:
    """What a network makes of examples. Its weights may be a stranger's, whose overflows nobody is to be warned of."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return apply(images)
        except MemoryError:
            raise
        except Exception:  # of an activation of a user's own: anything
            return np.full(1, np.nan)


def agree(expected: np.ndarray, found: np.ndarray, tolerance: float) -> bool:
    """Whether outputs are the same, but for what another machine's arithmetic may change."""
    scale = max(1.0, float(expected.max()), -float(expected.min()))
    with np.errstate(all="ignore"):  # of infinite outputs, which never are
        return bool(np.abs(found - expected).max() <= tolerance * scale)


def hold(contents: dict[str, Any]) -> bool:
    """Whether the checked contents of a model file give the outputs that they say, on the CPU.

    No network is built: the file's own arrays are multiplied, a few megabytes at a time, so that a stranger's file is
    refused at little cost.
    """
    examples = contents["examples"]
    layers, images, outputs = contents["layers"], examples["images"], examples["outputs"]
    widest = max(layers[0]["input_dim"], *(layer["output_dim"] for layer in layers))
    scale = float(np.float32(contents["preprocessing"]["scale"]))
    limit = TOLERANCE * max(1.0, float(outputs.max()), -float(outputs.min()))
    for part in _parts(len(images), widest):
        found = outputs_of(lambda images: _mean_outputs(contents, images, scale), images[part])
        with np.errstate(all="ignore"):
            if not np.abs(found - outputs[part]).max() <= limit:
                return False
    return True


def _mean_outputs(contents: dict[str, Any], images: np.ndarray, scale: float) -> np.ndarray:
    """Images (N, I) -> the means (N, O) of what the members make of them."""
    layers = contents["layers"]
    if layers[0]["bias"].ndim == 1:
        return _outputs(contents, (), images, scale)
    members = len(layers[0]["bias"])
    widest = max(layers[0]["input_dim"], *(layer["output_dim"] for layer in layers))
    total = sum(
        _outputs(contents, (part,), images, scale).sum(axis=0) for part in _parts(members, len(images) * widest)
    )
    return np.asarray(total) / members


def _outputs(contents: dict[str, Any], members: tuple[slice, ...], images: np.ndarray, scale: float) -> np.ndarray:
    """Images (N, I) -> outputs (..., N, O) of some members, y = f(x W + b) layer by layer."""
    backend = get_backend("cpu")
    x = images.astype(np.float32) * np.float32(scale)
    output = get_loss(contents["loss"], contents["layers"][-1]["activation"]).output
    for number, layer in enumerate(contents["layers"], start=1):
        weight, bias = layer["weight"][members], layer["bias"][members]
        z = np.repeat(bias[..., np.newaxis, :].astype(np.float32), len(images), axis=-2)
        for rows in _parts(weight.shape[-2], weight[..., 0, :].size):
            z += x[..., rows] @ np.ascontiguousarray(weight[..., rows, :], dtype=np.float32)
        activation = output if number == len(contents["layers"]) else get_activation(layer["activation"])
        activation.function(backend, z, z)
        x = z
    return x


def _parts(count: int, size: int) -> Iterator[slice]:
    """0 .. count in parts of which each, with ``size`` numbers in each of what is counted, has no more than a piece."""
    step = max(1, _PIECE // size)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
