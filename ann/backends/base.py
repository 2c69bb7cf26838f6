"""What the mathematics asks of a device: an array namespace ``xp``, a way in and a way out, and a few operations that
devices do in their own ways. Here each is written with ``xp`` alone, which says what it means; ``cpu`` and ``gpu``
do the same faster.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def ignore_overflow(self) -> AbstractContextManager[object]:
        """A context without NumPy's floating-point warnings: exp(89) may be inf, and ``fit`` detects divergence."""
        return np.errstate(all="ignore")

    def matmul(self, a: Array, b: Array, out: Array, alpha: float = 1.0, beta: float = 0.0) -> None:
        """out = beta out + alpha (a @ b), for a (..., M, K), b (..., K, N)."""
        xp = self.xp
        if beta == 0.0:
            xp.matmul(a, b, out=out)
            if alpha != 1.0:
                xp.multiply(out, alpha, out=out)
            return
        product = xp.matmul(a, b)
        xp.multiply(product, alpha, out=product)
        xp.multiply(out, beta, out=out)
        xp.add(out, product, out=out)

    def axpby(self, x: Array, out: Array, alpha: Any, beta: Any = 1.0) -> None:
        """out = beta out + alpha x; alpha and beta are numbers or 0-d device arrays."""
        xp = self.xp
        if not (isinstance(beta, float) and beta == 1.0):
            xp.multiply(out, beta, out=out)
        xp.add(out, x if isinstance(alpha, float) and alpha == 1.0 else xp.multiply(x, alpha), out=out)

    def copyto(self, array: Array, out: Array) -> None:
        """out = array, converted to the type of out; fractions of what becomes an integer are lost."""
        out[...] = self.xp.astype(array, out.dtype)

    def elementwise(
        self,
        function: Callable[..., Any],
        *arrays: Any,
        out: Array | tuple[Array, ...],
        spare: tuple[Array, ...] = (),
    ) -> None:
        """out = function(xp, *arrays), for a formula of elementwise operations with operators.

        A backend may prepare a function once and keep that for later. So a function should take
        hyperparameters and arrays as arguments, and be defined once, not in each training.

        Args:
            function: (xp, *arrays) -> an array, or a tuple of arrays if ``out`` is a tuple. It has
                no side effects. Sums and maxima along the last axis are possible, but slower.
            arrays: device arrays that broadcast to the shape of ``out``, and Python numbers. When a
                compiled step is replayed, 0-d arrays are read again, like all arrays.
            out: where the results go. These may be among ``arrays``: they are written last.
            spare: those of ``arrays`` that may be overwritten, because nothing reads them later.
        """
        results = function(self.xp, *arrays)
        if not isinstance(out, tuple):
            self.copyto(results, out=out)
            return
        # copies, because a result may be an argument, which lies where another result goes
        copies = [self.xp.asarray(result, copy=True) for result in results]
        for copy, target in zip(copies, out, strict=True):
            self.copyto(copy, out=target)

    def call(self, function: Callable[[], None]) -> None:
        """Call what is no arithmetic, such as sending arrays; a record has it in its place among the rest."""
        function()

    def recorder(self) -> Backend:
        """A backend for the same device that can compile a step: record it and replay it."""
        return self

    def compile(self, function: Callable[[], None]) -> Callable[[], object]:
        """Call the function, and return what does the same again, to the same arrays with whatever is then in them.

        What may be recorded: calls of ``xp`` and of the methods above whose results go to arrays that last, by
        ``out=`` or by being held on to. Operators, such as a + b, and values read from arrays escape the record.
        """
        function()
        return function
