"""Formulas as lines of CUDA, from their traces (``tracer``).

The lines use only what Python and CUDA have in common, so that tests can compute them without a
GPU. Types and some functions have the prefix ``ann_``; the preamble defines them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.backends.base import Formula
from ann.backends.tracer import CLIP, Operation, Symbol, UntraceableError, trace

_INFIX = {
    np.add: "+",
    np.subtract: "-",
    np.multiply: "*",
    np.divide: "/",
    np.greater: ">",
    np.greater_equal: ">=",
    np.less: "<",
    np.less_equal: "<=",
    np.equal: "==",
    np.not_equal: "!=",
    np.bitwise_and: "&",
    np.bitwise_or: "|",
    np.bitwise_xor: "^",
    np.bitwise_left_shift: "<<",
    np.bitwise_right_shift: ">>",
}
_OF_FLOATS = (
    *(np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.floor, np.ceil),
    *(np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh),
)
_CALLS = {
    **{function: function.__name__ for function in _OF_FLOATS},
    np.arctan: "atan",
    np.absolute: "fabs",
    np.power: "pow",
    np.square: "ann_square",
    np.reciprocal: "ann_reciprocal",
    np.maximum: "ann_maximum",
    np.minimum: "ann_minimum",
    CLIP: "ann_clip",
    np.where: "ann_where",
}
_ANY_TYPE = (np.maximum, np.minimum, CLIP, np.where, np.square)  # others of _CALLS: floats

_C_TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}
PREAMBLE = "\n".join(
    [
        *(f"typedef {c_type} ann_{name};" for name, c_type in _C_TYPES.items()),
        "#define ANN template <class T> __device__ T",
        "ANN ann_square(T x) { return x * x; }",
        "ANN ann_reciprocal(T x) { return T(1) / x; }",
        # a != a: NaN, which NumPy returns if one of both is NaN
        "ANN ann_maximum(T a, T b) { return a > b || a != a ? a : b; }",
        "ANN ann_minimum(T a, T b) { return a < b || a != a ? a : b; }",
        "ANN ann_clip(T x, T low, T high) { return ann_minimum(ann_maximum(x, low), high); }",
        "ANN ann_where(bool condition, T a, T b) { return condition ? a : b; }",
        "ANN ann_quotient(T a, T b) { return a / b; }",
    ]
)


@dataclass(frozen=True)
class Line:
    """One value of a formula, as text.

    Attributes:
        text: the expression, in which {0}, {1}, ... are the formula's arrays, and then the values
            of its lines. For a sum or maximum along the last axis, {0} and {1} are the sum of some
            elements and the next element.
        dtype: of the value.
        summed: the number of the value that is summed; None if this is no sum or maximum.
        repeated: the lines that compute it, to be repeated for each element of the row.
    """

    text: str
    dtype: str
    summed: int | None = None
    repeated: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class CudaFormula:
    """A formula as text. The results are lines, too."""

    name: str
    lines: list[Line]
    results: list[Line]

    @property
    def by_element(self) -> bool:
        """Whether results depend on one element of each array, not on the row."""
        return all(line.summed is None for line in self.lines)


def translate(function: Formula, arguments: Sequence[Any]) -> CudaFormula:
    """A formula for arguments like these host arrays and numbers."""
    tape, results = trace(function, *arguments)
    arrays = [array for array in arguments if isinstance(array, np.ndarray)]
    places = {id(array): number for number, array in enumerate(arrays)}
    places |= {id(one.result): number for number, one in enumerate(tape, start=len(arrays))}

    def place(symbol: Symbol) -> int | None:
        """The number of the value; None for a constant."""
        return places.get(id(symbol) if symbol.array is None else id(symbol.array))

    def text(value: Any, dtype: str) -> str:
        """A number or symbol as an expression of this dtype."""
        if isinstance(value, Symbol):
            if place(value) is not None:
                return cast(f"{{{place(value)}}}", value.dtype.name, dtype)
            value = value.array
        number = value.item() if isinstance(value, np.generic | np.ndarray) else value
        if not math.isfinite(number):
            raise UntraceableError("a number that is not finite")
        return f"ann_{dtype}({int(number) if isinstance(number, bool) else repr(number)})"

    lines = []
    # For each value, the lines that compute it, without sums, which are the same for a whole row
    needed: list[set[int]] = [set() for _ in arrays]
    for number, one in enumerate(tape, start=len(arrays)):
        dtype = one.result.dtype.name
        before = [place(symbol) for symbol in one.symbols]
        if one.by_element:
            kinds = [kind.name for kind in one.kinds]
            inputs = [text(value, kind) for value, kind in zip(one.inputs, kinds, strict=True)]
            lines.append(Line(_expression(one, inputs), dtype))
            needed.append({number}.union(*(needed[n] for n in before if n is not None)))
        else:
            (summed,) = before
            if summed is None or one.symbols[0].shape[-1] == 1:
                raise UntraceableError("the sum of numbers that are the same for a whole row")
            each = "{0} + {1}" if one.function is np.sum else "ann_maximum({0}, {1})"
            lines.append(Line(each, dtype, summed, tuple(sorted(needed[summed]))))
            needed.append(set())
    dtypes = [one.dtype.name if isinstance(one, Symbol) else "float64" for one in results]
    name = getattr(function, "__name__", "formula").strip("_")
    pairs = zip(results, dtypes, strict=True)
    return CudaFormula(name, lines, [Line(text(one, dtype), dtype) for one, dtype in pairs])


def _expression(operation: Operation, inputs: Sequence[str]) -> str:
    function, kinds = operation.function, operation.kinds
    if function in _INFIX:
        return f"{inputs[0]} {_INFIX[function]} {inputs[1]}"
    if function is np.negative:
        return f"-{inputs[0]}"
    if function is np.astype:
        return cast(inputs[0], kinds[0].name, operation.result.dtype.name)
    if function in _CALLS and (function in _ANY_TYPE or kinds[0].kind == "f"):
        return f"{_CALLS[function]}({', '.join(inputs)})"
    raise UntraceableError(f"the function {function.__name__}")


def cast(name: str, dtype: str, to: str) -> str:
    """A variable of one dtype as an expression of another."""
    return name if dtype == to else f"ann_{to}({name})"


def side_by_side(
    reads: Sequence[str], writes: Sequence[str], bodies: Sequence[Sequence[str]]
) -> tuple[str, str, str]:
    """A kernel's declarations and body, from lines for element e of each block."""
    blocks = []
    for number, lines in enumerate(bodies):
        test = f"if (i < n{number}) " if number < len(bodies) - 1 else ""
        element = f"const ann_int64 e = i{f' - n{number - 1}' if number else ''};"
        blocks.append("\n".join([test + "{", element, *lines, "}"]))
    ends = [f"int64 n{number}" for number in range(len(bodies) - 1)]
    return ", ".join([*reads, *ends]), ", ".join(writes), "\nelse ".join(blocks)
