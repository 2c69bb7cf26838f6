"""Reads pickles of plain values and arrays without executing them. A pickle is a program for a small stack
machine, and Python's own reader lets it call any function; this one knows only the instructions that build
plain values, looks up no name, calls nothing, and allocates only what the file has paid for in bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

_MARK = object()  # where the items of a container begin on the stack
_NDARRAY = object()  # stands for the name numpy.ndarray, which is never looked up

# Caps on what one file may ask for; a model file of this package needs a few hundred instructions.
_MAX_INSTRUCTIONS = 100_000
_MAX_DEPTH = 20
_MAX_STRING = 2**16


def read_pickle(data: bytes) -> Any:
    """The value that a pickle of protocol 4 describes.

    It may hold None, bools, ints of up to 8 bytes, floats, strings, bytes, lists, tuples, dicts with string
    keys, and little-endian float32 arrays written as ``numpy.ndarray(shape, "<f4", bytes)``.

    Raises:
        ValueError: anything else; the message says what and where.
    """
    return _Machine(data).run()


def shown(value: Any) -> str:
    """A value out of a stranger's file for a message: short, on one line, and harmless to a terminal."""
    if type(value) in (str, int, float, bool, type(None)):
        return ascii(value[:40] if isinstance(value, str) else value)
    return f"a {type(value).__name__}"


def _check_depth(value: Any) -> None:
    """Raise ValueError for deep nesting, on which later code that calls itself for each level would fail."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, (dict, list, tuple))
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise ValueError(f"containers nested more than {_MAX_DEPTH} deep")


class _Machine:
    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0
        self._stack: list[Any] = []
        self._memo: list[Any] = []

    def run(self) -> Any:
        if self._data[:2] != b"\x80\x04":
            raise ValueError("it is not a pickle of protocol 4")
        self._position = 2
        for _ in range(_MAX_INSTRUCTIONS):
            start = self._position
            opcode = self._take(1)[0]
            if opcode != _STOP and opcode not in _INSTRUCTIONS:
                raise ValueError(f"forbidden pickle instruction 0x{opcode:02x} at byte {start}")
            try:
                if opcode == _STOP:
                    return self.result()
                _INSTRUCTIONS[opcode](self)
            except (IndexError, TypeError, UnicodeDecodeError):
                raise ValueError(f"broken pickle instruction 0x{opcode:02x} at byte {start}") from None
        raise ValueError(f"more than {_MAX_INSTRUCTIONS} pickle instructions")

    # Bytes and the stack ---------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        chunk = self._data[self._position : self._position + count]
        if len(chunk) != count:
            raise ValueError(f"it ends at byte {len(self._data)}, in the middle")
        self._position += count
        return chunk

    def _number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK or value is _NDARRAY:
            raise TypeError
        return value

    def _top(self, kind: type) -> Any:
        """The container below the items just popped, checked to be one."""
        if type(self._stack[-1]) is not kind:
            raise TypeError
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self._stack[-1] is not _MARK:
            items.append(self._pop())
        self._stack.pop()
        return items[::-1]

    def result(self) -> Any:
        value = self._pop()
        if self._stack or self._position != len(self._data):
            raise ValueError("bytes or values are left over at its end")
        _check_depth(value)
        return value

    # Instructions ----------------------------------------------------------------------------------------------

    def frame(self) -> None:
        self._take(8)  # how many bytes follow: a hint for readers from slow disks

    def constant(self, value: Any) -> None:
        self._push(value)

    def number(self, code: str) -> None:
        self._push(self._number(code))

    def long(self) -> None:
        length = self._number("<B")
        if length > 8:
            raise ValueError("an integer of more than 8 bytes")
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def string(self, length_code: str) -> None:
        length = self._number(length_code)
        if length > _MAX_STRING:
            raise ValueError(f"a string of more than {_MAX_STRING} bytes")
        self._push(self._take(length).decode("utf-8"))

    def bytes(self, length_code: str) -> None:
        self._push(self._take(self._number(length_code)))

    def container(self, kind: type) -> None:
        self._push(kind())

    def tuple_of(self, count: int) -> None:
        self._push(tuple([self._pop() for _ in range(count)][::-1]))

    def tuple_to_mark(self) -> None:
        self._push(tuple(self._pop_to_mark()))

    def append(self) -> None:
        item = self._pop()
        self._top(list).append(item)

    def appends(self) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set(self._top(dict), key, value)

    def set_items(self) -> None:
        items = self._pop_to_mark()
        if len(items) % 2:
            raise TypeError
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(target, key, value)

    @staticmethod
    def _set(target: dict[str, Any], key: Any, value: Any) -> None:
        if type(key) is not str or key in target:
            raise TypeError
        target[key] = value

    def memoize(self) -> None:
        self._memo.append(self._stack[-1])

    def recall(self, code: str) -> None:
        value = self._memo[self._number(code)]
        if value is not _NDARRAY and type(value) is not str:
            # Containers could hold themselves or grow exponentially, arrays cost memory that no bytes pay for.
            raise ValueError("something other than a string is used twice")
        self._push(value)

    def name(self) -> None:
        name, module = self._pop(), self._pop()
        if (module, name) != ("numpy", "ndarray"):
            raise ValueError(f"it names {shown(module)}, {shown(name)}, and only numpy.ndarray is allowed")
        self._push(_NDARRAY)

    def call(self) -> None:
        arguments = self._pop()
        if self._stack.pop() is not _NDARRAY:
            raise TypeError
        shape, dtype, data = arguments if len(arguments) == 3 else (None, None, None)
        if (
            type(shape) is not tuple
            or type(data) is not bytes
            or dtype != "<f4"
            or not 1 <= len(shape) <= 4
            or not all(type(size) is int and 0 < size <= len(data) for size in shape)
            or math.prod(shape) * 4 != len(data)
        ):
            raise ValueError('an array that is not (shape, "<f4", as many bytes)')
        self._push(np.frombuffer(data, dtype="<f4").reshape(shape))


_STOP = ord(".")
_Instruction = Callable[[_Machine], None]

_INSTRUCTIONS: dict[int, _Instruction] = {
    0x95: _Machine.frame,
    ord("("): lambda machine: machine.constant(_MARK),
    ord("N"): lambda machine: machine.constant(None),
    0x88: lambda machine: machine.constant(True),
    0x89: lambda machine: machine.constant(False),
    ord("K"): lambda machine: machine.number("<B"),
    ord("M"): lambda machine: machine.number("<H"),
    ord("J"): lambda machine: machine.number("<i"),
    0x8A: _Machine.long,
    ord("G"): lambda machine: machine.number(">d"),
    0x8C: lambda machine: machine.string("<B"),
    ord("X"): lambda machine: machine.string("<I"),
    ord("C"): lambda machine: machine.bytes("<B"),
    ord("B"): lambda machine: machine.bytes("<I"),
    ord("}"): lambda machine: machine.container(dict),
    ord("]"): lambda machine: machine.container(list),
    ord(")"): lambda machine: machine.container(tuple),
    0x85: lambda machine: machine.tuple_of(1),
    0x86: lambda machine: machine.tuple_of(2),
    0x87: lambda machine: machine.tuple_of(3),
    ord("t"): _Machine.tuple_to_mark,
    ord("a"): _Machine.append,
    ord("e"): _Machine.appends,
    ord("s"): _Machine.set_item,
    ord("u"): _Machine.set_items,
    0x94: _Machine.memoize,
    ord("h"): lambda machine: machine.recall("<B"),
    ord("j"): lambda machine: machine.recall("<I"),
    0x93: _Machine.name,
    ord("R"): _Machine.call,
}
