"""Stochastic gradient descent with momentum."""

from typing import Any

from ann.backends.base import Array
from ann.optim.optimizer import Optimizer
from ann.optim.scalars import Scalars


def velocity(xp: Any, v: Array, g: Array, momentum: float) -> Array:
    """Sutskever et al. (2013), equation 1, with learning rate and sign moved to equation 2."""
    return momentum * v + g


def step(xp: Any, p: Array, v: Array, rate: Array) -> Array:
    """Sutskever et al. (2013), equation 2."""
    return p - rate * v


class SGD(Optimizer):
    """v = momentum v + g; p = p - rate v.

    If possible, the vector of gradients itself holds v: the backward pass adds the new gradients to
    ``momentum`` times the old ones. Otherwise v is a separate vector; see ``accumulate``.
    """

    tuned = (0.5, 1e-4)
    adaptive, sums_gradients = False, True

    def prepare(self, scalars: Scalars) -> None:
        if self.may_accumulate:
            self.accumulate = self.momentum
            self.state["v"] = self.g
        else:
            self.add_state("v", self.p)

    def update(self) -> None:
        self.add_decay()
        p, g, v = self.p, self.g, self.state["v"]
        if v is not g:
            self.backend.elementwise(velocity, v, g, self.momentum, out=v)
        self.backend.elementwise(step, p, v, self.rate, out=p)


def nesterov(
    xp: Any, p: Array, g: Array, v: Array, rate: Array, momentum: float
) -> tuple[Array, Array, Array]:
    """Bengio et al. (2013), equation 7, arranged as in PyTorch. The direction replaces g."""
    v = momentum * v + g
    g = g + momentum * v
    return p - rate * g, g, v


class Nesterov(Optimizer):
    """SGD that looks one step ahead: v = momentum v + g; p = p - rate (g + momentum v)."""

    tuned = SGD.tuned
    adaptive, sums_gradients = False, True
    formula = staticmethod(nesterov)

    def prepare(self, scalars: Scalars) -> None:
        self.vectors = self.p, self.g, self.add_state("v", self.p)
        self.numbers = self.rate, self.momentum
