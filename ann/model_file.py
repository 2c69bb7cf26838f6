"""The model file: a pickle of one plain dict that opens anywhere, with this package or without. Writing it is
atomic; reading it executes nothing (see ``pickle_reader``) and checks every field.

The dict: ``format`` "ann-mlp"; ``version`` 3; ``layers``, a list of dicts with ``input_dim``, ``output_dim``,
``activation``, ``weight`` (I, O) and ``bias`` (O,), little-endian float32; ``loss``; ``preprocessing``, a dict
whose ``scale`` times a uint8 pixel is an input; ``seed``; ``recipe``, a dict of the hyperparameters, or None;
``examples``, a dict of uint8 ``images`` (M, I) and the ``outputs`` (M, O) for them, or None; and ``sha256``, see
``checksum``. In a committee of K, two or more, each ``weight`` is (K, I, O) and ``bias`` (K, O).

Read but not written any more: version 1, of one network, and version 2, of a committee, which have neither examples nor
a checksum. Read too: safetensors files that ``exports`` writes.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import json
import math
import os
import pickle
import sys
from typing import Any

import numpy as np

from ann.activations import ACTIVATIONS, known_activations
from ann.errors import ModelFileError
from ann.files import read_regular, shown_path
from ann.layer_list import LAYER_KEYS, check_layer_list
from ann.losses import LOSSES, get_loss
from ann.pickle_reader import check_depth, read_pickle, shown

FORMAT, ONE, COMMITTEE, LAST = "ann-mlp", 1, 2, 3  # the versions
_MAX_BYTES = 256 * 2**20
_MAX_EXAMPLES = 16
_MAX_DIM = 2**20  # inputs or outputs of a layer
_MAX_WIDTH = 2**21  # the same of all members together
_MAX_EXAMPLE_NUMBERS, _MAX_EXAMPLE_SUM = 2**20, 2**23  # that a layer, and that all, make of the examples
_MAX_HEADER = 2**18  # of a safetensors file
MAX_IN_HEADER = 2**16  # pixels of examples in it
_KEYS = {"format", "version", "layers", "loss", "preprocessing", "seed", "recipe"}
_KEYS_SINCE = {LAST: {"examples", "sha256"}}
_LAYER_KEYS = {"input_dim", "output_dim", "activation", "weight", "bias"}
_SCALE = repr(1.0 / 255.0)


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
        contents["sha256"] = checksum(contents)
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
    place, path = path, shown_path(path)
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
            f"{path}: this is a checkpoint, or another zip file; the model of a run is model.pickle in it"
        )
    try:
        contents: dict[str, Any] = _from_safetensors(data) if data[8:9] == b"{" else read_pickle(data)
        _check(contents)
    except _ModelOfOursError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "there is not enough memory for it"
        raise ModelFileError(f"{path}: not a model file of this program: {reason}") from None
    return contents


class _ModelOfOursError(ValueError):
    """Why a file is refused that is a model file of this program."""


def _from_safetensors(data: bytes) -> dict[str, Any]:
    """The contents of a safetensors file as ``exports.safetensors_bytes`` writes it; without its checksum, in the form
    of an early version.

    Raises ValueError where it is none.
    """
    try:
        safetensors = importlib.import_module("safetensors.numpy")
    except ModuleNotFoundError:
        raise ValueError("a safetensors file is read by safetensors: pip install -e '.[export]'") from None
    length = int.from_bytes(data[:8], "little")
    _expect(length <= _MAX_HEADER, f"its safetensors header has {length} bytes, and at most {_MAX_HEADER} are read")
    try:
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["ann"])
        tensors = safetensors.load(data)
        layers = about["layers"]
        names = [(f"{2 * place}.weight", f"{2 * place}.bias") for place in range(len(layers))]
        _expect(set(tensors) == {name for pair in names for name in pair}, "it has other tensors than its layers say")
        for layer, (weight, bias) in zip(layers, names, strict=True):
            layer |= {"weight": np.ascontiguousarray(tensors.pop(weight).swapaxes(-1, -2)), "bias": tensors[bias]}
        version = COMMITTEE if layers[0]["bias"].ndim == 2 else ONE
        contents = {key: about[key] for key in ("layers", "loss", "seed", "preprocessing", "recipe")}
        if "sha256" in about:
            version, found = LAST, about["examples"]
            contents |= {"sha256": about["sha256"], "examples": found and _examples_of(found)}
    except Exception as error:  # safetensors has exceptions of its own, and what is not as expected raises others
        reason = " ".join(ascii(str(error)).strip("'\"").split())[:200]  # it quotes what is in the file
        raise ValueError(f"it is not a safetensors file of this program: {reason}") from None
    check_depth(contents["recipe"])
    return {"format": FORMAT, "version": version, **contents}


def _examples_of(fields: dict[str, Any]) -> dict[str, np.ndarray]:
    """Examples from a safetensors file's metadata, where their bytes are text."""
    return {
        name: np.frombuffer(base64.b64decode(fields[name], validate=True), kind).reshape(int(fields["count"]), -1)
        for name, kind in (("images", "|u1"), ("outputs", "<f4"))
    }


