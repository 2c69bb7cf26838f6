"""Compiles a formula into prepared calls: NumPy's functions with the arrays that they read and
write, which are allocated in advance. Repeating the calls costs little more than the arithmetic.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ann.backends.blas import Call, equal_parts, prepare_axpby
from ann.backends.tracer import Operation, Symbol, trace

_LONG = 16  # rows per part; then one row more in some parts makes no difference

BY_NAME = (np.maximum, np.minimum)  # NumPy wants their ``out`` by name
_REDUCTIONS = {np.sum: np.add.reduce, np.max: np.maximum.reduce}


def prepare(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    outs: Sequence[np.ndarray],
    rooms: list[np.ndarray] | None = None,
) -> list[Call]:
    """Calls that compute outs = function(np, *arguments); see ``Backend.elementwise``.

    ``rooms`` are arrays for intermediate results, which several calls may use; new ones are
    appended. Raises an exception if the function cannot be traced.
    """
    tape, results = trace(function, *arguments)
    if len(results) != len(outs):
        raise ValueError(f"{len(results)} results for {len(outs)} outs")
    if len(outs) > 1:
        results = tuple(_copied(tape, result) for result in results)
    return _Schedule(tape, results, outs, [] if rooms is None else rooms).calls


def divide(
    function: Callable[..., Any], arguments: Sequence[Any], outs: Sequence[np.ndarray], parts: int
) -> list[tuple[list[Any], list[np.ndarray]]]:
    """Divide a formula into this many parts: the arguments and outs of each, which may be empty.

    If elements depend on each other, or there is only one, there is a single part. The arrays are split along the axis
    that is outermost in the memory of the first out. If that is short, like the axis of members,
    and cannot be split evenly, it is the next. Numbers, and arrays that are broadcast along the
    axis, are the same in each part.
    """
    first = outs[0]
    if parts == 1 or first.ndim == 0 or not by_element(function, arguments):
        return [([*arguments], [*outs])]
    axes = sorted(range(-first.ndim, 0), key=lambda axis: -first.strides[axis])
    lengths = first.shape
    fair = (axis for axis in axes if lengths[axis] % parts == 0 or lengths[axis] >= _LONG * parts)
    axis = next(fair, axes[0])

    def piece(array: Any, part: slice) -> Any:
        shape = getattr(array, "shape", ())
        if len(shape) < -axis or shape[axis] != lengths[axis]:
            return array
        return array[(..., part, *(slice(None),) * (-axis - 1))]

    return [
        ([piece(one, part) for one in arguments], [piece(out, part) for out in outs])
        for part in equal_parts(lengths[axis], parts)
    ]


def _copied(tape: list[Operation], result: Any) -> Any:
    """Copy a result that is an argument, because another result may overwrite the argument."""
    if not isinstance(result, Symbol) or result.array is None:
        return result
    copy = Symbol([], result.shape, result.dtype)
    tape.append(Operation(np.astype, (result,), (result.dtype,), copy))
    return copy


class _Schedule:
    """Decides where each result of a tape is stored, and makes the calls.

    A result is stored in its ``out``, or in an array whose contents are no longer needed. An
    ``out`` may also be an argument: nothing is written to it before all arguments that overlap with
    it have been read for the last time. From then on it may hold other results, until its own is
    written.
    """

    def __init__(
        self,
        tape: list[Operation],
        results: Sequence[Any],
        outs: Sequence[np.ndarray],
        rooms: list[np.ndarray],
    ) -> None:
        self.calls: list[Call] = []
        self._rooms = rooms
        self._results, self._outs = results, outs
        self._use(tape)
        self._use(_with_scaled_sums(tape, results, self._written_directly()))
        if not self._sums_fit():  # they read later, so another result may not go to its out now
            self._use(tape)
        # Each result's array, with the operation until which others may use it
        self._places: dict[Symbol, tuple[np.ndarray, int]] = {}
        ends = self._written_directly()
        lent = [(out, end) for end, out in ends.items()]
        starts = [self._first_write(array) for array, _ in lent]
        # Each array with the operation until which it is free
        free = [(room, len(self._tape)) for room in rooms]
        for index, operation in enumerate(self._tape):
            free += [one for one, start in zip(lent, starts, strict=True) if start == index]
            dying = [
                self._places[symbol]
                for symbol in {*operation.symbols}
                if symbol in self._places and self._last[symbol] == index
            ]
            if _in_place(operation):
                free += dying
            place = (ends[index], 0) if index in ends else self._take(free, operation, index)
            if not _in_place(operation):
                free += dying
            self._places[operation.result] = place
            self._emit(operation, place[0])
        for result, out in zip(results, outs, strict=True):
            source = self._array(result) if isinstance(result, Symbol) else np.asarray(result)
            if not _same(source, out):
                self.calls.append(partial(np.copyto, out, source, casting="unsafe"))

    def _use(self, tape: list[Operation]) -> None:
        """Set the tape and the last operation to read each symbol; results are read at the end."""
        self._tape = tape
        self._last: dict[Symbol, int] = {}
        for index, operation in enumerate(tape):
            self._last |= dict.fromkeys(operation.symbols, index)
        kept = [result for result in self._results if isinstance(result, Symbol)]
        self._last |= dict.fromkeys(kept, len(tape))

    def _first_write(self, out: np.ndarray) -> int:
        """The first operation that may write to an ``out``."""
        first = 0
        for symbol, last in self._last.items():
            if symbol.array is not None and np.may_share_memory(symbol.array, out):
                in_place = last < len(self._tape) and _in_place(self._tape[last])
                first = max(first, last if in_place and _same(symbol.array, out) else last + 1)
        return first

    def _written_directly(self) -> dict[int, np.ndarray]:
        """The operations that can write to an ``out`` directly, without a copy."""
        made = {operation.result: index for index, operation in enumerate(self._tape)}
        ends: dict[int, np.ndarray] = {}
        for result, out in zip(self._results, self._outs, strict=True):
            if isinstance(result, Symbol) and result in made:
                index = made[result]
                fits = (result.shape, result.dtype) == (out.shape, out.dtype)
                if fits and index not in ends and self._first_write(out) <= index:
                    ends[index] = out
        return ends

    def _sums_fit(self) -> bool:
        """Whether all scaled sums go to where their y is."""
        ends = self._written_directly()
        return all(
            index in ends and _same(ends[index], operation.inputs[1].array)
            for index, operation in enumerate(self._tape)
            if operation.function is prepare_axpby
        )

    def _take(
        self, free: list[tuple[np.ndarray, int]], operation: Operation, index: int
    ) -> tuple[np.ndarray, int]:
        """An array for a result: one that is free for long enough, or a new one."""
        result, last = operation.result, self._last.get(operation.result, index)
        inputs = map(self._array, operation.symbols)
        like = next((array for array in inputs if array.shape == result.shape), None)
        like = np.empty(result.shape) if like is None else like
        new = np.empty_like(like, dtype=result.dtype)  # in the same order in memory
        count = len(self._tape)
        for number, (array, end) in enumerate(free):
            alike = (array.shape, array.strides, array.dtype) == (new.shape, new.strides, new.dtype)
            in_time = last < end or (last == end < count and _in_place(self._tape[end]))
            if alike and in_time:
                return free.pop(number)
        self._rooms.append(new)
        return new, count

    def _array(self, symbol: Symbol) -> np.ndarray:
        return self._places[symbol][0] if symbol.array is None else symbol.array

    def _emit(self, operation: Operation, place: np.ndarray) -> None:
        """Add the calls that compute an operation's result."""
        function = operation.function
        values = [  # numbers as arrays, or NumPy would convert them in each call
            self._array(value) if isinstance(value, Symbol) else np.asarray(value, dtype=kind)
            for value, kind in zip(operation.inputs, operation.kinds, strict=True)
        ]
        if function is prepare_axpby:
            x, _, alpha, beta = (
                array if isinstance(value, Symbol) else float(value)
                for array, value in zip(values, operation.inputs, strict=True)
            )
            self.calls += prepare_axpby(x, place, alpha, beta)
        elif function is np.where:
            condition, x, y = values
            self.calls += (
                partial(np.copyto, place, y),
                partial(np.copyto, place, x, where=condition),
            )
        elif function is np.astype:
            self.calls.append(partial(np.copyto, place, values[0], casting="unsafe"))
        elif function in _REDUCTIONS:
            function = _REDUCTIONS[function]
            self.calls.append(partial(function, *values, axis=-1, keepdims=True, out=place))
        elif function in BY_NAME:
            self.calls.append(partial(function, *values, out=place))
        else:
            self.calls.append(partial(function, *values, place))


