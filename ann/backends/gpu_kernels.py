"""CUDA kernels for elementwise work. Starting a kernel takes longer than the arithmetic of a small
network, so each kernel does as much as possible: work on the same elements, whose intermediate
results stay in registers, and independent work on other elements.
"""

import functools
import itertools
import math
import re
import warnings
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from ann.backends.base import Array, Formula
from ann.backends.cuda_formula import PREAMBLE, CudaFormula, Line, cast, side_by_side, translate
from ann.backends.gpu_work import Rows, View, Work, conflict, memory_order, view_of
from ann.backends.namespace import copied

_LONGEST_SUM = 64  # each thread computes the whole row


class Kernels:
    """Makes kernels, and keeps them for later work of the same kind."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._kernels: dict[Any, Any] = {}
        self._formulas: dict[Any, CudaFormula | None] = {}

    def elementwise(
        self,
        function: Formula,
        arrays: Sequence[Any],
        out: Any,
        fallback: Callable[[], object],
    ) -> Work | None:
        """See ``Backend.elementwise``. None if the formula cannot be part of a kernel."""
        outs = out if isinstance(out, tuple) else (out,)
        formula = self._formula(function, arrays)
        shape = outs[0].shape
        arrays = [array for array in arrays if not isinstance(array, int | float)]
        fit = all(np.broadcast_shapes(array.shape, shape) == shape for array in arrays)
        if formula is None or not fit or any(out.shape != shape for out in outs):
            return None
        axes = memory_order(outs[0])
        views = [view_of(self.xp, array, shape, axes) for array in (*arrays, *outs)]
        reads, writes = views[: len(arrays)], views[len(arrays) :]
        if not formula.by_element and (
            shape[-1] > _LONGEST_SUM or axes != [*range(len(shape))] or conflict(writes, reads)
        ):
            return None
        return Work(shape, formula, reads, writes, fallback)

    def take(
        self, source: Array, indices: Array, out: Array, fallback: Callable[[], object]
    ) -> Work | None:
        """out = source[indices], for arrays that are in order in memory; otherwise None."""
        if not all(array.flags.c_contiguous for array in (source, indices, out)):
            return None
        formula = self._formula(copied, (out,))
        if formula is None:
            return None
        of_source, of_indices, of_out = (
            view_of(self.xp, array, array.shape, range(array.ndim))
            for array in (source, indices, out)
        )
        rows = Rows(of_source, of_indices, math.prod(source.shape[1:]))
        return Work(out.shape, formula, [rows], [of_out], fallback)

    def run(self, blocks: Sequence[Sequence[Work]]) -> None:
        """Do the work of all blocks in one kernel; within a block, in order."""
        source, kernels, reason = _Source(blocks), self._kernels, ""
        if kernels.get(source.key, True):
            try:
                if source.key not in kernels:
                    kernels[source.key] = source.kernel(self.xp)
                kernels[source.key](*source.reads, *source.ends, *source.writes, size=source.size)
                return
            except Exception as error:  # types of CuPy cannot be named before its import
                kernels[source.key] = None
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
        for block in blocks:
            for work in block:
                work.fallback()
        if reason:
            names = ", ".join(
                dict.fromkeys(work.formula.name for block in blocks for work in block)
            )
            warnings.warn(
                f"a kernel for {names} cannot be compiled, so a step takes several: {reason}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _formula(self, function: Formula, arguments: Sequence[Any]) -> CudaFormula | None:
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
                self._formulas[key] = translate(function, samples)
            except Exception:  # if the function is wrong, calling it raises its error
                self._formulas[key] = None
        return self._formulas[key]


class _Body:
    """The lines of a kernel that do the work of a block, for element e.

    Args:
        names: the names of the arrays, by the keys of their views.
        block: the work, in order.
    """

    def __init__(self, names: dict[Any, str], block: Sequence[Work]) -> None:
        self.lines: list[str] = []
        self._names = names
        self._values: dict[Any, str] = {}  # the variable with the element of each view
        for work in block:
            self._add(work)
        for out in {out.key: out for work in block for out in work.outs}.values():
            self.lines.append(f"{self._element(out)} = {self._values[out.key]};")

    def _add(self, work: Work) -> None:
        values = [self._load(argument) for argument in work.arguments]
        for line in work.formula.lines:
            values.append(
                self._variable(line.text.format(*values), line.dtype)
                if line.summed is None
                else self._sum(line, work, values)
            )
        results = [
            self._variable(cast(line.text.format(*values), line.dtype, out.dtype), out.dtype)
            for line, out in zip(work.formula.results, work.outs, strict=True)
        ]
        self._values |= {out.key: name for out, name in zip(work.outs, results, strict=True)}

    def _sum(self, line: Line, work: Work, values: Sequence[str]) -> str:
        """The variable with the sum or maximum of a row, whose elements are computed again."""
        width, total, row = work.shape[-1], f"v{len(self.lines)}", [*values]
        self.lines += [
            f"ann_{line.dtype} {total} = 0;",
            f"for (ann_int64 c = 0; c < {width}; c++) {{",
            f"const ann_int64 f = ann_quotient(e, ann_int64({width})) * {width} + c;",
        ]
        for number, view in enumerate(work.reads):
            row[number] = self._variable(self._element(view, "f"), view.dtype)
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
                self._values[argument.key] = self._variable(self._element(argument), argument.dtype)
            return self._values[argument.key]
        source, indices, width = argument.source, argument.indices, argument.width
        if width == 1:
            index = self._load(indices)
        else:
            row = self._variable(f"ann_quotient(e, ann_int64({width}))", "int64")
            number = self._variable(f"{self._names[indices.key]}[{row}]", indices.dtype)
            index = f"ann_int64({number}) * {width} + e - {row} * {width}"
        return self._variable(f"{self._names[source.key]}[{index}]", source.dtype)

    def _element(self, view: View, number: str = "e") -> str:
        return f"{self._names[view.key]}[{0 if view.is_number else number}]"

    def _variable(self, text: str, dtype: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"const ann_{dtype} {name} = {text};")
        return name


class _Source:
    """A kernel's arguments and source.

    Attributes:
        reads, writes: the arrays.
        ends: for each block but the last, the number of elements up to its end.
        size: the number of elements.
        key: equal if the source is.
    """

    def __init__(self, blocks: Sequence[Sequence[Work]]) -> None:
        self._blocks = blocks
        works = [work for block in blocks for work in block]
        written = {view.key: view for work in works for view in work.outs}
        read = {view.key: view for work in works for view in work.reads}
        read = {key: view for key, view in read.items() if key not in written}
        self._views = read | written
        self._names = {key: f"a{number}" for number, key in enumerate(self._views)}
        self.reads = [view.array for view in read.values()]
        self.writes = [view.array for view in written.values()]
        sizes = [block[0].size for block in blocks]
        self.size = sum(sizes)
        self.ends = [sum(sizes[:count]) for count in range(1, len(sizes))]
        described = (
            (block, work.formula, work.width, *(self._names[view.key] for view in work.views))
            for block, together in enumerate(blocks)
            for work in together
        )
        kinds = ((view.dtype, view.is_number) for view in self._views.values())
        self.key = (*described, *kinds)

    def kernel(self, xp: Any) -> Any:
        """A kernel, named after its formulas."""
        declared = [f"raw {view.dtype} {self._names[key]}" for key, view in self._views.items()]
        count = len(self.reads)
        bodies = [_Body(self._names, block).lines for block in self._blocks]
        text = side_by_side(declared[:count], declared[count:], bodies)
        formulas = dict.fromkeys(work.formula.name for block in self._blocks for work in block)
        # Not the name of a function in the preamble, such as ann_maximum
        name = re.sub(r"\W", "", "_".join(formulas), flags=re.ASCII)[:80]
        return xp.ElementwiseKernel(*text, f"ann_{name}_kernel", preamble=PREAMBLE)


def add_windows(xp: Any, windows: Array, stride: int, out: Array) -> None:
    """See ``Backend``."""
    *_, height, width, count = out.shape
    sizes = (*windows.shape[-4:-1], height, width, count, stride)
    _adding_windows(xp)(windows, *sizes, out)


def copy_all(xp: Any, pairs: Sequence[tuple[Array, Array]]) -> None:
    """See ``Backend``. One kernel makes all copies."""
    if len(pairs) == 1:
        ((array, out),) = pairs
        out[...] = array
    elif pairs:
        arrays, outs = zip(*pairs, strict=True)
        *ends, size = itertools.accumulate(out.size for out in outs)
        _copying(xp, tuple(out.dtype.name for out in outs))(*arrays, *ends, *outs, size=size)


@functools.cache
def _copying(xp: Any, dtypes: Sequence[str]) -> Any:
    reads, writes = (
        [f"raw {dtype} {letter}{number}" for number, dtype in enumerate(dtypes)] for letter in "xy"
    )
    bodies = [[f"y{number}[e] = x{number}[e];"] for number in range(len(dtypes))]
    text = side_by_side(reads, writes, bodies)
    return xp.ElementwiseKernel(*text, "ann_copy_all", preamble=PREAMBLE)


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
    """The function, or a key shared by all functions that one line makes from the same numbers."""
    if isinstance(function, FunctionType) and not function.__kwdefaults__:
        values = [cell.cell_contents for cell in function.__closure__ or ()]
        values += function.__defaults__ or ()
        if all(isinstance(value, int | float) for value in values):
            return (function.__code__, id(function.__globals__), *values, *map(type, values))
    return function
