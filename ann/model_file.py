"""The model file: a pickle of one plain dict that opens anywhere, with this package or without. Writing it is
atomic; reading it executes nothing (see ``pickle_reader``) and checks every field.

The dict: ``format`` "ann-mlp"; ``version`` 1; ``layers``, a list of dicts with ``input_dim``, ``output_dim``,
``activation``, ``weight`` (I, O) and ``bias`` (O,), little-endian float32; ``loss``; ``preprocessing``, a dict
whose ``scale`` times a uint8 pixel is an input; ``seed``; and ``recipe``, a dict of the hyperparameters, or None.
"""

from __future__ import annotations

import io
import os
import pickle
import stat
import sys
from typing import Any

import numpy as np

from ann.errors import ModelFileError
from ann.files import write_atomically
from ann.pickle_reader import read_pickle

FORMAT, VERSION = "ann-mlp", 1
_MAX_BYTES = 256 * 2**20
_KEYS = {"format", "version", "layers", "loss", "preprocessing", "seed", "recipe"}
_LAYER_KEYS = {"input_dim", "output_dim", "activation", "weight", "bias"}


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Arrays as (shape, "<f4", bytes): NumPy's own form names modules that differ between its versions."""
        if isinstance(obj, np.ndarray):
            return np.ndarray, (obj.shape, "<f4", obj.astype("<f4").tobytes())
        return NotImplemented


def write_model(
    path: str | os.PathLike[str],
    layers: list[dict[str, Any]],
    loss: str,
    pixel_scale: float,
    seed: int,
    recipe: dict[str, Any] | None,
) -> None:
    """Write a model file. Each layer has the keys above, with host arrays of any float type.

    Raises:
        OSError: it cannot be written; an old file is as it was.
    """
    contents = {
        "format": FORMAT,
        "version": VERSION,
        "layers": [{**layer, "bias": layer["bias"].reshape(-1)} for layer in layers],
        "loss": loss,
        "preprocessing": {"scale": pixel_scale},
        "seed": seed,
        "recipe": recipe,
    }
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(_with_equal_strings_one(contents))
    write_atomically(path, buffer.getvalue())


def read_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked contents of a model file.

    Raises:
        ModelFileError: it is missing, unreadable, or not what the top of this module describes.
    """
    data = _read_bytes(path)
    try:
        contents: dict[str, Any] = read_pickle(data)
        _check(contents)
    except ValueError as error:
        raise ModelFileError(f"{path}: not a model file of this program: {error}") from None
    return contents


def _with_equal_strings_one(value: Any) -> Any:
    """A copy in which equal strings are one object.

    A pickle refers back to an object that it has seen, so its bytes depend on which equal strings are the same
    object, and that differs between a default and a flag of the same value.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(key): _with_equal_strings_one(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_equal_strings_one(item) for item in value]
    return value


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError(f"{path}: not a regular file")
            if status.st_size > _MAX_BYTES:
                raise ModelFileError(f"{path}: {status.st_size} bytes; a model file has at most {_MAX_BYTES}")
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such model file; scripts/train.py makes one") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelFileError(f"{path}: cannot be read: {reason}") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a named pipe would wait for a writer


def _check(contents: Any) -> None:
    """Raise ValueError unless every field is there and of its type, and all numbers are finite."""
    _expect(type(contents) is dict and contents.get("format") == FORMAT, f"its format is not {FORMAT!r}")
    version = contents.get("version")
    _expect(type(version) is int and version >= 1, f"its version is {version!r}")
    _expect(
        version <= VERSION, f"format version {version} is later than {VERSION}, the last one known here; update ann"
    )
    _expect(set(contents) == _KEYS, f"its fields are {', '.join(contents)}; expected {', '.join(sorted(_KEYS))}")
    _expect(type(contents["loss"]) is str, "loss is not a name")
    _expect(type(contents["seed"]) is int and contents["seed"] >= 0, "seed is not a whole number of at least 0")
    _expect(contents["preprocessing"] == {"scale": 1.0 / 255.0}, "preprocessing is not a scale of 1/255")
    _expect(contents["recipe"] is None or type(contents["recipe"]) is dict, "recipe is not a dict")
    _expect(type(contents["layers"]) is list, "layers is not a list")
    for number, layer in enumerate(contents["layers"], start=1):
        _check_layer(f"layer {number}", layer)


def _check_layer(place: str, layer: Any) -> None:
    _expect(type(layer) is dict and set(layer) == _LAYER_KEYS, f"{place}: expected {', '.join(sorted(_LAYER_KEYS))}")
    sizes = (layer["input_dim"], layer["output_dim"])
    for key, shape in (("weight", sizes), ("bias", sizes[1:])):
        array = layer[key]
        _expect(isinstance(array, np.ndarray), f"{place}: {key} is not an array")
        _expect(array.shape == shape, f"{place}: {key} has shape {array.shape}, expected {shape}")
        _expect(bool(np.isfinite(array).all()), f"{place}: {key} holds numbers that are not finite")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
