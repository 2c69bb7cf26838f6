"""How NumPy's arrays stand in a pickle: as calls of a few functions. Their names are compared with a list, and stand
for what is done here instead: bytes become an array of numbers, and nothing else can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import printable

_MAX_LATIN1 = 2**24  # all bytes that are written as strings, as protocol 2 has to
_MAX_AXES = 4
_TYPES = ("f4", "f8", "u1")
NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
}
_PLAIN = (None, None, None, -1, -1, 0)  # how NumPy says that numbers are no records and have no other oddities
_LAST_LATIN1 = 0xC3  # the largest byte of a character up to 0xFF in UTF-8
_NO_ARRAY = "an array that is not of so many numbers as its shape says, or not of plain ones"


class Symbol:
    """What is on the stack and is no value: it must not be left in the result, or be put into a container."""

    __slots__ = ()


@dataclass(slots=True)
class Name(Symbol):
    """One of the names above, which is never looked up."""

    name: str


@dataclass(slots=True)
class Data(Symbol):
    """Bytes of an array, or of what only looks like one."""

    view: memoryview


@dataclass(slots=True)
class Text(Symbol):
    """A string so long that it can only be the bytes of an array."""

    view: memoryview


class Unbuilt(Symbol):
    """An array whose contents come with the next instruction but one."""


@dataclass(slots=True)
class Type(Symbol):
    """A type of numbers, such as "f4"; the byte order comes after it."""

    code: str
    order: str = ""


class ArrayCalls:
    """What is done where a pickle would call a function. One object serves one file.

    All raise ValueError or TypeError for what is not as NumPy has it.
    """

    def __init__(self) -> None:
        self._latin1 = 0
        self._functions: dict[str, Callable[..., Any]] = {
            "ndarray": self._ndarray,
            "dtype": self._dtype,
            "reconstruct": self._reconstruct,
            "frombuffer": self._frombuffer,
            "encode": self._encode,
        }

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """What a call would give: an array, or a symbol of what becomes one."""
        if type(function) is not Name:
            raise TypeError
        return self._functions[function.name](*arguments)

    def build(self, target: Any, state: tuple[Any, ...]) -> Any:
        """What an object becomes when it is given its state."""
        if type(target) is Type:
            if target.order or state[1] not in ("<", ">", "|") or state != (3, state[1], *_PLAIN):
                raise ValueError("a type of numbers that is not plain")
            target.order = state[1]
            return target
        if type(target) is Unbuilt and len(state) == 5 and state[0] == 1 and type(state[3]) in (bool, int):
            _, shape, kind, fortran, data = state
            return _array(shape, kind, data, "F" if fortran else "C")
        raise TypeError

    def _ndarray(self, shape: Any, dtype: Any, data: Any) -> np.ndarray:
        if type(dtype) is not str or dtype not in ("<f4", "|u1"):
            raise ValueError(_NO_ARRAY)
        return _array(shape, Type(dtype[1:], dtype[0]), data, "C")

    def _dtype(self, code: Any, align: Any, copy: Any) -> Type:
        if type(code) is not str or code not in _TYPES or align not in (False, 0) or copy not in (True, 1):
            raise ValueError(f"an array of {printable(code)}; known: {', '.join(_TYPES)}")
        return Type(code)

    def _reconstruct(self, kind: Any, shape: Any, code: Any) -> Unbuilt:
        empty = type(shape) is tuple and len(shape) == 1 and type(shape[0]) is int and shape[0] == 0
        if kind != Name("ndarray") or not empty or type(code) is not Data or bytes(code.view) != b"b":
            raise TypeError
        return Unbuilt()

    def _frombuffer(self, data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
        return _array(shape, kind, data, order)

    def _encode(self, text: Any, codec: Any) -> Data:
        if codec != "latin1" or type(text) not in (str, Text):
            raise TypeError
        self._latin1 += len(text) if type(text) is str else len(text.view)
        if self._latin1 > _MAX_LATIN1:
            raise ValueError(f"arrays written as strings of more than {_MAX_LATIN1} bytes in all")
        if type(text) is str:
            return Data(memoryview(text.encode("latin-1")))
        # Other characters than these, of which one makes a string four times as long, fail before they cost memory
        if np.frombuffer(text.view, dtype=np.uint8).max() > _LAST_LATIN1:
            raise TypeError
        return Data(memoryview(str(text.view, "utf-8").encode("latin-1")))


def _array(shape: Any, kind: Any, data: Any, order: Any) -> np.ndarray:
    """An array that is a view of the file. The bytes are as many as it takes, so shapes cost nothing."""
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
    array: np.ndarray = np.frombuffer(data.view, dtype=kind.order + kind.code).reshape(shape, order=order)
    return array
