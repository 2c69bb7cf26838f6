"""CUDA kernels for elementwise work. Starting a kernel takes longer than the arithmetic of a small
network, so as much as possible is put into one: work on the same elements, whose intermediate
results stay in registers, and independent work side by side.

A formula is traced (``tracer``), and each of its operations becomes a line of CUDA. The lines use
only what Python and CUDA have in common, so that tests can compute them without a GPU.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np

from ann.backends.base import Array, Formula
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

_LONGEST_SUM = 64  # each thread computes the whole row

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
_PREAMBLE = "\n".join(
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
class View:
    """Where the elements of an array are, in the order in which a kernel visits them.

    Attributes:
        array: the same memory, with as few axes as possible.
        low, high: the first address, and the one after the last.
        key: equal for views of the same elements in the same order.
    """

    array: Array
    low: int
    high: int
    key: Any

    def overlaps(self, other: "View") -> bool:
        """Whether both may contain the same memory."""
        return self.low < other.high and other.low < self.high


@dataclass(frozen=True)
class Rows:
    """An argument: the rows of a source with these indices."""

    source: View
    indices: View
    width: int


@dataclass
class Work:
    """outs = formula(*arguments), for each element.

    Attributes:
        shape: of each of the outs.
        formula: what to compute.
        arguments: the formula's arrays.
        outs: where the results go.
        plainly: does the same without a kernel of ours.
    """

    shape: Sequence[int]
    formula: "Lines"
    arguments: Sequence[View | Rows]
    outs: Sequence[View]
    plainly: Callable[[], object]
    # What is read at the element that is written, and what is read anywhere
    here: list[View] = field(init=False)
    anywhere: list[View] = field(init=False)

    def __post_init__(self) -> None:
        rows = [one for one in self.arguments if isinstance(one, Rows)]
        self.here = [one for one in self.arguments if isinstance(one, View)]
        self.here += [one.indices for one in rows if one.width == 1]
        self.anywhere = [one.source for one in rows]
        self.anywhere += [one.indices for one in rows if one.width > 1]
        if not self.formula.by_element:
            self.here, self.anywhere = [], self.reads
        self.size = math.prod(self.shape)

    @property
    def reads(self) -> list[View]:
        """Everything that is read."""
        return [*self.here, *self.anywhere]

    def can_follow(self, other: "Work") -> bool:
        """Whether a kernel may do this for each element after the other work for this element."""
        return (
            self.size == other.size
            and not _conflict(self.outs, other.anywhere)
            and not _conflict(other.outs, self.anywhere)
            and not _conflict(self.outs, [*other.here, *other.outs], unless_same=True)
            and not _conflict(other.outs, self.here, unless_same=True)
        )


def _conflict(
    written: Sequence[View], others: Sequence[View], *, unless_same: bool = False
) -> bool:
    return any(
        one.overlaps(other) and not (unless_same and one.key == other.key)
        for one in written
        for other in others
    )


def independent(
    reads: Sequence[View], writes: Sequence[View], others: Sequence[View], written: Sequence[View]
) -> bool:
    """Whether work may change places with other work, which reads ``others``."""
    return not _conflict(writes, [*others, *written]) and not _conflict(written, reads)


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


@dataclass(frozen=True)
class Lines:
    """A formula as text. The results are lines, too."""

    name: str
    lines: list[Line]
    results: list[Line]

    @property
    def by_element(self) -> bool:
        """Whether results depend on one element of each array, not on the row."""
        return all(line.summed is None for line in self.lines)


class Kernels:
    """Makes kernels, and keeps them for later work of the same kind."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._kernels: dict[Any, Any] = {}
        self._formulas: dict[Any, Lines | None] = {}

    def elementwise(
        self,
        function: Formula,
        arrays: Sequence[Any],
        outs: Sequence[Array],
        plainly: Callable[[], object],
    ) -> Work | None:
        """See ``Backend.elementwise``. None if the formula cannot be part of a kernel."""
        formula = self._lines(function, arrays)
        shape = outs[0].shape
        arrays = [array for array in arrays if not isinstance(array, int | float)]
        fit = all(np.broadcast_shapes(array.shape, shape) == shape for array in arrays)
        if formula is None or not fit or any(out.shape != shape for out in outs):
            return None
        axes = _memory_order(outs[0])
        views = [self._view(array, shape, axes) for array in (*arrays, *outs)]
        reads, writes = views[: len(arrays)], views[len(arrays) :]
        if not formula.by_element and (
            shape[-1] > _LONGEST_SUM or axes != [*range(len(shape))] or _conflict(writes, reads)
        ):
            return None
        return Work(shape, formula, reads, writes, plainly)

    def take(
        self, source: Array, indices: Array, out: Array, plainly: Callable[[], object]
    ) -> Work | None:
        """out = source[indices], for arrays that are in order in memory; otherwise None."""
        if not all(array.flags.c_contiguous for array in (source, indices, out)):
            return None
        formula = self._lines(copied, (out,))
        if formula is None:
            return None
        of_source, of_indices, of_out = (
            self._view(array, array.shape, range(array.ndim)) for array in (source, indices, out)
        )
        rows = Rows(of_source, of_indices, math.prod(source.shape[1:]))
        return Work(out.shape, formula, [rows], [of_out], plainly)

    def run(self, blocks: Sequence[Sequence[Work]]) -> None:
        """Do the work of all blocks in one kernel; in each block, one after the other."""
        source = _Source(blocks)
        kernels, text = self._kernels, source.text
        if kernels.get(text, True):
            try:
                if text not in kernels:
                    kernels[text] = self.xp.ElementwiseKernel(
                        *text, source.name, preamble=_PREAMBLE
                    )
                kernels[text](*source.reads, *source.ends, *source.writes, size=source.size)
                return
            except Exception:  # it may have too many arguments
                kernels[text] = None
        for block in blocks:
            for work in block:
                work.plainly()

    def _lines(self, function: Formula, arguments: Sequence[Any]) -> Lines | None:
        """The formula as text; None if it cannot be traced or translated."""
        kinds = [
            value if isinstance(value, int | float) else (value.dtype, value.shape)
            for value in arguments
        ]
        key = (_function_key(function), *((type(kind), kind) for kind in kinds))
        if key not in self._formulas:
            samples = [
                np.broadcast_to(np.empty((), kind[0]), kind[1]) if isinstance(kind, tuple) else kind
                for kind in kinds
            ]
            try:
                self._formulas[key] = _translated(function, samples)
            except Exception:  # if the function is wrong, calling it raises its error
                self._formulas[key] = None
        return self._formulas[key]

    def _view(self, array: Array, shape: Sequence[int], axes: Sequence[int]) -> View:
        """The view of an array that is broadcast to a shape whose axes are visited in this order."""
        missing = len(shape) - array.ndim
        strides = [0] * missing + [
            0 if own == 1 else stride
            for own, stride in zip(array.shape, array.strides, strict=True)
        ]
        merged: list[tuple[int, int]] = []  # (length, stride)
        for axis in axes:
            length, stride = shape[axis], strides[axis]
            if merged and merged[-1][1] == length * stride:
                merged[-1] = merged[-1][0] * length, stride
            elif length != 1:
                merged.append((length, stride))
        if not any(stride for _, stride in merged):  # one number for all
            merged = [(1, array.itemsize)]
        lengths, steps = zip(*merged, strict=True)
        low = array.data.ptr
        high = low + array.itemsize + sum((n - 1) * step for n, step in merged)
        same = self.xp.lib.stride_tricks.as_strided(array, lengths, steps)
        return View(same, low, high, (low, lengths, steps, array.dtype.name))


