"""Update rules that divide gradients by their own recent size, so that all parameters move about as fast. Letters:
see ``optimizer``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ann.backends.base import Array, Backend
from ann.optim.optimizer import Rule

# The memory of Adam's squared gradients. The paper's 0.999 looks back over some 1,000 steps, three epochs of the
# default recipe; 0.99 gave 170 validation errors against 176, the means of six seeds.
_BETA2 = 0.99
_EPSILON = 1e-8  # what keeps Adam's division finite, as in the paper


class Adam(Rule):
    """Steps divided by the gradient's own recent size (Kingma & Ba 2015, algorithm 1).

    v = momentum v + (1 - momentum) g; s = b s + (1 - b) g^2; p = p - r v' / (sqrt(s') + epsilon), where the
    dashes divide by 1 - momentum^k and 1 - b^k after k steps, since both means start at 0. Weight decay adds
    to the gradients of the weights; ``decoupled`` (AdamW: Loshchilov & Hutter 2019, algorithm 2) shrinks the
    weights by the factor 1 - r weight_decay instead, whatever the gradients' size.
    """

    def __init__(self, *vectors: Any, decoupled: bool = False, **hyperparameters: Any) -> None:
        super().__init__(*vectors, **hyperparameters)
        self._decoupled, self._rule = decoupled, _adam_rule(self._momentum)
        xp = self._backend.xp
        self._v, self._s = xp.zeros_like(self._p), xp.zeros_like(self._p)
        self.state = {"v": self._v, "s": self._s}

    def numbers(self, step: int, learning_rate: float) -> list[float]:
        """[epsilon, scaled; the factor of v / sqrt(s); the factor by which weights shrink]"""
        # v and s are kept without the factors 1 - momentum and 1 - b, which go into two numbers instead of two
        # vectors, with the corrections: v' = scale_v v and sqrt(s') = scale_s sqrt(s).
        scale_v = (1.0 - self._momentum) / (1.0 - self._momentum**step)
        scale_s = math.sqrt((1.0 - _BETA2) / (1.0 - _BETA2**step))
        shrink = 1.0 - learning_rate * self._weight_decay
        return [_EPSILON / scale_s, -learning_rate * scale_v / scale_s, shrink]

    def update(self, numbers: Array) -> None:
        """One step."""
        if not self._decoupled:
            self.add_decay()
        shrinks = self._decoupled and self._weight_decay > 0
        self.update_parts(numbers, list(self.parts()) if shrinks else [(slice(None), False)])

    def update_parts(self, numbers: Array, parts: Sequence[tuple[slice, bool]]) -> None:
        """One step for some parts of the parameters, and whether each shrinks."""
        epsilon, factor, shrink = numbers[0, ...], numbers[1, ...], numbers[2, ...]
        jobs: list[tuple[Any, tuple[Array, ...]]] = []
        for part, shrinks in parts:
            vectors = tuple(vector[..., part] for vector in (self._p, self._g, self._v, self._s))
            jobs.append((self._rule, (*vectors, epsilon, factor, *((shrink,) if shrinks else ()))))
        self._backend.fused_each(jobs)


def _adam_rule(momentum: float) -> Callable[..., None]:
    """The elementwise part of a step. It knows no vectors, so that a device may keep what it makes of it."""

    def rule(
        backend: Backend, p: Array, g: Array, v: Array, s: Array, epsilon: Array, factor: Array, shrink: Any = 1.0
    ) -> None:
        xp = backend.xp
        backend.axpby(g, v, 1.0, momentum)
        xp.multiply(g, g, out=g)
        backend.axpby(g, s, 1.0, _BETA2)
        xp.sqrt(s, out=g)
        xp.add(g, epsilon, out=g)
        xp.divide(v, g, out=g)
        backend.axpby(g, p, factor, shrink)

    return rule


class RMSProp(Rule):
    """Gradients divided by their own recent size, and then momentum: s = b s + (1 - b) g^2; v = momentum v +
    g / (sqrt(s) + epsilon); p = p - r v.

    Hinton's lecture 6e (2012), with b = 0.99. Weight decay as in SGD.
    """

    def __init__(self, *vectors: Any, **hyperparameters: Any) -> None:
        super().__init__(*vectors, **hyperparameters)
        xp = self._backend.xp
        self._v, self._s, self._scratch = (xp.zeros_like(self._p) for _ in range(3))
        self.state = {"v": self._v, "s": self._s}
        self._rule = _rmsprop_rule(self._momentum)

    def numbers(self, step: int, learning_rate: float) -> list[float]:
        """[-r]"""
        return [-learning_rate]

    def update(self, numbers: Array) -> None:
        """One step."""
        self.add_decay()
        self._backend.fused(self._rule, self._p, self._g, self._v, self._s, self._scratch, numbers[0, ...])


def _rmsprop_rule(momentum: float) -> Callable[..., None]:
    """The elementwise part of a step, see ``_adam_rule``."""

    def rule(backend: Backend, p: Array, g: Array, v: Array, s: Array, scratch: Array, factor: Array) -> None:
        xp = backend.xp
        xp.multiply(g, g, out=scratch)
        xp.multiply(scratch, 1.0 - _BETA2, out=scratch)
        backend.axpby(scratch, s, 1.0, _BETA2)
        xp.sqrt(s, out=scratch)
        xp.add(scratch, _EPSILON, out=scratch)
        xp.divide(g, scratch, out=g)
        backend.axpby(g, v, 1.0, momentum)
        backend.axpby(v, p, factor)

    return rule