def _with_scaled_sums(
    tape: Sequence[Operation], results: Sequence[Any], ends: dict[int, np.ndarray]
) -> list[Operation]:
    """The tape with one operation, a pass of BLAS, for each alpha x + beta y that goes to y."""
    made = {operation.result: operation for operation in tape}
    uses = Counter(symbol for operation in tape for symbol in operation.symbols)
    uses.update(result for result in results if isinstance(result, Symbol))

    def term(symbol: Any) -> tuple[Any, Any]:
        """x, alpha for a product alpha x that is read only here; symbol, 1 for others."""
        operation = made.get(symbol)
        if operation and operation.function is np.multiply and uses[symbol] == 1:
            for alpha, x in (operation.inputs, operation.inputs[::-1]):
                if getattr(alpha, "shape", ()) == ():
                    return x, alpha
        return symbol, 1.0

    merged: list[Operation] = []
    products: set[Any] = set()
    for index, operation in enumerate(tape):
        merged.append(operation)
        dtype, is_sum = operation.result.dtype, operation.function in (np.add, np.subtract)
        if index not in ends or dtype.kind != "f" or not is_sum:
            continue
        out = ends[index]
        (x, alpha), (y, beta) = map(term, operation.inputs)
        read = {*operation.inputs} - {x, y}
        alike = [getattr(value, "dtype", dtype) == dtype for value in (x, y, alpha, beta)]
        whole = [getattr(value, "shape", ()) == out.shape for value in (x, y)]
        if not read or not all(alike + whole) or not _at(out, x, y):
            continue
        if operation.function is np.subtract and isinstance(beta, Symbol):
            negative = Symbol([], (), dtype)
            merged.insert(-1, Operation(np.negative, (beta,), (dtype,), negative))
            beta = negative
        elif operation.function is np.subtract:
            beta = -beta
        inputs = (x, y, alpha, beta) if _at(out, y) else (y, x, beta, alpha)
        merged[-1] = Operation(prepare_axpby, inputs, (dtype,) * 4, operation.result)
        products |= read
    return [operation for operation in merged if operation.result not in products]


def _at(out: np.ndarray, *symbols: Symbol) -> bool:
    """Whether exactly one of these is the array ``out``, and the others do not overlap with it."""
    arrays = [symbol.array for symbol in symbols if symbol.array is not None]
    overlapping = [array for array in arrays if np.may_share_memory(array, out)]
    return len(overlapping) == 1 and _same(overlapping[0], out)


def _in_place(operation: Operation) -> bool:
    """Whether the result may overwrite an input."""
    return operation.function is prepare_axpby or isinstance(operation.function, np.ufunc)


def _same(array: np.ndarray, other: np.ndarray) -> bool:
    """Whether they are the same numbers in the same memory."""
    left, right = (one.__array_interface__["data"][0] for one in (array, other))
    alike = (array.shape, array.strides, array.dtype) == (other.shape, other.strides, other.dtype)
    return left == right and alike


def by_element(function: Callable[..., Any], arguments: Sequence[Any]) -> bool:
    """Whether each element of the results depends on one element of each argument."""
    return all(operation.by_element for operation in trace(function, *arguments)[0])