def _translated(function: Formula, arguments: Sequence[Any]) -> Lines:
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
                return _cast(f"{{{place(value)}}}", value.dtype.name, dtype)
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
    return Lines(name, lines, [Line(text(one, dtype), dtype) for one, dtype in pairs])


class _Body:
    """The lines of a kernel that do the work of a block, for element e.

    Args:
        names: of the arrays, by the keys of their views.
        element: e, as an expression of the number i of the thread.
    """

    def __init__(self, names: dict[Any, str], element: str) -> None:
        self.lines = [f"const ann_int64 e = {element};"]
        self._names = names
        self._values: dict[Any, str] = {}  # the variable with the element of each view

    def add(self, work: Work) -> None:
        values = [self._load(argument) for argument in work.arguments]
        for line in work.formula.lines:
            values.append(
                self._variable(line.text.format(*values), line.dtype)
                if line.summed is None
                else self._sum(line, work, values)
            )
        results = [
            self._variable(_cast(line.text.format(*values), line.dtype, _dtype(out)), _dtype(out))
            for line, out in zip(work.formula.results, work.outs, strict=True)
        ]
        self._values |= {out.key: name for out, name in zip(work.outs, results, strict=True)}

    def store(self, outs: Sequence[View]) -> None:
        for out in outs:
            self.lines.append(f"{self._element(out)} = {self._values[out.key]};")

    def _sum(self, line: Line, work: Work, values: Sequence[str]) -> str:
        """The variable with the sum or maximum of a row, whose elements are computed again."""
        width, total, row = work.shape[-1], f"v{len(self.lines)}", [*values]
        self.lines += [
            f"ann_{line.dtype} {total} = 0;",
            f"for (ann_int64 c = 0; c < {width}; c++) {{",
            f"const ann_int64 f = ann_quotient(e, ann_int64({width})) * {width} + c;",
        ]
        for number, view in enumerate(work.reads):
            row[number] = self._variable(self._element(view, "f"), _dtype(view))
        for number in line.repeated:
            inner = work.formula.lines[number - len(work.reads)]
            row[number] = self._variable(inner.text.format(*row), inner.dtype)
        element = row[line.summed or 0]
        self.lines += [f"{total} = c ? {line.text.format(total, element)} : {element};", "}"]
        return total

    def _load(self, argument: View | Rows) -> str:
        """The variable with the value of an argument."""
        if isinstance(argument, View):
            if argument.key not in self._values:
                self._values[argument.key] = self._variable(
                    self._element(argument), _dtype(argument)
                )
            return self._values[argument.key]
        source, indices, width = argument.source, argument.indices, argument.width
        if width == 1:
            index = self._load(indices)
        else:
            row = self._variable(f"ann_quotient(e, ann_int64({width}))", "int64")
            number = self._variable(f"{self._names[indices.key]}[{row}]", _dtype(indices))
            index = f"ann_int64({number}) * {width} + e - {row} * {width}"
        return self._variable(f"{self._names[source.key]}[{index}]", _dtype(source))

    def _element(self, view: View, number: str = "e") -> str:
        return f"{self._names[view.key]}[{0 if view.array.shape == (1,) else number}]"

    def _variable(self, text: str, dtype: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"const ann_{dtype} {name} = {text};")
        return name


