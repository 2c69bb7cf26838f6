"""Builds NumPy arrays from a pickle, which stores them as calls of a few functions. None of these
is called: their names are compared with a list, and the code here builds the array from the bytes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import printable

_MAX_AXES = 4
_TYPES = ("f4", "f8", "u1", "i8")
NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}
_LAST_LATIN1 = 0xC3  # the largest byte of a character up to 0xFF in UTF-8
_NO_ARRAY = "an array whose data do not fit its shape, or are not plain numbers"


class Symbol:
    """An object on the stack that is not a value. The result of a pickle must not contain one."""

    __slots__ = ()


@dataclass(slots=True)
class Name(Symbol):
    """A function in ``NAMES``. It is never imported."""

    name: str


@dataclass(slots=True)
class Data(Symbol):
    """Bytes, or a string of Python 2, for the contents of an array."""

    view: memoryview


@dataclass(slots=True)
class Text(Symbol):
    """A string so long that it can only be the contents of an array."""

    view: memoryview


class Unbuilt(Symbol):
    """An array whose contents follow in a later instruction."""


@dataclass(slots=True)
class Type(Symbol):
    """A number type, such as "f4"; the byte order is set later."""

    code: str
    order: str = ""


def call(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What a function in ``NAMES`` would return: an array, or a symbol for a part of one.

    Raises ValueError or TypeError for arguments that NumPy would not have written.
    """
    match function, arguments:
        case Name("ndarray"), (shape, str() as code, data) if code in ("<f4", "|u1"):
            return _array(shape, Type(code[1:], code[0]), data, "C")
        case Name("frombuffer"), (data, kind, shape, order):
            return _array(shape, kind, data, order)
        case Name("reconstruct"), (Name("ndarray"), (int(0),), Data(code)) if (
            bytes(code[:2]) == b"b"
        ):
            return Unbuilt()
        case Name("dtype"), (code, False | 0, True | 1):
            code = _word(code)
            if type(code) is not str:
                raise TypeError
            if code not in _TYPES:
                raise ValueError(f"an array of {printable(code)}; known: {', '.join(_TYPES)}")
            return Type(code)
        case Name("encode"), (str() as text, "latin1"):
            return Data(memoryview(text.encode("latin-1")))
        case Name("encode"), (Text(view), "latin1"):
            # A single character outside Latin-1 would make the decoded string four times as large
            if np.frombuffer(view, dtype=np.uint8).max() <= _LAST_LATIN1:
                return Data(memoryview(str(view, "utf-8").encode("latin-1")))
    raise TypeError


def build(target: Any, state: tuple[Any, ...]) -> Any:
    """The target after its ``__setstate__(state)``. Raises the same errors as ``call``."""
    match target, state:
        case Type(order=""), (3, order, None, None, None, -1, -1, 0):  # no fields, shape, metadata
            target.order = _word(order)
            if target.order in ("<", ">", "|"):
                return target
        case Unbuilt(), (1, shape, kind, bool() | int() as by_columns, data):
            return _array(shape, kind, data, "F" if by_columns else "C")
    raise TypeError


def _word(value: Any) -> Any:
    """A short string of Python 2, which was read as ``Data``, as text; other values unchanged."""
    is_word = type(value) is Data and len(value.view) <= 2
    return str(value.view, "latin-1") if is_word else value


def _array(shape: Any, kind: Any, data: Any, order: Any) -> np.ndarray:
    """An array that is a view of the file, which must hold all its bytes."""
    if (
        type(kind) is not Type
        or type(data) is not Data
        or type(shape) is not tuple
        or order not in ("C", "F")
        or (kind.order == "|") != (kind.code == "u1")
        or not kind.order
        or not 1 <= len(shape) <= _MAX_AXES
        or not all(type(size) is int and 0 < size <= len(data.view) for size in shape)
        or math.prod(shape) * int(kind.code[1]) != len(data.view)
    ):
        raise ValueError(_NO_ARRAY)
    array = np.frombuffer(data.view, dtype=kind.order + kind.code)
    return array.reshape(shape, order=order)
