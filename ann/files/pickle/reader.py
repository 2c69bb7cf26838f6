"""Reads pickles of plain values and arrays without executing them. A pickle is a program for a
small stack machine, and Python's own reader lets it call any function. This reader knows only the
instructions that build plain values. It imports nothing, calls nothing, and allocates little more
than the size of the file. ``arrays`` builds NumPy's arrays.
"""

import pickletools  # a table of the instructions
import struct
from typing import Any

import numpy as np

from ann.errors import printable
from ann.files.pickle.arrays import NAMES, Data, Name, Symbol, Text, Type, build, call
from ann.files.pickle.values import leaves

# Limits for one file; a model file of this package needs a few hundred instructions.
_MAX_INSTRUCTIONS = 100_000
_MAX_STRING = 2**16
_MAX_TEXT = 2**20  # all strings together, counted each time they are used
_MAX_LATIN1 = 2**24  # bytes of all arrays that are written as strings, as in protocol 2

_PROTOCOLS = (2, 3, 4, 5)
_INSTRUCTIONS = {ord(known.code): known for known in pickletools.opcodes}
# The ``struct`` codes of numbers, by their names in ``pickletools``
_NUMBERS = {"uint1": "B", "uint2": "<H", "uint4": "<I", "uint8": "<Q", "int4": "<i", "float8": ">d"}
_MARK = Symbol()  # on the stack, where the items of a container begin


def read_pickle(data: bytes | memoryview) -> Any:
    """The value in a pickle of protocol 2 to 5.

    It may hold None, bools, ints of up to 8 bytes, floats, strings, lists, tuples, dicts with
    string keys, and arrays of float32, float64, uint8 or int64, as NumPy 1 and 2 pickle them or
    written as ``numpy.ndarray(shape, "<f4", bytes)``. The arrays are read-only views of ``data``.
    Strings of Python 2 are only understood within arrays.

    Raises:
        ValueError: it holds anything else; the message says what and where.
    """
    return _Machine(data).run()


