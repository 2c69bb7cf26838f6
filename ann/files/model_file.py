"""The model file: a pickle of one plain dict that opens anywhere, with or without this package.
Writing it is atomic. Reading it executes nothing (see ``pickle.reader``) and checks every field.

The README of this folder describes its fields, and ``model_schema`` checks them. ``read_model``
also reads what ``safetensors`` writes.
"""

import errno
import io
import math
import os
import pickle
import sys
from typing import Any, BinaryIO

import numpy as np

from ann.errors import ModelFileError, printable_path, printable_text
from ann.files.atomic import read_regular
from ann.files.model_schema import (
    FORMAT,
    NOT_DAMAGED,
    ModelContentsError,
    check_contents,
    checksum,
    version_of,
)
from ann.files.pickle.reader import read_pickle
from ann.files.pickle.values import is_plain
from ann.files.safetensors import from_safetensors
from ann.files.self_test import record_self_test
from ann.installation import localized
from ann.nn.network import PIXEL_SCALE

_MAX_BYTES = 256 * 2**20


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Arrays as (shape, "<f4", bytes): NumPy's own form names modules of one NumPy version."""
        if isinstance(obj, np.ndarray):
            return np.ndarray, (obj.shape, obj.dtype.str, obj.tobytes())
        return NotImplemented


def to_bytes(
    layers: list[dict[str, Any]],
    loss: str,
    seed: int,
    recipe: dict[str, Any] | None,
    images: np.ndarray,
) -> bytes:
    """The bytes of a model file, checked to be readable.

    The arguments are its fields, but arrays may be of any float type. ``images`` (M, I), uint8, are
    for the self-test, which is left out if its outputs depend on rounding.

    Raises:
        ValueError: the model could not be read back: it is too large or not finite, or its recipe
            holds values that are not plain.
    """
    with np.errstate(all="ignore"):  # too large numbers become infinite and are refused below
        layers = [
            layer | {key: layer[key].astype("<f4") for key in ("weight", "bias") if key in layer}
            for layer in layers
        ]
    contents = {
        "format": FORMAT,
        "version": version_of(layers),
        "layers": layers,
        "loss": loss,
        "preprocessing": {"scale": PIXEL_SCALE},
        "seed": seed,
        "recipe": recipe,
    }
    try:
        if not is_plain(recipe):
            raise ValueError(
                "its recipe holds an array, an int of more than 8 bytes, or a string that is "
                "longer than 64 KB or not Unicode"
            )
        contents["examples"] = record_self_test(contents, images)
        contents["sha256"] = checksum(contents)
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=4).dump(_interned(contents))
        data = buffer.getvalue()
        if len(data) > _MAX_BYTES:
            raise ValueError(f"it has {len(data)} bytes; the limit is {_MAX_BYTES}")
        check_contents(read_pickle(data))
    except ValueError as error:
        reason = str(error).removesuffix(NOT_DAMAGED)
        raise ValueError(f"this model cannot be saved: {reason}") from None
    except Exception as error:  # values in the recipe may raise anything when they are pickled
        raise ValueError(f"this model cannot be saved: {type(error).__name__}: {error}") from None
    return data


def read_model(file: str | os.PathLike[str] | BinaryIO) -> dict[str, Any]:
    """The checked contents of a model file, from its path or an open binary file.

    Raises:
        ModelFileError: it is missing, unreadable, or not a model file.
    """
    name = name_of(file)
    try:
        data = _read(file)
    except OSError as error:
        reasons = {
            errno.EISDIR: "this is a folder; the model of a run is model.pickle in it",
            errno.ENOENT: f"no such model file; {localized('scripts/train.py')} makes one in the "
            "folder where it is run",
        }
        reason = reasons.get(error.errno or 0, f"cannot be read: {error.strerror}")
        raise ModelFileError(f"{name}: {reason}") from None
    if data[:2] == b"PK":
        raise ModelFileError(
            f"{name}: this is a zip file, such as a checkpoint or an exported .npz; load a .pickle "
            "or .safetensors file instead (the model of a run is model.pickle in its folder)"
        )
    try:
        if data[8:9] == b"{":
            return from_safetensors(data)
        contents: dict[str, Any] = read_pickle(data)
        check_contents(contents)
    except ModelContentsError as error:
        raise ModelFileError(f"{name}: {error}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "there is not enough memory for it"
        raise ModelFileError(f"{name}: not a model file of this program: {reason}") from None
    return contents


def name_of(file: str | os.PathLike[str] | BinaryIO) -> str:
    """The path of a model file for messages; an open file may have none."""
    if hasattr(file, "read"):
        name = getattr(file, "name", "")  # a number if it was opened without a path
        return printable_text(name) if name and isinstance(name, str) else "the open file"
    return printable_path(file)


def _read(file: str | os.PathLike[str] | BinaryIO) -> bytes:
    if not hasattr(file, "read"):
        return read_regular(file, _MAX_BYTES)
    data: Any = None
    try:
        data = file.read(_MAX_BYTES + 1)
    except UnicodeDecodeError:  # from a text file
        pass
    except Exception as error:  # a decompressor or a remote file may raise anything
        reason = f"{type(error).__name__}: {printable_text(error)}"
        raise OSError(errno.EIO, reason) from None
    if not isinstance(data, bytes):
        raise OSError(errno.EINVAL, 'it is open as text; use open(path, "rb")')
    if len(data) > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {_MAX_BYTES} bytes")
    return data


def _interned(value: Any) -> Any:
    """A copy in which equal strings are one object and no tuple appears twice.

    A pickle refers back to objects it has seen. Without this its bytes would depend on which equal
    strings happen to be the same object, such as a default and a flag with the same value.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(key): _interned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_interned, value))
    return value


def parameter_vector(contents: dict[str, Any]) -> tuple[int, np.ndarray]:
    """The number of members, and their parameters in the order of ``NeuralNetwork.parameters``."""
    leading = contents["layers"][-1]["bias"].shape[:-1]
    layers = [layer for layer in contents["layers"] if "weight" in layer]
    arrays = [layer[key] for key in ("weight", "bias") for layer in layers]
    rows = [array.reshape(*leading, -1) for array in arrays]
    with np.errstate(all="ignore"):
        vector = np.concatenate(rows, axis=-1, dtype=np.float32, casting="same_kind")
    return math.prod(leading), vector
