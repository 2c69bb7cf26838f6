"""Elementwise work for a GPU, and what can be done in one kernel."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ann.backends.base import Array
from ann.backends.cuda_formula import CudaFormula


@dataclass(frozen=True)
class View:
    """Where the elements of an array are, in the order in which a kernel visits them.

    Attributes:
        array: the same memory, with as few axes as possible.
        low, high: the first address, and the one after the last.
        key: equal for views of the same elements in the same order.
        dtype: the name of their dtype.
    """

    array: Array
    low: int
    high: int
    key: Any
    dtype: str

    @property
    def is_number(self) -> bool:
        """Whether it is a single number, which every element of the result uses."""
        return bool(self.array.shape == (1,))

    def overlaps(self, other: "View") -> bool:
        """Whether both may share memory."""
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
        shape: the shape of each of the outs.
        formula: what to compute.
        arguments: the formula's arrays.
        outs: where the results go.
        fallback: does the same with CuPy's own kernels.
    """

    shape: Sequence[int]
    formula: CudaFormula
    arguments: Sequence[View | Rows]
    outs: Sequence[View]
    fallback: Callable[[], object]
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
        self.width = rows[0].width if rows else 0  # of a row that is read by its index

    @property
    def reads(self) -> list[View]:
        """Everything that is read."""
        return [*self.here, *self.anywhere]

    @property
    def views(self) -> list[View]:
        """Everything that is read or written."""
        return [*self.here, *self.anywhere, *self.outs]

    def can_follow(self, other: "Work") -> bool:
        """Whether one kernel may do the other work and then this, element by element."""
        return (
            self.size == other.size
            and not conflict(self.outs, other.anywhere)
            and not conflict(other.outs, self.anywhere)
            and not conflict(self.outs, [*other.here, *other.outs], unless_same=True)
            and not conflict(other.outs, self.here, unless_same=True)
        )


def conflict(written: Sequence[View], others: Sequence[View], *, unless_same: bool = False) -> bool:
    """Whether a written view may overlap with one of the others."""
    return any(
        one.overlaps(other) and not (unless_same and one.key == other.key)
        for one in written
        for other in others
    )


def independent(
    reads: Sequence[View], writes: Sequence[View], others: Sequence[View], written: Sequence[View]
) -> bool:
    """Whether two pieces of work can run in either order.

    The first has ``reads`` and ``writes``, and the second reads ``others`` and writes ``written``.
    """
    return not conflict(writes, [*others, *written]) and not conflict(written, reads)


def memory_order(array: Array) -> list[int]:
    """The axes of an array, from the outermost to the innermost in memory."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


def view_of(xp: Any, array: Array, shape: Sequence[int], axes: Sequence[int]) -> View:
    """The view of an array that is broadcast to a shape whose axes are visited in this order."""
    layout = array.shape, array.strides, array.dtype, tuple(shape), tuple(axes)
    lengths, steps, span, dtype = _layout(*layout)
    low = array.data.ptr
    same = xp.lib.stride_tricks.as_strided(array, lengths, steps)
    return View(same, low, low + span, (low, lengths, steps, dtype), dtype)


@functools.lru_cache(10_000)
def _layout(
    own_shape: Sequence[int],
    own_strides: Sequence[int],
    dtype: np.dtype,
    shape: Sequence[int],
    axes: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...], int, str]:
    """The lengths and strides of a view with as few axes as possible, its bytes, and its dtype."""
    missing = len(shape) - len(own_shape)
    strides = [0] * missing + [
        0 if own == 1 else stride for own, stride in zip(own_shape, own_strides, strict=True)
    ]
    merged: list[tuple[int, int]] = []  # (length, stride)
    for axis in axes:
        length, stride = shape[axis], strides[axis]
        if merged and merged[-1][1] == length * stride:
            merged[-1] = merged[-1][0] * length, stride
        elif length != 1:
            merged.append((length, stride))
    if not any(stride for _, stride in merged):  # one number for all
        merged = [(1, dtype.itemsize)]
    lengths, steps = zip(*merged, strict=True)
    span = dtype.itemsize + sum((length - 1) * step for length, step in merged)
    return lengths, steps, span, dtype.name


def extent(array: Array) -> View:
    """The memory of an array, for work that is not elementwise."""
    low = array.data.ptr
    spans = ((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True))
    return View(array, low, low + array.itemsize + sum(spans), None, array.dtype.name)
