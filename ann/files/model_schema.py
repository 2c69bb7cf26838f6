"""What the contents of a model file must be, whatever form they were read from: the fields and their types, the
numbers, the examples and the checksum. All that a stranger may have written is looked at here, and nothing is built.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

from ann.errors import printable
from ann.files.pickle.values import is_plain
from ann.nn.activations import ACTIVATIONS, known_activations
from ann.nn.layer_list import LAYER_KEYS, check_layer_list
from ann.nn.losses import LOSSES, get_loss

FORMAT, ONE, COMMITTEE, LAST = "ann-mlp", 1, 2, 3  # the versions
_MAX_EXAMPLES = 16
_MAX_DIM = 2**20  # inputs or outputs of a layer
_MAX_WIDTH = 2**21  # the same of all members together
_MAX_MEMBER_LAYERS = 2**22  # layers of all members together
_MAX_EXAMPLE_NUMBERS, _MAX_EXAMPLE_SUM = 2**20, 2**23  # that a layer, and that all, make of the examples
_KEYS = {"format", "version", "layers", "loss", "preprocessing", "seed", "recipe"}
_KEYS_SINCE = {LAST: {"examples", "sha256"}}
_LAYER_KEYS = {"input_dim", "output_dim", "activation", "weight", "bias"}
_SCALE = repr(1.0 / 255.0)


class ModelContentsError(ValueError):
    """Why a file is refused that is a model file of this program."""


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


def check_contents(contents: Any, *, with_checksum: bool = True) -> None:
    """Raise ValueError unless every field is there and of its type, and all numbers are finite.

    ``with_checksum``: whether a checksum is that of the contents, and not, as that of a safetensors file, another.
    """
    known = type(contents) is dict and type(contents.get("format")) is str and contents["format"] == FORMAT
    _expect(known, f"its format is not {FORMAT!r}")
    version = contents.get("version")
    _expect(type(version) is int and version >= 1, f"its version is {printable(version)}")
    _expect(version <= LAST, f"format version {version} is later than {LAST}, the last one known here; update ann")
    keys = _KEYS | _KEYS_SINCE.get(version, set())
    check_keys("it", contents, keys)
    if version < LAST:
        _check_fields(contents)
        return
    if with_checksum:
        check_checksum(contents, contents)
    try:
        _check_fields(contents)
        _check_examples(contents)
    except ModelContentsError:
        raise
    except ValueError as error:
        raise ValueError(f"{error}; its SHA-256 is right, so it was not damaged, but made so") from None


def check_checksum(found: dict[str, Any], contents: dict[str, Any]) -> None:
    """Raise ModelContentsError unless the checksum that is found is that of the contents."""
    if not (type(found["sha256"]) is str and found["sha256"] == checksum(contents)):
        raise ModelContentsError(
            "it was damaged, or changed by hand, since it was saved: its SHA-256 is not that of its contents; to "
            "change a network, load it with ann.load_model, and save that"
        )


def check_keys(place: str, fields: Any, keys: set[str]) -> None:
    """Raise ValueError unless ``fields`` is a dict with these keys; ``place`` says in the message what it is."""
    _expect(type(fields) is dict, f"{place}: expected {', '.join(sorted(keys))}")
    for what, names in (("lacks", keys - set(fields)), ("has an unknown field,", set(fields) - keys)):
        _expect(not names, f"{place} {what} {', '.join(map(printable, sorted(names)[:3]))}")


def _check_fields(contents: dict[str, Any]) -> None:
    version = contents["version"]
    loss = contents["loss"]
    _expect(type(loss) is str and loss in LOSSES, f"unknown loss {printable(loss)}; known: {', '.join(LOSSES)}")
    _expect(type(contents["seed"]) is int and contents["seed"] >= 0, "seed is not a whole number of at least 0")
    preprocessing = contents["preprocessing"]
    _expect(
        type(preprocessing) is dict and list(preprocessing) == ["scale"] and repr(preprocessing["scale"]) == _SCALE,
        "preprocessing is not a scale of 1/255",
    )
    recipe = contents["recipe"]
    _expect(recipe is None or (type(recipe) is dict and is_plain(recipe)), "recipe is not a dict of plain values")
    _expect(type(contents["layers"]) is list, "layers is not a list")
    members: set[tuple[int, ...]] = set()
    for number, layer in enumerate(contents["layers"], start=1):
        _check_layer(f"layer {number}", layer, version, members)
    committee = math.prod(*members) if members else 1
    wide = max((max(layer["input_dim"], layer["output_dim"]) for layer in contents["layers"]), default=1)
    _expect(wide * committee <= _MAX_WIDTH, f"its members together have layers of more than {_MAX_WIDTH} numbers")
    several = committee * len(contents["layers"])
    _expect(several <= _MAX_MEMBER_LAYERS, f"its members together have more than {_MAX_MEMBER_LAYERS} layers")
    last = contents["seed"] + committee - 1
    _expect(last < 2**63, "the seed of its last member is not below 2^63")
    layers = check_layer_list([{key: layer[key] for key in LAYER_KEYS} for layer in contents["layers"]])
    get_loss(loss, layers[-1]["activation"])


def _check_layer(place: str, layer: Any, version: int, members: set[tuple[int, ...]]) -> None:
    """``members``: what the layers before have of members, to which this one's are added."""
    check_keys(place, layer, _LAYER_KEYS)
    name = layer["activation"]
    _expect(type(name) is str, f"{place}: its activation is {printable(name)}")
    if name not in ACTIVATIONS:
        raise ModelContentsError(f"{place}: unknown activation {printable(name)}; known: {known_activations()}")
    sizes = (layer["input_dim"], layer["output_dim"])
    _expect(all(type(size) is int for size in sizes), f"{place}: input_dim or output_dim is not a whole number")
    right = min(sizes) >= 1 and max(sizes) <= _MAX_DIM
    _expect(right, f"{place}: input_dim or output_dim is not from 1 to {_MAX_DIM}")
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


def max_self_test_images(layers: list[dict[str, Any]], committee: int) -> int:
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
    count, most = None, max_self_test_images(layers, math.prod(layers[0]["bias"].shape[:-1]))
    for name, kind, size in (("images", "|u1", layers[0]["input_dim"]), ("outputs", "<f4", layers[-1]["output_dim"])):
        array = examples[name]
        right = isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.str == kind
        _expect(right, f"examples: {name} is not an array of {np.dtype(kind)} with two axes")
        count = len(array) if count is None else count
        _expect(0 < len(array) <= most, f"examples: {len(array)} of them; of this network 1 to {most} are tried")
        _expect(array.shape == (count, size), f"examples: {name} has shape {array.shape}, expected ({count}, {size})")
    _expect(bool(np.isfinite(examples["outputs"]).all()), "examples: outputs holds numbers that are not finite")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