class _Source:
    """A kernel's source and arguments.

    Attributes:
        reads, writes: the arrays.
        ends: for each block but the last, the number of elements up to its end.
        size: the number of elements.
        name: made of the names of the formulas.
        text: what to read and what to write, as declarations; and the body.
    """

    def __init__(self, blocks: Sequence[Sequence[Work]]) -> None:
        outs = [{view.key: view for work in block for view in work.outs} for block in blocks]
        written = {key: view for block in outs for key, view in block.items()}
        read = {view.key: view for block in blocks for work in block for view in work.reads}
        read = {key: view for key, view in read.items() if key not in written}
        names = {key: f"a{number}" for number, key in enumerate([*read, *written])}
        self.reads, self.writes = (
            [view.array for view in views.values()] for views in (read, written)
        )
        sizes = [block[0].size for block in blocks]
        self.size = sum(sizes)
        self.ends = [sum(sizes[:count]) for count in range(1, len(sizes))]
        bodies = []
        for number, (block, own) in enumerate(zip(blocks, outs, strict=True)):
            body = _Body(names, f"i - n{number - 1}" if number else "i")
            for work in block:
                body.add(work)
            body.store(list(own.values()))
            test = f"if (i < n{number}) " if number < len(self.ends) else ""
            bodies.append("\n".join([test + "{", *body.lines, "}"]))
        reads, writes = (
            [f"raw {_dtype(view)} {names[key]}" for key, view in views.items()]
            for views in (read, written)
        )
        reads += [f"int64 n{number}" for number in range(len(self.ends))]
        formulas = dict.fromkeys(work.formula.name for block in blocks for work in block)
        self.name = re.sub(r"\W+", "", "_".join(["ann", *formulas]))[:80]
        self.text = ", ".join(reads), ", ".join(writes), "\nelse ".join(bodies)


