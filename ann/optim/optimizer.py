"""What all update rules share: the vectors that they are bound to, and weight decay. All parameters lie in one flat
vector, so each rule is a few lines over whole vectors, in place.

Letters: p parameters, g gradients, v velocity (the running mean of gradients), s the running mean of squared
gradients, r the learning rate, all vectors (..., P) but r. ``combine(x, out, a, b)`` is out = b out + a x, in one pass.

What changes from step to step, such as r, is worked out on the host as a few ``numbers`` and handed to the rule in a
device vector, so that a recorded step can be played with others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

from ann.backends.base import Array, Backend


class Optimizer(Protocol):
    """An update rule bound to one network's vectors.

    Attributes:
        memory: what the network's backward pass shall leave of the gradients of the step before (see ``Dense``).
        state: the vectors that it keeps from step to step, by their letters.
    """

    memory: float
    state: dict[str, Array]

    def numbers(self, step: int, learning_rate: float) -> list[float]:
        """What ``update`` needs to know in this step, counted from 1."""

    def update(self, numbers: Array) -> None:
        """Change the parameters in place, by the present gradients, which may be overwritten.

        ``numbers``: a device vector of what the method of that name gave.
        """


class Rule:
    """What every rule holds: the vectors of the network, where its weights are, and two hyperparameters."""

    memory = 0.0

    def __init__(
        self,
        backend: Backend,
        parameters: Array,
        gradients: Array,
        weights: Sequence[slice],
        shapes: Sequence[tuple[int, int]],
        *,
        momentum: float,
        weight_decay: float,
    ) -> None:
        """``weights``: where in the vectors the weights are, matrices (I, O) of these ``shapes``.

        What lies between are biases, which do not decay.
        """
        self._backend, self._p, self._g = backend, parameters, gradients
        self._weights, self._shapes = weights, shapes
        self._momentum, self._weight_decay = momentum, weight_decay

    def add_decay(self) -> None:
        """Add the gradient of weight_decay / 2 |p|^2, for the weights alone."""
        if self._weight_decay:
            for part in self._weights:
                self._backend.axpby(self._p[..., part], self._g[..., part], self._weight_decay)

    def parts(self) -> Iterator[tuple[slice, bool]]:
        """The vectors in parts that are all weights or all biases, and whether the part is weights."""
        edges = [0, *itertools.chain(*((part.start, part.stop) for part in self._weights)), self._p.shape[-1]]
        for number, (start, stop) in enumerate(itertools.pairwise(edges)):
            if start < stop:
                yield slice(start, stop), bool(number % 2)
