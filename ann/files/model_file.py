"""The model file: a pickle of one plain dict that opens anywhere, with this package or without. Writing it is
atomic; reading it executes nothing (see ``pickle.reader``) and checks every field.

The dict: ``format`` "ann-mlp"; ``version`` 3; ``layers``, a list of dicts with ``input_dim``, ``output_dim``,
``activation``, ``weight`` (I, O) and ``bias`` (O,), little-endian float32; ``loss``; ``preprocessing``, a dict
whose ``scale`` times a uint8 pixel is an input; ``seed``; ``recipe``, a dict of the hyperparameters, or None;
``examples``, a dict of uint8 ``images`` (M, I) and the ``outputs`` (M, O) for them, or None; and ``sha256``, see
``model_schema.checksum``. In a committee of K, two or more, each ``weight`` is (K, I, O) and ``bias`` (K, O).

Read but not written any more: version 1, of one network, and version 2, of a committee, which have neither examples nor
a checksum. Read too: what ``safetensors`` writes. What is checked stands in ``model_schema``.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import sys
from typing import Any

import numpy as np

from ann.errors import ModelFileError, printable_path
from ann.files.atomic import read_regular
from ann.files.model_schema import FORMAT, LAST, ModelContentsError, check_contents, checksum
from ann.files.pickle.reader import read_pickle
from ann.files.pickle.values import check_depth, is_plain
from ann.files.safetensors import from_safetensors
from ann.files.self_test import passes_self_test

_MAX_BYTES = 256 * 2**20


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Arrays as (shape, "<f4", bytes): NumPy's own form names modules that differ between its versions."""
        if isinstance(obj, np.ndarray):
            return np.ndarray, (obj.shape, obj.dtype.str, obj.tobytes())
        return NotImplemented


def to_bytes(
    layers: list[dict[str, Any]],
    loss: str,
    pixel_scale: float,
    seed: int,
    recipe: dict[str, Any] | None,
    examples: dict[str, Any] | None,
) -> bytes:
    """A model file's bytes, which are known to be readable. Each layer has the keys above, with float arrays.
    Examples that would not hold where they are read are left out.

    Raises:
        ValueError: the model could not be read back, since it is too large, not finite, or has a recipe of values
            that are not plain.
    """
    layers = [{**layer, **{key: float32(layer[key]) for key in ("weight", "bias")}} for layer in layers]
    contents = {
        "format": FORMAT,
        "version": LAST,
        "layers": layers,
        "loss": loss,
        "preprocessing": {"scale": pixel_scale},
        "seed": seed,
        "recipe": recipe,
        "examples": examples,
    }
    buffer = io.BytesIO()
    try:
        check_depth(recipe)
        if not is_plain(recipe):
            raise ValueError(
                "its recipe holds an array, an int beyond 8 bytes, or a string beyond 64 KB or not Unicode"
            )
        contents["sha256"] = checksum(contents)
        _Pickler(buffer, protocol=4).dump(_with_equal_strings_one(contents))
    except ValueError as error:
        raise ValueError(f"this model cannot be saved: {error}") from None
    except Exception as error:  # whatever a value in the recipe raises when it is pickled
        raise ValueError(f"this model cannot be saved: {type(error).__name__}: {error}") from None
    data = buffer.getvalue()
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it has {len(data)} bytes, and at most {_MAX_BYTES} are read")
        found = read_pickle(data)
        check_contents(found)
    except ValueError as error:
        raise ValueError(f"this model cannot be saved: {error}") from None
    if examples and not passes_self_test(found):  # outputs that depend on the order of a sum: weights that cancel
        return to_bytes(layers, loss, pixel_scale, seed, recipe, None)
    return data


def read_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked contents of a model file.

    Raises:
        ModelFileError: it is missing, unreadable, or not what the top of this module describes.
    """
    place, path = path, printable_path(path)
    try:
        data = read_regular(place, _MAX_BYTES)
    except IsADirectoryError:
        raise ModelFileError(f"{path}: this is a folder; the model of a run is model.pickle in it") from None
    except FileNotFoundError:
        raise ModelFileError(
            f"{path}: no such model file; scripts/train.py makes one, in the folder where it is run"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelFileError(f"{path}: cannot be read: {reason}") from None
    if data[:2] == b"PK":
        raise ModelFileError(
            f"{path}: a zip file, such as a checkpoint, or what export.py writes as .npz; models are read from .pickle "
            "and .safetensors, and that of a run is model.pickle in its folder"
        )
    try:
        if data[8:9] == b"{":
            return from_safetensors(data)
        contents: dict[str, Any] = read_pickle(data)
        check_contents(contents)
    except ModelContentsError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "there is not enough memory for it"
        raise ModelFileError(f"{path}: not a model file of this program: {reason}") from None
    return contents


def float32(array: np.ndarray) -> np.ndarray:
    """An array of numbers as a file holds them; what is too large becomes infinite, and is refused for that."""
    with np.errstate(all="ignore"):
        return array.astype("<f4")


def _with_equal_strings_one(value: Any) -> Any:
    """A copy in which equal strings are one object, and no tuple stands twice.

    A pickle refers back to an object that it has seen, so its bytes depend on which equal strings are the same
    object, and that differs between a default and a flag of the same value.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(key): _with_equal_strings_one(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_equal_strings_one, value))
    return value


def parameter_vector(contents: dict[str, Any]) -> tuple[int, np.ndarray]:
    """How many members there are, and their parameters in the order of ``NeuralNetwork.parameters``."""
    leading = contents["layers"][0]["bias"].shape[:-1]
    arrays = [layer[key] for key in ("weight", "bias") for layer in contents["layers"]]
    rows = [array.reshape(*leading, -1) for array in arrays]
    with np.errstate(all="ignore"):
        return math.prod(leading), np.concatenate(rows, axis=-1, dtype=np.float32, casting="same_kind")
