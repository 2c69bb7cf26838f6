"""Checks the contents of a model file, in whatever form they were read: the fields and their types,
the numbers, the self-test and the checksum. Everything that a stranger may have written is checked
here; nothing is built.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

from ann.errors import printable
from ann.files.pickle.values import is_plain, leaves
from ann.nn.activations import get_activation
from ann.nn.layer_list import (
    build_layers,
    check_layer_list,
    input_shape,
    widths,
    without_activations,
    without_arrays,
)
from ann.nn.losses import get_loss
from ann.nn.network import PIXEL_SCALE

FORMAT, VERSION = "ann-mlp", 3
NOT_DAMAGED = "; its SHA-256 is right, so it was not damaged but written like that"
PICTURE_VERSION = 4  # of networks with convolution or pooling
SELF_TEST_IMAGES = 16  # stored in a model file, at most
_MAX_DIM = 2**20  # inputs or outputs of a layer
_MAX_WIDTH = 2**21  # the same, summed over a committee's members
_MAX_WINDOWS = 2**24  # numbers that a layer for pictures stores for one image, for all members
_MAX_LAYERS = 2**12
_MAX_MEMBER_LAYERS = 2**22  # layers, summed over a committee's members
_MAX_TRIED = 2**24  # numbers that all layers for pictures store in the self-test
_MAX_LAYER_OUTPUTS = 2**20  # numbers that one layer computes in the self-test
_MAX_OUTPUTS = 2**23  # numbers that all layers compute in the self-test
_FIELDS = ("format", "version", "layers", "loss", "preprocessing", "seed", "recipe", "examples")
_PREPROCESSING = repr({"scale": PIXEL_SCALE})


class ModelContentsError(ValueError):
    """A file of this program cannot be used, because of its contents or its checksum."""


def version_of(layers: Any) -> int:
    """The version of a model file with these layers."""
    pictures = type(layers) is list and any(type(one) is dict and "type" in one for one in layers)
    return PICTURE_VERSION if pictures else VERSION


def checksum(contents: dict[str, Any]) -> str:
    """The SHA-256, in hexadecimal, of the contents without ``sha256``, as JSON with sorted keys.

    An array becomes its type, its shape and the SHA-256 of its bytes, so the checksum does not
    depend on how the pickle is written.
    """
    rest = {key: value for key, value in contents.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, default=_array_in_json)
    return hashlib.sha256(text.encode()).hexdigest()


def _array_in_json(array: Any) -> list[Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{type(array).__name__} is not a plain value")
    expect(array.flags.c_contiguous, "an array in it is not in C order")
    data = array.data if array.size else b""
    return [array.dtype.str, array.shape, hashlib.sha256(data).hexdigest()]


def check_contents(contents: Any, *, with_checksum: bool = True) -> None:
    """Raise ValueError unless every field is present and valid, and all numbers are finite.

    ``with_checksum``: whether ``sha256`` is the checksum of these contents; that of a safetensors
    file is another one.
    """
    named = type(contents) is dict and type(contents.get("format")) is str
    expect(named and contents["format"] == FORMAT, f"its format is not {FORMAT!r}")
    version = contents.get("version")
    expected = version_of(contents.get("layers"))
    found = f"its version is {printable(version)}, expected {expected}; update ann if it is later"
    expect(type(version) is int and version == expected, found)
    check_keys("it", contents, {*_FIELDS, "sha256"})
    if with_checksum:
        check_checksum(contents, contents)
    try:
        _check_fields(contents)
        _check_self_test(contents)
    except ModelContentsError:
        raise
    except ValueError as error:
        raise ValueError(f"{error}{NOT_DAMAGED}") from None


def check_checksum(found: dict[str, Any], contents: dict[str, Any]) -> None:
    """Raise ModelContentsError unless ``found`` has the checksum of the contents."""
    if not (type(found["sha256"]) is str and found["sha256"] == checksum(contents)):
        raise ModelContentsError(
            "it was damaged or edited after it was saved: its SHA-256 does not match its contents; "
            "to change a network, load it with ann.load_model and save it again"
        )


def check_keys(name: str, fields: Any, keys: set[str]) -> None:
    """Raise ValueError, beginning with ``name``, unless ``fields`` is a dict with these keys."""
    expect(type(fields) is dict, f"{name}: expected {', '.join(sorted(keys))}")
    missing, unknown = (sorted(names)[:3] for names in (keys - set(fields), set(fields) - keys))
    expect(not missing, f"{name} lacks {', '.join(map(printable, missing))}")
    expect(not unknown, f"{name} has an unknown field, {', '.join(map(printable, unknown))}")


def check_count_of(layers: Any) -> None:
    """Raise ValueError unless ``layers`` is a list that is not too long."""
    few = type(layers) is list and len(layers) <= _MAX_LAYERS
    expect(few, f"layers is not a list, or has more than {_MAX_LAYERS} layers")


def _check_fields(contents: dict[str, Any]) -> None:
    seed = contents["seed"]
    expect(type(seed) is int and seed >= 0, "seed is not a whole number of at least 0")
    scaled = repr(contents["preprocessing"]) == _PREPROCESSING
    expect(scaled, "preprocessing is not a scale of 1/255")
    recipe = contents["recipe"]
    plain = recipe is None or (type(recipe) is dict and is_plain(recipe))
    expect(plain, "recipe is not a dict of plain values")
    layers = contents["layers"]
    check_count_of(layers)
    for number, layer in enumerate(layers, start=1):
        _check_values(f"layer {number}", layer)
    specs = check_layer_list([without_arrays(layer) for layer in layers])
    get_loss(contents["loss"], specs[-1]["activation"])
    built = without_activations(build_layers(specs))
    members: set[tuple[int, ...]] = set()  # the leading shapes of all arrays, which must be equal
    for number, (layer, spec, found) in enumerate(zip(built, specs, layers, strict=True), start=1):
        name = f"layer {number}"
        check_keys(name, found, {*spec, *(one.name for one in layer.parameters)})
        for one in layer.parameters:
            shape = one.shape if one.decays else one.shape[1:]  # biases (O,) are (1, O) elsewhere
            leading = _check_array(f"{name}: {one.name}", found[one.name], shape)
            members.add(leading)
            other = f"{name}: {one.name} has a different number of members, {leading}"
            expect(len(members) == 1, other)
    committee = math.prod(*members)
    sizes = [math.prod(input_shape(specs)), *(math.prod(layer.output_shape) for layer in built)]
    for size, most, what in (
        (max(sizes), _MAX_WIDTH, "layers of more than {} numbers"),
        (max(widths(specs)), _MAX_WINDOWS, "layers with windows of more than {} numbers"),
        (len(layers), _MAX_MEMBER_LAYERS, "more than {} layers"),
    ):
        expect(size * committee <= most, f"its members together have {what.format(most)}")
    expect(seed + committee - 1 < 2**63, "the seed of its last member is not below 2^63")


def _check_values(name: str, layer: Any) -> None:
    """Raise ValueError unless a layer, except its arrays, has only words and numbers in range."""
    if type(layer) is not dict:
        raise ValueError(f"{name} is {printable(layer)}")
    for key, value in without_arrays(layer).items():
        for one in leaves([value]):
            plain = type(one) is str or (type(one) is int and 1 <= one <= _MAX_DIM)
            if not plain:
                wanted = f"expected a name, or a whole number from 1 to {_MAX_DIM}"
                raise ValueError(f"{name}: {printable(key)} is {printable(one)}, {wanted}")
    try:
        get_activation(layer.get("activation", "identity"))
    except ValueError as error:
        raise ModelContentsError(f"{name}: {error}") from None


def _check_array(name: str, array: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Check an array of a layer, of this shape or, in a committee of K, (K, *shape).

    Returns () or (K,).
    """
    expect(isinstance(array, np.ndarray), f"{name} is not an array")
    is_float = array.dtype.kind == "f"
    expect(is_float, f"{name} is an array of {array.dtype}, expected float32")
    axes = min(max(array.ndim - len(shape), 0), 1)
    leading: tuple[int, ...] = array.shape[:axes]
    expected = ", ".join(map(str, (*["K"] * axes, *shape)))
    fits = array.shape == (*leading, *shape)
    expect(fits, f"{name} has shape {array.shape}, expected ({expected})")
    expect(leading != (1,), f"{name} has one member; a committee has two or more")
    with np.errstate(all="ignore"):  # of the extremes alone, to allocate nothing as large
        ends = np.array([array.min(), array.max()]).astype(np.float32)
    expect(bool(np.isfinite(ends).all()), f"{name} holds numbers that are not finite")
    return leading


