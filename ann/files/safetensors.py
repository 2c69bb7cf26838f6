"""A model as a safetensors file, Hugging Face's format of a JSON header and bare numbers, which
other programs load without a pickle. Its own library writes it. We read it ourselves: that library
copies a stranger's numbers before anything is checked.

The tensors have the names and layout of a ``torch.nn.Sequential`` of linear layers and activations:
``0.weight`` (O, I), ``0.bias`` (O,), ``2.weight`` and so on, in a committee with one more axis,
first. The weights of a convolution are (F, C, k, k). ``_positions`` explains the numbers.

The metadata's ``ann`` is JSON text with the other contents of a model file, where the arrays of the
self-test are Base64, and ``sha256``, the checksum of the tensors and of that text without itself.
"""

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ann.errors import printable, printable_text, require
from ann.files.model_schema import (
    FORMAT,
    ModelContentsError,
    check_checksum,
    check_contents,
    check_count_of,
    check_keys,
    checksum,
    expect,
    version_of,
)
from ann.files.pickle.values import leaves
from ann.files.self_test import passes_self_test
from ann.nn.layer_list import without_arrays

_MAX_HEADER = 2**20
_MAX_SELF_TEST = 2**18  # bytes, since it is text in the header; a larger one is left out
_MAX_AXES = 5
_ABOUT = ("layers", "loss", "preprocessing", "seed", "recipe")


def to_safetensors(contents: dict[str, Any]) -> bytes:
    """The checked contents of a model file as a safetensors file, checked to be readable.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: it could not be read back: the header would be too large.
    """
    safetensors = require("safetensors.numpy", "export", "this format needs safetensors")
    tensors: dict[str, np.ndarray] = {}
    for position, layer in _positions(contents["layers"]):
        weight = np.ascontiguousarray(layer["weight"].swapaxes(-1, -2))
        if "kernel" in layer:  # (..., F, C k k) -> (..., F, C, k, k)
            weight = weight.reshape(*weight.shape[:-1], -1, layer["kernel"], layer["kernel"])
        tensors |= {f"{position}.weight": weight, f"{position}.bias": layer["bias"]}
    about = {key: contents[key] for key in _ABOUT} | {"examples": None}
    about["layers"] = [without_arrays(layer) for layer in about["layers"]]
    test = contents["examples"]
    if test and sum(array.nbytes for array in test.values()) <= _MAX_SELF_TEST:
        texts = {name: base64.b64encode(array.tobytes()).decode() for name, array in test.items()}
        about["examples"] = {"count": len(test["images"]), **texts}
    about["sha256"] = checksum({**about, "tensors": tensors})
    data: bytes = safetensors.save(tensors, metadata={"ann": json.dumps(about, sort_keys=True)})
    try:
        found = from_safetensors(data)
    except ValueError as error:
        raise ValueError(f"this model cannot be saved as safetensors: {error}") from None
    # Transposed weights are summed in another order
    if not passes_self_test(found):
        return to_safetensors({**contents, "examples": None})
    return data


def from_safetensors(data: bytes) -> dict[str, Any]:
    """The checked contents of a file that ``to_safetensors`` wrote, as those of a model file.

    The arrays are views of ``data``.

    Raises:
        ModelContentsError: it was damaged.
        ValueError: it is not such a file.
    """
    length = int.from_bytes(data[:8], "little")
    too_long = f"its safetensors header has {length} bytes; the limit is {_MAX_HEADER}"
    expect(length <= _MAX_HEADER, too_long)
    try:
        header = json.loads(str(data[8 : 8 + length], "utf-8"), object_pairs_hook=_unique_names)
        about = json.loads(header.pop("__metadata__")["ann"], object_pairs_hook=_unique_names)
        leaves(about)  # raises ValueError if it is nested too deeply
        check_keys("its metadata", about, {*_ABOUT, "examples", "sha256"})
        layers = about["layers"]
        check_count_of(layers)
        tensors = _tensors(header, memoryview(data)[8 + length :])
        check_checksum(about, {**about, "tensors": tensors})
        contents = {"format": FORMAT, "version": version_of(layers), **about}
        if about["examples"] is not None:
            contents["examples"] = _self_test(about["examples"])
        for position, layer in _positions(layers):
            arrays = {kind: tensors.pop(f"{position}.{kind}") for kind in ("weight", "bias")}
            expect(arrays.keys().isdisjoint(layer), f"the layer of {position}.weight has arrays")
            if "kernel" in layer:  # (..., F, C, k, k) -> (..., F, C k k)
                arrays["weight"] = arrays["weight"].reshape(*arrays["weight"].shape[:-3], -1)
            layer |= arrays | {"weight": arrays["weight"].swapaxes(-1, -2)}
        expect(not tensors, f"no layer needs {printable(next(iter(tensors), ''))}")
    except ModelContentsError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        missing = isinstance(error, KeyError)
        reason = f"it lacks {printable(error.args[0])}" if missing else printable_text(error, 200)
        raise ValueError(f"it is not a safetensors file of this program: {reason}") from None
    check_contents(contents, with_checksum=False)
    return contents


def _positions(layers: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The layers with weights, which all have an activation, and their positions in ``Sequential``.

    Other modules have positions, too: pooling, every activation, even identity, ``Flatten`` before
    the first dense layer after pictures, and ``ZeroPad2d`` before a convolution with padding "same"
    and a stride above 1, which PyTorch's ``Conv2d`` does not support.
    """
    position, pictures = 0, False
    for layer in layers:
        flattened = pictures and "type" not in layer
        padded = layer.get("padding") == "same" and layer["stride"] > 1
        position += flattened + padded
        if "activation" in layer:
            yield position, layer
            position += 1
        position += 1
        pictures = "type" in layer


def _tensors(header: dict[str, Any], body: memoryview) -> dict[str, np.ndarray]:
    """Views of the tensors, which must be float32 and fill the file without gaps."""
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (start, stop) = entry["shape"], entry["data_offsets"]
        plain = type(shape) is list and 1 <= len(shape) <= _MAX_AXES and entry["dtype"] == "F32"
        sizes = (*shape, start, stop) if plain else ()
        plain = plain and all(type(size) is int and 0 <= size <= len(body) for size in sizes)
        expect(plain, f"{printable(name)} is not an F32 tensor within the file")
        fits = start == end and stop - start == 4 * math.prod(shape)
        expect(fits, f"{printable(name)} is not where it should be")
        tensors[name], end = np.frombuffer(body[start:stop], "<f4").reshape(shape), stop
    expect(end == len(body), f"its tensors have {end} bytes, the file has {len(body)} for them")
    return tensors


def _self_test(fields: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a self-test that was written as text."""
    check_keys("its set of examples", fields, {"count", "images", "outputs"})
    count = fields["count"]
    expect(type(count) is int and count > 0, "examples: the count is not a whole number above 0")
    return {
        name: np.frombuffer(base64.b64decode(fields[name], validate=True), kind).reshape(count, -1)
        for name, kind in (("images", "|u1"), ("outputs", "<f4"))
    }


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name appears twice."""
    found = dict(pairs)
    expect(len(found) == len(pairs), "a name appears twice in an object")
    return found
