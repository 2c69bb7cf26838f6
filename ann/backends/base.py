"""What the mathematics asks of a device: an array namespace ``xp``, a way in and a way out, and a few operations that
devices do in their own ways. Here each is written with ``xp`` alone, which says what it means; ``cpu`` and ``gpu``
do the same faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

Array = Any  # an array of whichever library ``xp`` is


class Backend:
    """An array library, its two doors, and the few operations that devices do in their own ways.

    This base computes everything with ``xp`` alone. Subclasses do the same faster.

    Attributes:
        name: "cpu" or "gpu".
        xp: the namespace that computes: NumPy, or one that speaks the same array API.
        description: the device in words and, after "auto", why it was picked.
    """

    def __init__(self, name: str, xp: Any, description: str = "") -> None:
        self.name, self.xp, self.description = name, xp, description

    def from_host(self, array: np.ndarray) -> Array:
        """The only way in: a host array -> an array of ``xp`` (which on a CPU may share its memory)."""
        return array

    def to_host(self, array: Array) -> np.ndarray:
        """The only way out: an array of ``xp`` -> a host array, after everything queued before it."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """Wait until all that was queued has been computed. Only clocks need this."""

    def quiet(self) -> AbstractContextManager[object]:
        """A context without NumPy's floating-point warnings: exp(89) may be inf, and ``fit`` detects divergence."""
        return np.errstate(all="ignore")

    def product(self, a: Array, b: Array, out: Array, scale: float = 1.0, keep: float = 0.0) -> None:
        """out = keep out + scale (a @ b), for a (..., M, K), b (..., K, N)."""
        xp = self.xp
        if keep == 0.0:
            xp.matmul(a, b, out=out)
            if scale != 1.0:
                xp.multiply(out, scale, out=out)
            return
        product = xp.matmul(a, b)
        xp.multiply(product, scale, out=product)
        xp.multiply(out, keep, out=out)
        xp.add(out, product, out=out)

    def combine(self, x: Array, out: Array, scale: Any, keep: Any = 1.0) -> None:
        """out = keep out + scale x; scale and keep are numbers or 0-d device arrays."""
        xp = self.xp
        if not (isinstance(keep, float) and keep == 1.0):
            xp.multiply(out, keep, out=out)
        xp.add(out, x if isinstance(scale, float) and scale == 1.0 else xp.multiply(x, scale), out=out)

    def assign(self, array: Array, out: Array) -> None:
        """out = array, converted to the type of out; fractions of what becomes an integer are lost."""
        out[...] = self.xp.astype(array, out.dtype)

    def fused(self, function: Callable[..., None], *arrays: Array) -> None:
        """function(backend, *arrays), where it does nothing but elementwise arithmetic on arrays of one shape.

        So a GPU can do it in one kernel, and processors can share it. Arrays of another shape are handed on whole.
        """
        function(self, *arrays)

    def fused_each(self, jobs: Sequence[tuple[Callable[..., None], tuple[Array, ...]]]) -> None:
        """``fused`` for several functions, each with arrays that no other one changes."""
        for function, arrays in jobs:
            self.fused(function, *arrays)

    def evaluate(self, function: Callable[[Any, Array], Array], array: Array, out: Array) -> None:
        """out = function(xp, array), whatever the function does, operators included. It may not change the array."""
        self.assign(function(self.xp, array), out=out)

    def call(self, function: Callable[[], None]) -> None:
        """Call what is no arithmetic, such as sending arrays; a record has it in its place among the rest."""
        function()

    def recorder(self) -> Backend:
        """A backend for the same device whose ``record`` is worth its price."""
        return self

    def record(self, function: Callable[[], None]) -> Callable[[], object]:
        """Call the function, and return what does the same again, to the same arrays with whatever is then in them.

        What may be recorded: calls of ``xp`` and of the methods above whose results go to arrays that last, by
        ``out=`` or by being held on to. Operators, such as a + b, and values read from arrays escape the record.
        """
        function()
        return function
