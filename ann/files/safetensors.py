"""A model as a safetensors file, which other programs load without a pickle: Hugging Face's format, of a header in JSON
and the bare numbers. Its own library writes it; it is read here, since that library copies a stranger's numbers before
anything of them is looked at.

The tensors have the names and the layout of a ``torch.nn.Sequential`` of linear layers and activations: ``0.weight``
(O, I), ``0.bias`` (O,), ``2.weight`` and so on, in a committee with one more axis, the first. The metadata's ``ann`` is
JSON text with the rest of a model file's contents, where examples are Base64, and ``sha256``, the checksum of that text
without itself and of the tensors.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

from ann.errors import require
from ann.files.model_schema import FORMAT, LAST, ModelOfOursError, check_checksum, check_contents, check_keys, checksum
from ann.files.pickle.values import check_depth, shown
from ann.files.self_test import hold
from ann.nn.layer_list import LAYER_KEYS

_MAX_HEADER = 2**20
_MAX_EXAMPLES = 2**18  # bytes of examples, which are text in the header; larger ones are left out
_MAX_AXES = 3
_ABOUT = ("layers", "loss", "preprocessing", "seed", "recipe")


def to_safetensors(contents: dict[str, Any]) -> bytes:
    """The checked contents of a model file as a safetensors file, which is known to be readable.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: it could not be read back, since what is not numbers is too much for a header.
    """
    safetensors = require("safetensors.numpy", "export", "this form needs safetensors")
    tensors = {}
    for number, layer in enumerate(contents["layers"]):
        tensors[f"{2 * number}.weight"] = np.ascontiguousarray(layer["weight"].swapaxes(-1, -2))
        tensors[f"{2 * number}.bias"] = layer["bias"]
    about = {key: contents[key] for key in _ABOUT} | {"examples": None}
    about["layers"] = [{key: layer[key] for key in LAYER_KEYS} for layer in about["layers"]]
    examples = contents["examples"]
    if examples and sum(array.nbytes for array in examples.values()) <= _MAX_EXAMPLES:
        texts = {name: base64.b64encode(array.tobytes()).decode() for name, array in examples.items()}
        about["examples"] = {"count": len(examples["images"]), **texts}
    about["sha256"] = checksum({**about, "tensors": tensors})
    data: bytes = safetensors.save(tensors, metadata={"ann": json.dumps(about, sort_keys=True)})
    try:
        found = from_safetensors(data)
    except ValueError as error:
        raise ValueError(f"this model cannot be saved as safetensors: {error}") from None
    if found["examples"] and not hold(found):  # the weights lie otherwise in memory, so a sum may have another order
        return to_safetensors({**contents, "examples": None})
    return data


def from_safetensors(data: bytes) -> dict[str, Any]:
    """The checked contents of a safetensors file as ``to_safetensors`` writes it, as those of a model file; the arrays
    are views of ``data``.

    Raises:
        ModelOfOursError: it was damaged.
        ValueError: it is none.
    """
    length = int.from_bytes(data[:8], "little")
    _expect(length <= _MAX_HEADER, f"its safetensors header has {length} bytes, and at most {_MAX_HEADER} are read")
    try:
        header = json.loads(str(data[8 : 8 + length], "utf-8"), object_pairs_hook=_unlike_pairs)
        about = json.loads(header.pop("__metadata__")["ann"], object_pairs_hook=_unlike_pairs)
        check_depth(about)
        check_keys("its metadata", about, {*_ABOUT, "examples", "sha256"})
        layers = about["layers"]
        _expect(type(layers) is list and len(header) == 2 * len(layers), "it has other tensors than its layers say")
        for number, layer in enumerate(layers, start=1):
            check_keys(f"layer {number}", layer, {*LAYER_KEYS})
        tensors = _tensors(header, memoryview(data)[8 + length :])
        check_checksum(about, {**about, "tensors": tensors})
        contents = {"format": FORMAT, "version": LAST, **about}
        if about["examples"] is not None:
            contents["examples"] = _examples(about["examples"])
        for number, layer in enumerate(layers):
            weight, bias = (tensors[f"{2 * number}.{kind}"] for kind in ("weight", "bias"))
            _expect(weight.ndim > 1, f"{2 * number}.weight has a single axis")
            layer |= {"weight": weight.swapaxes(-1, -2), "bias": bias}
    except ModelOfOursError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:  # of what is not as expected
        reason = f"it lacks {shown(error.args[0])}" if isinstance(error, KeyError) else ascii(str(error)[:200])[1:-1]
        raise ValueError(f"it is not a safetensors file of this program: {reason}") from None
    check_contents(contents, with_checksum=False)
    return contents


def _tensors(header: dict[str, Any], body: memoryview) -> dict[str, np.ndarray]:
    """Views of the numbers, which must be float32, and take up all that is there."""
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (start, stop) = entry["shape"], entry["data_offsets"]
        plain = type(shape) is list and 1 <= len(shape) <= _MAX_AXES and entry["dtype"] == "F32"
        plain = plain and all(type(number) is int and 0 <= number <= len(body) for number in (*shape, start, stop))
        _expect(plain, f"{shown(name)} is no tensor of F32 with its place")
        _expect(start == end and stop - start == 4 * math.prod(shape), f"{shown(name)} is not where it should be")
        tensors[name], end = np.frombuffer(body[start:stop], "<f4").reshape(shape), stop
    _expect(end == len(body), f"its tensors have {end} bytes, and {len(body)} are there")
    return tensors


def _examples(fields: dict[str, Any]) -> dict[str, np.ndarray]:
    """Examples whose bytes are text."""
    check_keys("its set of examples", fields, {"count", "images", "outputs"})
    count = fields["count"]
    _expect(type(count) is int and count > 0, "examples: their count is no whole number above 0")
    return {
        name: np.frombuffer(base64.b64decode(fields[name], validate=True), kind).reshape(count, -1)
        for name, kind in (("images", "|u1"), ("outputs", "<f4"))
    }


def _unlike_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which no name stands twice."""
    found = dict(pairs)
    _expect(len(found) == len(pairs), "a name stands twice in an object")
    return found


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