def checksum(contents: dict[str, Any]) -> str:
    """The SHA-256, in hexadecimal, of all but itself: of the JSON text of the contents, with sorted keys, in which each
    array is its type, its shape and the SHA-256 of its bytes. So it does not depend on how the pickle is written.
    """
    rest = {key: value for key, value in contents.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=_in_json).encode()).hexdigest()


def _in_json(array: Any) -> list[Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{type(array).__name__} is not a plain value")
    _expect(array.flags.c_contiguous, "an array in it is not in C order")
    return [array.dtype.str, array.shape, hashlib.sha256(array.data if array.size else b"").hexdigest()]


def float32(array: np.ndarray) -> np.ndarray:
    """An array of numbers as a file holds them; what is too large becomes infinite, and is refused for that."""
    with np.errstate(all="ignore"):
        return array.astype("<f4")


def parameter_vector(contents: dict[str, Any]) -> tuple[int, np.ndarray]:
    """How many members there are, and layer by layer the weights and then the biases, as the network keeps them."""
    leading = contents["layers"][0]["bias"].shape[:-1]
    arrays = [layer[key] for layer in contents["layers"] for key in ("weight", "bias")]
    rows = [array.reshape(*leading, -1) for array in arrays]
    with np.errstate(all="ignore"):
        return math.prod(leading), np.concatenate(rows, axis=-1, dtype=np.float32, casting="same_kind")


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
    _expect(version <= LAST, f"format version {version} is later than {LAST}, the last one known here; update ann")
    keys = _KEYS | _KEYS_SINCE.get(version, set())
    _check_keys("it", contents, keys)
    if version < LAST:
        _check_fields(contents)
        return
    found = contents["sha256"]
    if not (type(found) is str and found == checksum(contents)):
        raise _ModelOfOursError(
            "it was damaged, or changed by hand, since it was saved: its SHA-256 is not that of its contents; to "
            "change a network, load it with ann.load_model, and save that"
        )
    try:
        _check_fields(contents)
        _check_examples(contents)
    except _ModelOfOursError:
        raise
    except ValueError as error:
        raise ValueError(f"{error}; its SHA-256 is right, so it was not damaged, but made so") from None


def _check_keys(place: str, fields: Any, keys: set[str]) -> None:
    _expect(type(fields) is dict, f"{place}: expected {', '.join(sorted(keys))}")
    for what, names in (("lacks", keys - set(fields)), ("has an unknown field,", set(fields) - keys)):
        _expect(not names, f"{place} {what} {', '.join(map(shown, sorted(names)[:3]))}")


def _check_fields(contents: dict[str, Any]) -> None:
    version = contents["version"]
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
    committee = math.prod(*members) if members else 1
    wide = max((max(layer["input_dim"], layer["output_dim"]) for layer in contents["layers"]), default=1)
    _expect(wide * committee <= _MAX_WIDTH, f"its members together have layers of more than {_MAX_WIDTH} numbers")
    last = contents["seed"] + committee - 1
    _expect(last < 2**63, "the seed of its last member is not below 2^63")
    layers = check_layer_list([{key: layer[key] for key in LAYER_KEYS} for layer in contents["layers"]])
    get_loss(loss, layers[-1]["activation"])


def _check_layer(place: str, layer: Any, version: int, members: set[tuple[int, ...]]) -> None:
    """``members``: what the layers before have of members, to which this one's are added."""
    _check_keys(place, layer, _LAYER_KEYS)
    name = layer["activation"]
    _expect(type(name) is str, f"{place}: its activation is {shown(name)}")
    if name not in ACTIVATIONS:
        raise _ModelOfOursError(f"{place}: unknown activation {shown(name)}; known: {known_activations()}")
    sizes = (layer["input_dim"], layer["output_dim"])
    _expect(all(type(size) is int for size in sizes), f"{place}: input_dim or output_dim is not a whole number")
    _expect(max(sizes) <= _MAX_DIM, f"{place}: input_dim or output_dim is more than {_MAX_DIM}")
    for key, shape in (("weight", sizes), ("bias", sizes[1:])):
        array = layer[key]
        _expect(isinstance(array, np.ndarray), f"{place}: {key} is not an array")
        _expect(array.dtype.kind == "f", f"{place}: {key} is an array of {array.dtype}, expected float32")
        axes = array.ndim - len(shape) if version == LAST else version - ONE
        axes = min(max(axes, 0), 1)
        leading = array.shape[:axes]  # (K,) for a committee
        expected = ", ".join(map(str, (*["K"] * axes, *shape)))
        right = array.shape == (*leading, *shape)
        _expect(right, f"{place}: {key} has shape {array.shape}, expected ({expected})")
        members.add(leading)
        _expect(len(members) == 1, f"{place}: {key} has another number of members, {leading}, than what is before it")
        _expect(leading == () or leading[0] > 1, f"{place}: {key} has one member; a committee has two or more")
        with np.errstate(all="ignore"):
            ends = np.array([array.min(), array.max()]).astype(np.float32)  # without another array as large
        _expect(bool(np.isfinite(ends).all()), f"{place}: {key} holds numbers that are not finite")


def most_examples(layers: list[dict[str, Any]], committee: int) -> int:
    """How many examples are tried of a network with these layers: 16, or fewer where that would take long."""
    outputs = [layer["output_dim"] for layer in layers]
    widest: int = max(layers[0]["input_dim"], *outputs)
    most: int = min(_MAX_EXAMPLE_NUMBERS // (committee * widest), _MAX_EXAMPLE_SUM // (committee * sum(outputs)))
    return max(1, min(_MAX_EXAMPLES, most))


def _check_examples(contents: dict[str, Any]) -> None:
    examples, layers = contents["examples"], contents["layers"]
    if examples is None:
        return
    _expect(type(examples) is dict and set(examples) == {"images", "outputs"}, "examples: expected images, outputs")
    count, most = None, most_examples(layers, math.prod(layers[0]["bias"].shape[:-1]))
    for name, kind, size in (("images", "|u1", layers[0]["input_dim"]), ("outputs", "<f4", layers[-1]["output_dim"])):
        array = examples[name]
        right = isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.str == kind
        _expect(right, f"examples: {name} is not an array of {np.dtype(kind)} with two axes")
        count = len(array) if count is None else count
        _expect(0 < len(array) <= most, f"examples: {len(array)} of them; of this network 1 to {most} are tried")
        _expect(array.shape == (count, size), f"examples: {name} has shape {array.shape}, expected ({count}, {size})")
    _expect(bool(np.isfinite(examples["outputs"]).all()), "examples: outputs holds numbers that are not finite")


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