def max_self_test_images(layers: list[dict[str, Any]], committee: int) -> int:
    """The most images in the self-test of these layers: 16, or fewer where they would take long.

    0: there is no self-test, because even one image would take long.
    """
    specs = [without_arrays(layer) for layer in layers]
    inputs, *outputs = widths(specs)
    widest: int = max(inputs, *outputs)
    by_layer: int = _MAX_LAYER_OUTPUTS // (committee * widest)
    by_network: int = _MAX_OUTPUTS // (committee * sum(outputs))
    if version_of(layers) == PICTURE_VERSION and committee * sum(outputs) > _MAX_TRIED:
        return 0
    return max(1, min(SELF_TEST_IMAGES, by_layer, by_network))


def _check_self_test(contents: dict[str, Any]) -> None:
    test, layers = contents["examples"], contents["layers"]
    if test is None:
        return
    keys = {"images", "outputs"}
    expect(type(test) is dict and set(test) == keys, "examples: expected images, outputs")
    most = max_self_test_images(layers, math.prod(layers[-1]["bias"].shape[:-1]))
    expect(most > 0, "examples: expected none, since this network is too slow to test")
    inputs, outputs = math.prod(input_shape(layers)), layers[-1]["output_dim"]
    for name, kind, size in (("images", "|u1", inputs), ("outputs", "<f4", outputs)):
        array = test[name]
        right = isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.str == kind
        expect(right, f"examples: {name} is not an array of {np.dtype(kind)} with two axes")
        count = len(test["images"])
        wanted = f"expected 1 to {most} for this network"
        expect(0 < count <= most, f"examples: {count} images, {wanted}")
        fits = array.shape == (count, size)
        expect(fits, f"examples: {name} has shape {array.shape}, expected ({count}, {size})")
    finite = bool(np.isfinite(test["outputs"]).all())
    expect(finite, "examples: outputs holds numbers that are not finite")


def expect(condition: bool, message: str) -> None:
    """Raise ValueError with this message unless the condition holds."""
    if not condition:
        raise ValueError(message)