class _Machine:
    """The stack machine. ``run`` executes the pickle and returns its value."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data, self._position = memoryview(data), 0
        self._stack: list[Any] = []
        self._memo: list[Any] = []
        self._text = self._latin1 = 0  # bytes of strings so far

    def run(self) -> Any:
        if bytes(self._data[:2]) not in (bytes((0x80, protocol)) for protocol in _PROTOCOLS):
            raise ValueError(f"it is not a pickle of protocol {_PROTOCOLS[0]} to {_PROTOCOLS[-1]}")
        self._position = 2
        for _ in range(_MAX_INSTRUCTIONS):
            start = self._position
            byte = self._take(1)[0]
            instruction = f"pickle instruction 0x{byte:02x} at byte {start}"
            known = _INSTRUCTIONS.get(byte)
            try:
                if known and known.name == "STOP":
                    return self._result()
                allowed = known and self._execute(known.name, self._argument(known.arg))
            except (IndexError, TypeError, UnicodeError):
                raise ValueError(f"broken {instruction}") from None
            if not allowed:
                raise ValueError(f"forbidden {instruction}")
        raise ValueError(f"more than {_MAX_INSTRUCTIONS} pickle instructions")

    def _execute(self, name: str, argument: Any) -> bool:
        """Execute an instruction. Returns False if it is not allowed."""
        stack = self._stack
        match name:
            case "FRAME":
                pass  # the number of bytes that follow: a hint for buffered readers
            case "MARK":
                stack.append(_MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "BININT1" | "BININT2" | "BININT" | "BINFLOAT":
                stack.append(argument)
            case "LONG1":
                if len(argument) > 8:
                    raise ValueError("an integer of more than 8 bytes")
                stack.append(int.from_bytes(argument, "little", signed=True))
            case "SHORT_BINUNICODE" | "BINUNICODE":
                stack.append(self._string(argument))
            case "SHORT_BINBYTES" | "BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(Data(argument))
            case "SHORT_BINSTRING" | "BINSTRING":  # as Python 2 writes bytes
                stack.append(Data(argument))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(items[::-1]))
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._update([key, value])
            case "SETITEMS":
                self._update(self._pop_to_mark())
            case "MEMOIZE":
                self._memo.append(stack[-1])
            case "BINPUT" | "LONG_BINPUT":
                self._put(argument)
            case "BINGET" | "LONG_BINGET":
                stack.append(self._recalled(argument))
            case "GLOBAL":
                stack.append(_named(self._line(), self._line()))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(module, name))
            case "REDUCE":
                arguments = self._pop_arguments()
                stack.append(call(stack.pop(), arguments))
            case "BUILD":
                state = self._pop_arguments()
                stack[-1] = build(stack[-1], state)
            case _:
                return False
        return True

    # Bytes

    def _take(self, count: int) -> memoryview:
        chunk = self._data[self._position : self._position + count]
        if len(chunk) != count:
            raise ValueError(f"it ends at byte {len(self._data)}, in the middle")
        self._position += count
        return chunk

    def _number(self, name: str) -> Any:
        code = _NUMBERS[name]
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _argument(self, kind: Any) -> Any:
        """A number, or the bytes that follow their length; None if there is neither."""
        name = kind.name if kind else ""
        if name in _NUMBERS:
            return self._number(name)
        length = f"uint{name[-1:]}"  # that of "bytes4" is a "uint4"
        return self._take(self._number(length)) if length in _NUMBERS else None

    def _string(self, view: memoryview) -> str | Text:
        if len(view) > _MAX_STRING:
            self._latin1 += len(view)
            if self._latin1 > _MAX_LATIN1:
                most = f"{_MAX_LATIN1} bytes in all"
                raise ValueError(f"arrays written as strings of more than {most}")
            return Text(view)
        self._count_text(len(view))
        return str(view, "utf-8")

    def _count_text(self, length: int) -> None:
        self._text += length
        if self._text > _MAX_TEXT:
            raise ValueError(f"strings of more than {_MAX_TEXT} bytes in all")

    def _line(self) -> str:
        ahead = bytes(self._data[self._position : self._position + 100])
        line, end, _ = ahead.partition(b"\n")
        if not end:
            raise ValueError(f"a name without an end at byte {self._position}")
        self._position += len(line) + 1
        return line.decode("utf-8")

    # The stack and the memo

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _pop_arguments(self) -> tuple[Any, ...]:
        items = self._stack.pop()
        if type(items) is not tuple or any(isinstance(item, np.ndarray) for item in items):
            raise TypeError
        return items

    def _extend(self, items: list[Any]) -> None:
        """Append items to the list on top of the stack."""
        if type(self._stack[-1]) is not list:
            raise TypeError
        self._stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        """Add keys and values, one after another, to the dict on top of the stack."""
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str or key in target:
                raise TypeError
            target[key] = value

    def _put(self, number: int) -> None:
        if number == 1 and not self._memo:  # Python 2 counts from 1
            self._memo.append(None)
        if number != len(self._memo):  # a large number would cost memory
            raise IndexError
        self._memo.append(self._stack[-1])

    def _recalled(self, number: int) -> Any:
        value = self._memo[number]
        is_byte = type(value) is Data and len(value.view) == 1
        if type(value) not in (str, Name, Type) and not is_byte:
            # containers could contain themselves or grow exponentially; arrays would be copied
            raise ValueError("something other than a string is used twice")
        if type(value) is str:
            self._count_text(len(value))
        return value

    def _result(self) -> Any:
        value = self._stack.pop()
        if self._stack or self._position != len(self._data):
            raise ValueError("bytes or values are left over at its end")
        if any(isinstance(leaf, Symbol) for leaf in leaves(value)):
            raise TypeError
        return value


def _named(module: Any, name: Any) -> Name:
    if type(module) is not str or type(name) is not str:
        raise TypeError
    if (module, name) not in NAMES:
        names = f"{printable(module)}, {printable(name)}"
        raise ValueError(f"it names {names}, and only NumPy's arrays are allowed")
    return Name(NAMES[module, name])
