"""Reads pickles of plain values and arrays without executing them. A pickle is a program for a
small stack machine, and Python's own reader lets it call any function. This one knows only the
instructions that build plain values. It imports nothing, calls nothing, and allocates little more
than the size of the file. ``arrays`` builds NumPy's arrays.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from ann.errors import printable
from ann.files.pickle.arrays import NAMES, ArrayCalls, Data, Name, Symbol, Text, Type
from ann.files.pickle.values import leaves

# Limits for one file; a model file of this package needs a few hundred instructions.
_MAX_INSTRUCTIONS = 100_000
_MAX_STRING = 2**16
_MAX_TEXT = 2**20  # all strings together, counted each time they are used

_PROTOCOLS = (2, 3, 4, 5)


def read_pickle(data: bytes) -> Any:
    """The value in a pickle of protocol 2 to 5.

    It may hold None, bools, ints of up to 8 bytes, floats, strings, lists, tuples, dicts with
    string keys, and arrays of float32, float64, uint8 or int64, as NumPy 1 and 2 pickle them or
    written as ``numpy.ndarray(shape, "<f4", bytes)``. The arrays are read-only views of ``data``.
    Strings of Python 2 are only understood within arrays.

    Raises:
        ValueError: it holds anything else; the message says what and where.
    """
    return _Machine(data).run()


class _Mark(Symbol):
    """Marks where the items of a container begin."""


_MARK = _Mark()


class _Machine:
    def __init__(self, data: bytes) -> None:
        self._data, self._position = memoryview(data), 0
        self._stack: list[Any] = []
        self._memo: list[Any] = []
        self._text, self._arrays = 0, ArrayCalls()

    def run(self) -> Any:
        if bytes(self._data[:2]) not in (bytes((0x80, protocol)) for protocol in _PROTOCOLS):
            raise ValueError(f"it is not a pickle of protocol {_PROTOCOLS[0]} to {_PROTOCOLS[-1]}")
        self._position = 2
        for _ in range(_MAX_INSTRUCTIONS):
            start = self._position
            opcode = self._take(1)[0]
            instruction = f"pickle instruction 0x{opcode:02x} at byte {start}"
            if opcode != _STOP and opcode not in _INSTRUCTIONS:
                raise ValueError(f"forbidden {instruction}")
            try:
                if opcode == _STOP:
                    return self.result()
                _INSTRUCTIONS[opcode](self)
            except (IndexError, TypeError, UnicodeError):
                raise ValueError(f"broken {instruction}") from None
        raise ValueError(f"more than {_MAX_INSTRUCTIONS} pickle instructions")

    # Bytes and the stack

    def _take(self, count: int) -> memoryview:
        chunk = self._data[self._position : self._position + count]
        if len(chunk) != count:
            raise ValueError(f"it ends at byte {len(self._data)}, in the middle")
        self._position += count
        return chunk

    def _number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _top(self, kind: type) -> Any:
        """The container on top of the stack, which must be of this type."""
        if type(self._stack[-1]) is not kind:
            raise TypeError
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def result(self) -> Any:
        value = self._stack.pop()
        if self._stack or self._position != len(self._data):
            raise ValueError("bytes or values are left over at its end")
        if any(isinstance(leaf, Symbol) for leaf in leaves(value)):
            raise TypeError
        return value

    # Instructions

    def frame(self) -> None:
        self._take(8)  # the number of bytes that follow: a hint for buffered readers

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def number(self, code: str) -> None:
        self.push(self._number(code))

    def long(self) -> None:
        length = self._number("<B")
        if length > 8:
            raise ValueError("an integer of more than 8 bytes")
        self.push(int.from_bytes(self._take(length), "little", signed=True))

    def string(self, length_code: str) -> None:
        length = self._number(length_code)
        view = self._take(length)
        if length > _MAX_STRING:
            self.push(Text(view))
        else:
            self._count_text(length)
            self.push(str(view, "utf-8"))

    def _count_text(self, length: int) -> None:
        self._text += length
        if self._text > _MAX_TEXT:
            raise ValueError(f"strings of more than {_MAX_TEXT} bytes in all")

    def bytes(self, length_code: str) -> None:
        self.push(Data(self._take(self._number(length_code))))

    def tuple_of(self, count: int) -> None:
        items = [self._stack.pop() for _ in range(count)]
        self.push(tuple(items[::-1]))

    def tuple_to_mark(self) -> None:
        self.push(tuple(self._pop_to_mark()))

    def append(self) -> None:
        item = self._stack.pop()
        self._top(list).append(item)

    def appends(self) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
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

    def put(self, code: str) -> None:
        number = self._number(code)
        if number == 1 and not self._memo:  # Python 2 counts from 1
            self._memo.append(_MARK)
        if number != len(self._memo):  # a large number would cost memory
            raise IndexError
        self.memoize()

    def recall(self, code: str) -> None:
        value = self._memo[self._number(code)]
        is_byte = type(value) is Data and len(value.view) == 1
        if type(value) not in (str, Name, Type) and not is_byte:
            # containers could contain themselves or grow exponentially; arrays would be copied
            raise ValueError("something other than a string is used twice")
        if type(value) is str:
            self._count_text(len(value))
        self.push(value)

    def name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._named(module, name)

    def name_in_line(self) -> None:
        self._named(self._line(), self._line())

    def _line(self) -> str:
        ahead = bytes(self._data[self._position : self._position + 100])
        line, end, _ = ahead.partition(b"\n")
        if not end:
            raise ValueError(f"a name without an end at byte {self._position}")
        self._position += len(line) + 1
        return line.decode("utf-8")

    def _named(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError
        if (module, name) not in NAMES:
            names = f"{printable(module)}, {printable(name)}"
            raise ValueError(f"it names {names}, and only NumPy's arrays are allowed")
        self.push(Name(NAMES[module, name]))

    def _pop_arguments(self) -> tuple[Any, ...]:
        items = self._stack.pop()
        if type(items) is not tuple or any(isinstance(item, np.ndarray) for item in items):
            raise TypeError
        return items

    def call(self) -> None:
        arguments, function = self._pop_arguments(), self._stack.pop()
        self.push(self._arrays.call(function, arguments))

    def build(self) -> None:
        state = self._pop_arguments()
        self._stack[-1] = self._arrays.build(self._stack[-1], state)


_STOP = ord(".")
_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    0x95: _Machine.frame,
    ord("("): lambda machine: machine.push(_MARK),
    ord("N"): lambda machine: machine.push(None),
    0x88: lambda machine: machine.push(True),
    0x89: lambda machine: machine.push(False),
    ord("K"): lambda machine: machine.number("<B"),
    ord("M"): lambda machine: machine.number("<H"),
    ord("J"): lambda machine: machine.number("<i"),
    0x8A: _Machine.long,
    ord("G"): lambda machine: machine.number(">d"),
    0x8C: lambda machine: machine.string("<B"),
    ord("X"): lambda machine: machine.string("<I"),
    ord("U"): lambda machine: machine.bytes("<B"),
    ord("T"): lambda machine: machine.bytes("<I"),
    ord("C"): lambda machine: machine.bytes("<B"),
    ord("B"): lambda machine: machine.bytes("<I"),
    0x8E: lambda machine: machine.bytes("<Q"),
    0x96: lambda machine: machine.bytes("<Q"),
    ord("}"): lambda machine: machine.push({}),
    ord("]"): lambda machine: machine.push([]),
    ord(")"): lambda machine: machine.push(()),
    0x85: lambda machine: machine.tuple_of(1),
    0x86: lambda machine: machine.tuple_of(2),
    0x87: lambda machine: machine.tuple_of(3),
    ord("t"): _Machine.tuple_to_mark,
    ord("a"): _Machine.append,
    ord("e"): _Machine.appends,
    ord("s"): _Machine.set_item,
    ord("u"): _Machine.set_items,
    0x94: _Machine.memoize,
    ord("q"): lambda machine: machine.put("<B"),
    ord("r"): lambda machine: machine.put("<I"),
    ord("h"): lambda machine: machine.recall("<B"),
    ord("j"): lambda machine: machine.recall("<I"),
    ord("c"): _Machine.name_in_line,
    0x93: _Machine.name,
    ord("R"): _Machine.call,
    ord("b"): _Machine.build,
}
