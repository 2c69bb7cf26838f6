"""How a pickle represents NumPy arrays: as calls of a few functions. None of them is called. Their
names are compared with a list, and the code here builds the array from bytes instead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import printable

_MAX_LATIN1 = 2**24  # bytes in all that are written as strings, as in protocol 2
_MAX_AXES = 4
_TYPES = ("f4", "f8", "u1", "i8")
NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}
_PLAIN = (None, None, None, -1, -1, 0)  # NumPy's state of a dtype without fields, shape or metadata
_LAST_LATIN1 = 0xC3  # the largest byte of a character up to 0xFF in UTF-8
_NO_ARRAY = "an array whose data do not fit its shape, or are not plain numbers"


class Symbol:
    """Something on the stack that is not a value: the result cannot hold it, at any level."""

    __slots__ = ()


@dataclass(slots=True)
class Name(Symbol):
    """One of ``NAMES``; it is never imported."""

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


class ArrayCalls:
    """What is done where a pickle would call a function. Use one object per file.

    The methods raise ValueError or TypeError for arguments that NumPy would not have written.
    """

    def __init__(self) -> None:
        self._latin1 = 0
        self._functions: dict[str, Callable[..., Any]] = {
            "ndarray": self._ndarray,
            "dtype": self._dtype,
            "reconstruct": self._reconstruct,
            "frombuffer": lambda data, kind, shape, order: _array(shape, kind, data, order),
            "encode": self._encode,
        }

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """The result of a call: an array, or a symbol that becomes one."""
        if type(function) is not Name:
            raise TypeError
        return self._functions[function.name](*arguments)

    def build(self, target: Any, state: tuple[Any, ...]) -> Any:
        """An object after its state was set."""
        if type(target) is Type:
            order = _word(state[1])
            plain = state == (3, state[1], *_PLAIN)
            if target.order or order not in ("<", ">", "|") or not plain:
                raise ValueError("a number type that is not plain")
            target.order = order
            return target
        if (
            type(target) is Unbuilt
            and len(state) == 5
            and state[0] == 1
            and type(state[3]) in (bool, int)
        ):
            _, shape, kind, fortran, data = state
            return _array(shape, kind, data, "F" if fortran else "C")
        raise TypeError

    def _ndarray(self, shape: Any, dtype: Any, data: Any) -> np.ndarray:
        if type(dtype) is not str or dtype not in ("<f4", "|u1"):
            raise ValueError(_NO_ARRAY)
        return _array(shape, Type(dtype[1:], dtype[0]), data, "C")

    def _dtype(self, code: Any, align: Any, copy: Any) -> Type:
        code = _word(code)
        known = type(code) is str and code in _TYPES
        if not known or align not in (False, 0) or copy not in (True, 1):
            raise ValueError(f"an array of {printable(code)}; known: {', '.join(_TYPES)}")
        return Type(code)

    def _reconstruct(self, kind: Any, shape: Any, code: Any) -> Unbuilt:
        empty = type(shape) is tuple and len(shape) == 1 and type(shape[0]) is int and shape[0] == 0
        is_byte = type(code) is Data and bytes(code.view) == b"b"
        if kind != Name("ndarray") or not empty or not is_byte:
            raise TypeError
        return Unbuilt()

    def _encode(self, text: Any, codec: Any) -> Data:
        if codec != "latin1" or type(text) not in (str, Text):
            raise TypeError
        self._latin1 += len(text) if type(text) is str else len(text.view)
        if self._latin1 > _MAX_LATIN1:
            raise ValueError(f"arrays written as strings of more than {_MAX_LATIN1} bytes in all")
        if type(text) is str:
            return Data(memoryview(text.encode("latin-1")))
        # A single character outside Latin-1 would make the decoded string four times as large
        if np.frombuffer(text.view, dtype=np.uint8).max() > _LAST_LATIN1:
            raise TypeError
        return Data(memoryview(str(text.view, "utf-8").encode("latin-1")))


def _word(value: Any) -> Any:
    """A short string of Python 2, which is read as ``Data``, as text; other values unchanged."""
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
