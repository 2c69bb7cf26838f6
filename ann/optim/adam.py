"""Optimizers that divide gradients by a running measure of their size, so that all parameters move
about equally fast. Here m is a running mean of the gradients and v one of their squares.
"""

import math
from typing import Any

from ann.backends.base import Array
from ann.optim.optimizer import Optimizer
from ann.optim.scalars import Scalars

# The decay of v. The paper's 0.999 looks back over some 1,000 steps, three epochs of the default
# recipe; 0.99 gave 170 validation errors instead of 176 (means of six seeds).
BETA2 = 0.99
EPSILON = 1e-8  # keeps the division finite, as in the paper


def adam(
    xp: Any, p: Array, g: Array, m: Array, v: Array, size: Array, epsilon: Array, beta1: float
) -> tuple[Array, Array, Array, Array]:
    """Kingma & Ba (2015), algorithm 1: p = p - rate m' / (sqrt(v') + 1e-8).

    m and v start at 0, so early on they are too small. The paper corrects this with m' = m / (1 -
    beta1^k) and v' = v / (1 - beta2^k). Here, as at the end of its section 2, two numbers do it:
    size = rate sqrt(1 - beta2^k) / (1 - beta1^k) and epsilon = 1e-8 sqrt(1 - beta2^k).

    The second result, the direction, replaces g: an array of its own would be slower.
    """
    m = beta1 * m + (1 - beta1) * g
    v = BETA2 * v + (1 - BETA2) * (g * g)
    direction = m / (xp.sqrt(v) + epsilon)
    return p - size * direction, direction, m, v


def adamw(
    xp: Any, p: Array, g: Array, m: Array, v: Array, shrink: Array, *numbers: Any
) -> tuple[Array, Array, Array, Array]:
    """Loshchilov & Hutter (2019), algorithm 2: Adam's step from p (1 - rate weight_decay).

    ``shrink`` is 1 - rate weight_decay. As in PyTorch, this rate is the whole learning rate. In the
    paper it is the schedule's factor.
    """
    return adam(xp, shrink * p, g, m, v, *numbers)


class Adam(Optimizer):
    """Steps divided by the gradients' recent size. Weight decay as in SGD."""

    tuned = (0.015, 1e-4)
    formula = staticmethod(adam)

    def prepare(self, scalars: Scalars) -> None:
        self.vectors = self.p, self.g, self.add_state("m", self.p), self.add_state("v", self.p)
        beta1 = self.momentum
        size = scalars.add(lambda k, rate: rate * math.sqrt(1 - BETA2**k) / (1 - beta1**k))
        epsilon = scalars.add(lambda k, rate: EPSILON * math.sqrt(1 - BETA2**k))
        self.numbers = size, epsilon, beta1


class AdamW(Adam):
    """Adam with decoupled weight decay, which the size of the gradients does not influence."""

    tuned = (0.028, 0.08)
    decoupled_decay = True

    def prepare(self, scalars: Scalars) -> None:
        super().prepare(scalars)
        self.shrink = scalars.add(lambda k, rate: 1 - rate * self.weight_decay)

    def update(self) -> None:
        weights, others = (tuple(map(part, self.vectors)) for part in (self.weights, self.others))
        self.backend.elementwise(adamw, *weights, self.shrink, *self.numbers, out=weights)
        self.backend.elementwise(adam, *others, *self.numbers, out=others)


def rmsprop(
    xp: Any, p: Array, g: Array, m: Array, v: Array, rate: Array, momentum: float
) -> tuple[Array, Array, Array, Array]:
    """Hinton's lecture 6e (2012), then momentum: m is a running sum of the divided gradients.

    The second result replaces g, as in ``adam``.
    """
    v = BETA2 * v + (1 - BETA2) * (g * g)
    g = g / (xp.sqrt(v) + EPSILON)
    m = momentum * m + g
    return p - rate * m, g, m, v


class RMSProp(Optimizer):
    """Gradients divided by their recent size, then momentum. Weight decay as in SGD."""

    tuned = (0.0015, 1e-4)
    sums_gradients = True
    formula = staticmethod(rmsprop)

    def prepare(self, scalars: Scalars) -> None:
        self.vectors = self.p, self.g, self.add_state("m", self.p), self.add_state("v", self.p)
        self.numbers = self.rate, self.momentum
