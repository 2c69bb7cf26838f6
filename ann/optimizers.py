"""Optimizers: how a gradient becomes a step. All parameters lie in one flat vector, so each rule is a few lines
over whole vectors, in place.

Letters: p parameters, g gradients, v velocity (the running mean of gradients), s the running mean of squared
gradients, r the learning rate, all vectors (P,) but r. ``combine(x, out, a, b)`` is out = b out + a x, in one pass.

What changes from step to step, such as r, is worked out on the host as a few ``numbers`` and handed to the rule in a
device vector, so that a recorded step can be played with others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ann.operations import Array, Backend

# The memory of Adam's squared gradients. The paper's 0.999 looks back over some 1,000 steps, three epochs of the
# default recipe; 0.99 gave 170 validation errors against 176, the means of six seeds.
_BETA2 = 0.99
_EPSILON = 1e-8  # what keeps Adam's division finite, as in the paper


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


class _Rule:
    """What every rule holds: the vectors of the network, where its weights are, and two hyperparameters."""

    memory = 0.0

    def __init__(
        self,
        backend: Backend,
        parameters: Array,
        gradients: Array,
        weights: Sequence[slice],
        *,
        momentum: float,
        weight_decay: float,
    ) -> None:
        """``weights``: where in the vectors the weights are; what lies between are biases, which do not decay."""
        self._backend, self._p, self._g = backend, parameters, gradients
        self._weights = weights
        self._momentum, self._weight_decay = momentum, weight_decay

    def _add_decay(self) -> None:
        """Add the gradient of weight_decay / 2 |p|^2, for the weights alone."""
        if self._weight_decay:
            for part in self._weights:
                self._backend.combine(self._p[part], self._g[part], self._weight_decay)

    def _parts(self) -> Iterator[tuple[slice, bool]]:
        """The vectors in parts that are all weights or all biases, and whether the part decays."""
        if not self._weight_decay:
            yield slice(None), False
            return
        edges = [0, *itertools.chain(*((part.start, part.stop) for part in self._weights)), self._p.shape[0]]
        for number, (start, stop) in enumerate(itertools.pairwise(edges)):
            if start < stop:
                yield slice(start, stop), bool(number % 2)


class SGD(_Rule):
    """Stochastic gradient descent with momentum: v = momentum v + g; p = p - r v.

    The backward pass computes v itself: it adds the new gradient to ``memory`` times what was there, so that v takes
    g's place. Where g is changed on its way, as by clipping, v has to be a vector of its own: ``own_velocity``. Weight
    decay adds weight_decay p to the gradients of the weights.
    """

    def __init__(self, *vectors: Any, own_velocity: bool = False, **hyperparameters: Any) -> None:
        super().__init__(*vectors, **hyperparameters)
        self._v = self._backend.xp.zeros_like(self._p) if own_velocity else self._g
        self.state = {"v": self._v}
        self.memory = 0.0 if own_velocity else self._momentum

    def numbers(self, step: int, learning_rate: float) -> list[float]:
        """[-r]"""
        return [-learning_rate]

    def update(self, numbers: Array) -> None:
        """One step."""
        self._add_decay()
        if self._v is not self._g:
            self._backend.combine(self._g, self._v, 1.0, self._momentum)
        self._backend.combine(self._v, self._p, numbers[0, ...])


class Nesterov(_Rule):
    """SGD that looks one step ahead: v = momentum v + g; p = p - r (g + momentum v).

    Sutskever et al. (2013), in the arrangement of Bengio et al. (2013). Weight decay as in SGD.
    """

    def __init__(self, *vectors: Any, **hyperparameters: Any) -> None:
        super().__init__(*vectors, **hyperparameters)
        self._v = self._backend.xp.zeros_like(self._p)
        self.state = {"v": self._v}

    def numbers(self, step: int, learning_rate: float) -> list[float]:
        """[-r, -r momentum]"""
        return [-learning_rate, -learning_rate * self._momentum]

    def update(self, numbers: Array) -> None:
        """One step."""
        combine, p, g, v = self._backend.combine, self._p, self._g, self._v
        self._add_decay()
        combine(g, v, 1.0, self._momentum)
        combine(g, p, numbers[0, ...])
        combine(v, p, numbers[1, ...])


class Adam(_Rule):
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
            self._add_decay()
        epsilon, factor, shrink = numbers[0, ...], numbers[1, ...], numbers[2, ...]
        jobs: list[tuple[Any, tuple[Array, ...]]] = []
        for part, decays in self._parts():
            vectors = tuple(vector[part] for vector in (self._p, self._g, self._v, self._s))
            shrinking = (shrink,) if decays and self._decoupled else ()
            jobs.append((self._rule, (*vectors, epsilon, factor, *shrinking)))
        self._backend.fused_each(jobs)


def _adam_rule(momentum: float) -> Callable[..., None]:
    """The elementwise part of a step. It knows no vectors, so that a device may keep what it makes of it."""

    def rule(
        backend: Backend, p: Array, g: Array, v: Array, s: Array, epsilon: Array, factor: Array, shrink: Any = 1.0
    ) -> None:
        xp = backend.xp
        backend.combine(g, v, 1.0, momentum)
        xp.multiply(g, g, out=g)
        backend.combine(g, s, 1.0, _BETA2)
        xp.sqrt(s, out=g)
        xp.add(g, epsilon, out=g)
        xp.divide(v, g, out=g)
        backend.combine(g, p, factor, shrink)

    return rule


class RMSProp(_Rule):
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
        self._add_decay()
        self._backend.fused(self._rule, self._p, self._g, self._v, self._s, self._scratch, numbers[0, ...])


def _rmsprop_rule(momentum: float) -> Callable[..., None]:
    """The elementwise part of a step, see ``_adam_rule``."""

    def rule(backend: Backend, p: Array, g: Array, v: Array, s: Array, scratch: Array, factor: Array) -> None:
        xp = backend.xp
        xp.multiply(g, g, out=scratch)
        xp.multiply(scratch, 1.0 - _BETA2, out=scratch)
        backend.combine(scratch, s, 1.0, _BETA2)
        xp.sqrt(s, out=scratch)
        xp.add(scratch, _EPSILON, out=scratch)
        xp.divide(g, scratch, out=g)
        backend.combine(g, v, 1.0, momentum)
        backend.combine(v, p, factor)

    return rule


# name -> (class, its options)
_OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "nesterov": (Nesterov, {}),
    "adam": (Adam, {}),
    "adamw": (Adam, {"decoupled": True}),
    "rmsprop": (RMSProp, {}),
}
OPTIMIZERS = tuple(_OPTIMIZERS)


def get_optimizer(
    name: str,
    backend: Backend,
    parameters: Array,
    gradients: Array,
    weights: Sequence[slice],
    *,
    momentum: float,
    weight_decay: float,
    own_velocity: bool = False,
) -> Optimizer:
    """The optimizer of this name, bound to a network's vectors. Raises ValueError for an unknown name.

    ``own_velocity``: gradients are changed between the backward pass and the update, see ``SGD``.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; known: {', '.join(_OPTIMIZERS)}")
    rule, options = _OPTIMIZERS[name]
    if own_velocity and rule is SGD:
        options = {**options, "own_velocity": True}
    return rule(backend, parameters, gradients, weights, momentum=momentum, weight_decay=weight_decay, **options)