def _expression(operation: Operation, inputs: Sequence[str]) -> str:
    function, kinds = operation.function, operation.kinds
    if function in _INFIX:
        return f"{inputs[0]} {_INFIX[function]} {inputs[1]}"
    if function is np.negative:
        return f"-{inputs[0]}"
    if function is np.astype:
        return _cast(inputs[0], kinds[0].name, operation.result.dtype.name)
    if function in _CALLS and (function in _ANY_TYPE or kinds[0].kind == "f"):
        return f"{_CALLS[function]}({', '.join(inputs)})"
    raise UntraceableError(f"the function {function.__name__}")


def _cast(name: str, dtype: str, to: str) -> str:
    return name if dtype == to else f"ann_{to}({name})"


def _dtype(view: View) -> str:
    name: str = view.array.dtype.name
    return name


def _memory_order(array: Array) -> list[int]:
    """The axes of an array, from the outermost to the innermost in memory."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


def copied(xp: Any, array: Array) -> Array:
    """The formula of a copy."""
    return array


@functools.cache
def ufunc(name: str) -> Formula:
    """A formula that calls this function of ``xp``."""

    def formula(xp: Any, *arrays: Any) -> Any:
        return getattr(xp, name)(*arrays)

    formula.__name__ = name
    return formula


def extent(array: Array) -> View:
    """The memory of an array, for work that is not elementwise."""
    low = array.data.ptr
    spans = ((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True))
    return View(array, low, low + array.itemsize + sum(spans), None)


def add_windows(xp: Any, windows: Array, stride: int, out: Array) -> None:
    """See ``Backend``."""
    *_, height, width, count = out.shape
    sizes = (*windows.shape[-4:-1], height, width, count, stride)
    _adding_windows(xp)(windows, *sizes, out)


@functools.cache
def _adding_windows(xp: Any) -> Any:
    """Each thread adds what one pixel gets from its windows."""
    return xp.ElementwiseKernel(
        "raw T windows, int32 k, int32 rows, int32 columns, "
        "int32 height, int32 width, int32 count, int32 stride",
        "T out",
        """
        long long n = i % count, right = i / count % width, rest = i / count / width;
        long long down = rest % height, picture = rest / height;
        T sum = 0;
        for (int a = 0; a < k && a <= down; a++)
            for (int b = 0; b < k && b <= right; b++) {
                long long row = (down - a) / stride, column = (right - b) / stride;
                if (row * stride + a == down && column * stride + b == right
                        && row < rows && column < columns)
                    sum += windows[
                        ((((picture * k + a) * k + b) * rows + row) * columns + column) * count + n
                    ];
            }
        out = sum;
        """,
        "ann_add_windows",
    )


def _function_key(function: Formula) -> Any:
    """The function, or a key that functions made by one line from the same numbers share."""
    if isinstance(function, FunctionType) and not function.__kwdefaults__:
        values = [cell.cell_contents for cell in function.__closure__ or ()]
        values += function.__defaults__ or ()
        if all(isinstance(value, int | float) for value in values):
            return (function.__code__, id(function.__globals__), *values)
    return function
