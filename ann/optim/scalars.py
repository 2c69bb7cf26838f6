"""Numbers that change from step to step, such as the learning rate."""

from collections.abc import Callable, Sequence
from typing import Any

from ann.backends.base import Array, Backend

_CAPACITY = 16


class Scalars:
    """0-d device arrays from which a recorded step reads its learning rate, bias corrections, ...

    An optimizer or constraint adds a function for each number that it needs. A ``table`` of all
    numbers for many steps is computed on the host and uploaded once. Before each step, a row of it
    must be copied to ``vector``.

    Attributes:
        vector: a device array with all numbers.
    """

    def __init__(self, backend: Backend, dtype: Any) -> None:
        self._backend = backend
        self._functions: list[Callable[[int, float], float]] = []
        self.vector = backend.xp.zeros(_CAPACITY, dtype=dtype)

    def add(self, function: Callable[[int, float], float]) -> Array:
        """A 0-d array that holds ``function(k, learning rate)`` in step k, counted from 1."""
        self._functions.append(function)
        return self.vector[len(self._functions) - 1, ...]

    def table(self, first: int, learning_rates: Sequence[float]) -> Array:
        """A device array with one row for each step after the first ``first`` steps."""
        unused = [0.0] * (_CAPACITY - len(self._functions))
        rows = [
            [function(k, rate) for function in self._functions] + unused
            for k, rate in enumerate(learning_rates, start=first + 1)
        ]
        return self._backend.xp.asarray(rows, dtype=self.vector.dtype)
