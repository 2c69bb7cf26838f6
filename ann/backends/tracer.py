"""Traces formulas. Called once with symbols instead of arrays, a formula written with operators
leaves a tape, the list of its operations. From the tape come prepared calls (``elementwise``), ONNX
nodes and JavaScript (``ann.export``).

Every operator is a ufunc. If an argument of a ufunc or function is not an array, NumPy calls the
argument's ``__array_ufunc__`` or ``__array_function__`` instead. So nothing is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CLIP = np._core.umath.clip  # type: ignore[attr-defined]  # np.clip without its overhead
_POWERS = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}  # as NumPy computes them for arrays

_NUMERIC = "biuf"  # the kinds of types that hold real numbers


class UntraceableError(Exception):
    """The formula uses something other than operations on whole arrays."""


@dataclass(eq=False)
class Operation:
    """One line of a tape.

    Attributes:
        function: a ufunc, ``np.where`` or ``np.astype``; or ``np.sum`` or ``np.max`` along the last
            axis, with keepdims.
        inputs: symbols, and Python or NumPy numbers.
        kinds: the dtypes in which the inputs are read.
        result: the symbol of the result.
    """

    function: Any
    inputs: tuple[Any, ...]
    kinds: tuple[np.dtype, ...]
    result: "Symbol"

    @property
    def symbols(self) -> list["Symbol"]:
        """The inputs that are symbols."""
        return [value for value in self.inputs if isinstance(value, Symbol)]

    @property
    def by_element(self) -> bool:
        """Whether each element of the result depends on one element of each input."""
        return self.function not in (np.sum, np.max)


class Symbol(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for an array: an argument of the formula, or the result of an operation.

    Attributes:
        tape: the operations recorded until now.
        array: the array, if it is an argument.
    """

    __slots__ = ("array", "dtype", "ndim", "shape", "tape")  # y.flat = 0 is an error

    def __init__(
        self, tape: list[Operation], shape: tuple[int, ...], dtype: Any, array: Any = None
    ) -> None:
        self.tape, self.array = tape, array
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(dtype)

    __hash__ = object.__hash__  # == is an operation, too

    def __bool__(self) -> bool:
        raise UntraceableError("a decision that depends on a value")

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> "Symbol":
        if method != "__call__" or options or ufunc.nout != 1 or ufunc.signature:
            raise UntraceableError(f"the function {ufunc.__name__} with {[method, *options]}")
        if ufunc is np.power and type(inputs[1]) in (int, float) and inputs[1] in _POWERS:
            ufunc, inputs = _POWERS[inputs[1]], inputs[:1]
        *kinds, dtype = ufunc.resolve_dtypes((*map(_kind, inputs), None))
        return self.operation(ufunc, inputs, tuple(kinds), dtype)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        if function not in _RULES:
            raise UntraceableError(f"the function {function.__name__}")
        return _RULES[function](*inputs, **options)

    def operation(self, function: Any, inputs: Any, kinds: Any, dtype: Any) -> "Symbol":
        """Add an operation to the tape; returns its result."""
        inputs = tuple(symbol_of(self.tape, value) for value in inputs)
        if not all(map(_is_numeric, inputs)) or np.dtype(dtype).kind not in _NUMERIC:
            name = function.__name__
            raise UntraceableError(f"the function {name} of something that is not a number")
        shape = np.broadcast_shapes(*(getattr(value, "shape", ()) for value in inputs))
        if function in (np.sum, np.max):
            shape = (*shape[:-1], 1)
        result = Symbol(self.tape, shape, dtype)
        self.tape.append(Operation(function, inputs, kinds, result))
        return result


def symbol_of(tape: list[Operation], value: Any) -> Any:
    """A symbol for an array; numbers and symbols are returned unchanged."""
    if isinstance(value, np.ndarray):
        return Symbol(tape, value.shape, value.dtype, value)
    return value


def trace(function: Callable[..., Any], *arguments: Any) -> tuple[list[Operation], tuple[Any, ...]]:
    """The tape of function(np, *arguments), and its results: symbols, or numbers.

    Raises UntraceableError, or the exception that the function raises when it gets symbols.
    """
    tape: list[Operation] = []
    try:
        results = function(np, *(symbol_of(tape, argument) for argument in arguments))
        results = results if isinstance(results, tuple) else (results,)
        results = tuple(symbol_of(tape, result) for result in results)
        if not all(map(_is_numeric, results)):
            raise UntraceableError("a result that is not a number")
        return tape.copy(), results
    finally:  # symbols refer to the tape, and such a cycle would keep the arrays alive
        tape.clear()


def _is_numeric(value: Any) -> bool:
    """Whether it is a number, or a symbol for an array of numbers."""
    dtype = getattr(value, "dtype", np.dtype(object))
    return isinstance(value, int | float) or dtype.kind in _NUMERIC


def _kind(value: Any) -> Any:
    """An input as NumPy's type promotion sees it: Python numbers adapt to the arrays."""
    if type(value) in (int, float):
        return type(value)
    return np.dtype(getattr(value, "dtype", type(value)))


def _clip(x: Any, low: Any, high: Any) -> Any:
    if high is None:
        return np.maximum(x, low)
    return np.minimum(x, high) if low is None else CLIP(x, low, high)


def _where(condition: Symbol, x: Any, y: Any) -> Symbol:
    if condition.dtype != bool:
        raise UntraceableError("the function where with a condition that is not true or false")
    *_, dtype = np.add.resolve_dtypes((_kind(x), _kind(y), None))
    return condition.operation(np.where, (condition, x, y), (np.dtype(bool), dtype, dtype), dtype)


def _constant(x: Symbol, value: Any) -> Symbol:
    """A 0-d array for an array like x with one value everywhere; it has no axis to sum."""
    return Symbol(x.tape, (), x.dtype, np.asarray(value, dtype=x.dtype))


def _reduction(function: Any) -> Callable[..., Symbol]:
    def rule(x: Symbol, axis: int, keepdims: bool) -> Symbol:
        if axis != -1 or not keepdims or x.dtype.kind != "f" or x.ndim == 0:
            raise UntraceableError(f"the function {function.__name__} along other axes than -1")
        return x.operation(function, (x,), (x.dtype,), x.dtype)

    return rule


_RULES: dict[Any, Callable[..., Any]] = {
    np.clip: _clip,
    np.where: _where,
    np.astype: lambda x, dtype: x.operation(np.astype, (x,), (x.dtype,), dtype),
    np.sum: _reduction(np.sum),
    np.max: _reduction(np.max),
    np.ones_like: lambda x: _constant(x, 1),
    np.zeros_like: lambda x: _constant(x, 0),
    np.full_like: _constant,
}
