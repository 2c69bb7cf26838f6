"""The model file: a pickle of one plain dict that opens anywhere, with this package or without. Writing it is
atomic; reading it executes nothing (see ``pickle_reader``) and checks every field.

The dict: ``format`` "ann-mlp"; ``version`` 1; ``layers``, a list of dicts with ``input_dim``, ``output_dim``,
``activation``, ``weight`` (I, O) and ``bias`` (O,), little-endian float32; ``loss``; ``preprocessing``, a dict
whose ``scale`` times a uint8 pixel is an input; ``seed``; and ``recipe``, a dict of the hyperparameters, or None.

A committee of K, two or more, is version 2, which readers of version 1 refuse: each ``weight`` is (K, I, O) and
``bias`` (K, O).
"""

from __future__ import annotations

import io
import math
import os
import pickle
import sys
from typing import Any

import numpy as np

from ann.activations import ACTIVATIONS, known_activations
from ann.errors import ModelFileError
from ann.files import read_regular
from ann.losses import LOSSES
from ann.pickle_reader import read_pickle, shown

FORMAT, ONE, COMMITTEE = "ann-mlp", 1, 2  # the versions
_MAX_BYTES = 256 * 2**20
_KEYS = {"format", "version", "layers", "loss", "preprocessing", "seed", "recipe"}
_LAYER_KEYS = {"input_dim", "output_dim", "activation", "weight", "bias"}
_SCALE = repr(1.0 / 255.0)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Arrays as (shape, "<f4", bytes): NumPy's own form names modules that differ between its versions."""
        if isinstance(obj, np.ndarray):
            return np.ndarray, (obj.shape, "<f4", obj.astype("<f4").tobytes())
        return NotImplemented


def to_bytes(
    layers: list[dict[str, Any]], loss: str, pixel_scale: float, seed: int, recipe: dict[str, Any] | None
) -> bytes:
    """A model file's bytes, which are known to be readable. Each layer has the keys above, with float arrays.

    Raises:
        ValueError: the model could not be read back, since it is too large, not finite, or has a recipe of values
            that are not plain.
    """
    contents = {
        "format": FORMAT,
        "version": COMMITTEE if layers[0]["weight"].ndim == 3 else ONE,
        "layers": layers,
        "loss": loss,
        "preprocessing": {"scale": pixel_scale},
        "seed": seed,
        "recipe": recipe,
    }
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, protocol=4).dump(_with_equal_strings_one(contents))
    except Exception as error:  # whatever a value in the recipe raises when it is pickled
        raise ValueError(f"this model cannot be saved: {type(error).__name__}: {error}") from None
    data = buffer.getvalue()
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it has {len(data)} bytes, and at most {_MAX_BYTES} are read")
        _check(read_pickle(data))
    except ValueError as error:
        raise ValueError(f"this model cannot be saved: {error}") from None
    return data


def read_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked contents of a model file.

    Raises:
        ModelFileError: it is missing, unreadable, or not what the top of this module describes.
    """
    try:
        data = read_regular(path, _MAX_BYTES)
    except IsADirectoryError:
        raise ModelFileError(f"{path}: this is a folder; the model of a run is model.pickle in it") from None
    except FileNotFoundError:
        raise ModelFileError(
            f"{path}: no such model file; scripts/train.py makes one, in the folder where it is run"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelFileError(f"{path}: cannot be read: {reason}") from None
    try:
        contents: dict[str, Any] = read_pickle(data)
        _check(contents)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ModelFileError(f"{path}: not a model file of this program: {error}") from None
    return contents


def parameter_vector(contents: dict[str, Any]) -> tuple[int, np.ndarray]:
    """How many members there are, and layer by layer the weights and then the biases, as the network keeps them."""
    leading = contents["layers"][0]["bias"].shape[:-1]
    arrays = [layer[key] for layer in contents["layers"] for key in ("weight", "bias")]
    return math.prod(leading), np.concatenate([array.reshape(*leading, -1) for array in arrays], axis=-1)


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


def _check(contents: Any) -> None:
    """Raise ValueError unless every field is there and of its type, and all numbers are finite."""
    known = type(contents) is dict and type(contents.get("format")) is str and contents["format"] == FORMAT
    _expect(known, f"its format is not {FORMAT!r}")
    version = contents.get("version")
    _expect(type(version) is int and version >= 1, f"its version is {shown(version)}")
    last = COMMITTEE
    _expect(version <= last, f"format version {version} is later than {last}, the last one known here; update ann")
    _expect(set(contents) == _KEYS, f"its fields are not {', '.join(sorted(_KEYS))}")
    loss = contents["loss"]
    _expect(type(loss) is str and loss in LOSSES, f"unknown loss {shown(loss)}; known: {', '.join(LOSSES)}")
    _expect(type(contents["seed"]) is int and contents["seed"] >= 0, "seed is not a whole number of at least 0")
    preprocessing = contents["preprocessing"]
    _expect(
        type(preprocessing) is dict and list(preprocessing) == ["scale"] and shown(preprocessing["scale"]) == _SCALE,
        "preprocessing is not a scale of 1/255",
    )
    recipe = contents["recipe"]
    _expect(recipe is None or (type(recipe) is dict and _is_plain(recipe)), "recipe is not a dict of plain values")
    _expect(type(contents["layers"]) is list, "layers is not a list")
    members: set[tuple[int, ...]] = set()
    for number, layer in enumerate(contents["layers"], start=1):
        _check_layer(f"layer {number}", layer, version, members)


def _check_layer(place: str, layer: Any, version: int, members: set[tuple[int, ...]]) -> None:
    """``members``: what the layers before have of members, to which this one's are added."""
    _expect(type(layer) is dict and set(layer) == _LAYER_KEYS, f"{place}: expected {', '.join(sorted(_LAYER_KEYS))}")
    name = layer["activation"]
    known = type(name) is str and name in ACTIVATIONS
    _expect(known, f"{place}: unknown activation {shown(name)}; known: {known_activations()}")
    sizes = (layer["input_dim"], layer["output_dim"])
    _expect(all(type(size) is int for size in sizes), f"{place}: input_dim or output_dim is not a whole number")
    for key, shape in (("weight", sizes), ("bias", sizes[1:])):
        array = layer[key]
        _expect(isinstance(array, np.ndarray), f"{place}: {key} is not an array")
        leading = array.shape[: version - ONE]  # (K,) for a committee
        expected = ", ".join(map(str, (*["K"] * (version - ONE), *shape)))
        right = array.shape == (*leading, *shape)
        _expect(right, f"{place}: {key} has shape {array.shape}, expected ({expected})")
        members.add(leading)
        _expect(len(members) == 1, f"{place}: {key} has another number of members, {leading}, than what is before it")
        _expect(leading == () or leading[0] > 1, f"{place}: {key} has one member; a committee has two or more")
        _expect(bool(np.isfinite(array).all()), f"{place}: {key} holds numbers that are not finite")


def _is_plain(value: Any) -> bool:
    """No arrays, at any of the few levels that the reader allows."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return not isinstance(value, np.ndarray)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
