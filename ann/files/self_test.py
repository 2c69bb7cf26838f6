"""The examples in a model file: a few images, and the outputs that the network gave for them where it was saved.
Whoever loads the file tries them, so a model that loads is a model that works.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ann.backends.select import get_backend
from ann.nn.activations import get_activation
from ann.nn.losses import get_loss

TOLERANCE = 0.01  # how far outputs for the examples may be off, in units of the largest output, or of 1 if that is more
_PIECE = 2**20  # weights that are multiplied at a time


def outputs_of(apply: Callable[[Any], np.ndarray], images: np.ndarray) -> np.ndarray:
    """What a network makes of examples. Its weights may be a stranger's, whose overflows nobody is to be warned of.

    Raises:
        MemoryError: there is not enough for it. Whatever else goes wrong makes outputs that are no numbers.
    """
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
    refused at little cost. How many examples a file may have, ``model_schema`` has seen to.

    Raises:
        MemoryError: there is not even so much.
    """
    examples = contents["examples"]
    found = outputs_of(lambda images: _outputs(contents, images), examples["images"])
    return agree(examples["outputs"], found, TOLERANCE)


def _outputs(contents: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Images (N, I) -> outputs (N, O), y = f(x W + b) layer by layer, of a committee their mean."""
    backend, last = get_backend("cpu"), contents["layers"][-1]
    x = images.astype(np.float32) * np.float32(contents["preprocessing"]["scale"])
    for layer in contents["layers"]:
        weight, bias = layer["weight"], layer["bias"]
        z = np.repeat(bias[..., np.newaxis, :].astype(np.float32), len(images), axis=-2)
        for rows, columns in _pieces(weight):
            piece = np.ascontiguousarray(weight[..., rows, columns], dtype=np.float32)
            backend.matmul(x[..., rows], piece, out=z[..., columns], beta=1.0)
        name = layer["activation"]
        activation = get_loss(contents["loss"], name).output if layer is last else get_activation(name)
        activation.forward(backend, z, out=z)
        x = z
    return np.asarray(x.mean(axis=0)) if bias.ndim == 2 else x


def _pieces(weight: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of a weight (..., I, O), some at a time, as they lie in memory."""
    by_columns = weight.strides[-2] < weight.strides[-1]
    count = weight.shape[-1 if by_columns else -2]
    step = max(1, _PIECE * count // weight.size)
    for start in range(0, count, step):
        part = slice(start, start + step)
        yield (slice(None), part) if by_columns else (part, slice(None))
