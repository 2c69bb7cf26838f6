"""The base class of all optimizers. All parameters of a network are one flat vector, so an
optimizer is a formula of a few lines.

Letters, as in the papers: p parameters, g gradients, and k the number of the step, from 1. In Adam,
m is a running mean of the gradients and v one of their squares; in SGD and Muon, v is the velocity.
All but k are vectors (..., P).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ann.backends.base import Array, Backend, Formula
from ann.optim.scalars import Scalars


class Optimizer(ABC):
    """An update rule for the parameters and gradients of one network.

    Args:
        backend: computes the step.
        parameters, gradients: device vectors (..., P). First come all weights, which decay, one
            matrix (I, O) after another; then everything that does not decay, such as biases.
        shapes: (I, O) of each matrix.
        scalars: provides the numbers that change from step to step, such as the learning rate.
        momentum: the decay of the running mean or sum of gradients; beta1 in Adam's paper.
        weight_decay: how strongly weights are pulled towards 0.
        accumulate: whether the backward pass may add new gradients to old ones, as ``SGD`` does. It
            may not if something else, such as clipping, changes the gradients before the update.

    Class attributes, from which recipes take their default rates:
        tuned: the learning rate and weight decay for a sigmoid network, batches of 200 images and
            24 epochs.
        adaptive: whether steps are equally long for small and large gradients, as in Adam.
        sums_gradients: whether momentum adds gradients up instead of averaging them. A momentum of
            0.9 then makes steps up to 10 times as long.
        decoupled_decay: whether each step shrinks weights by learning rate x weight decay.

    Attributes:
        formula: the step, unless ``update`` is overridden: (xp, *vectors, *numbers) -> new vectors.
        vectors, numbers: the arguments of the formula. The new vectors replace the old ones.
        rate: the learning rate of the current step, a 0-d device array.
        accumulate: the backward pass multiplies the old gradients by this before it adds new ones.
        state: the vectors that last from step to step, by name. A checkpoint stores them.
    """

    tuned = (0.003, 1e-4)
    adaptive = True
    sums_gradients = False
    decoupled_decay = False
    formula: Formula
    vectors: tuple[Array, ...]
    numbers: tuple[Any, ...]
    accumulate = 0.0

    def __init__(
        self,
        backend: Backend,
        parameters: Array,
        gradients: Array,
        shapes: Sequence[tuple[int, int]],
        scalars: Scalars,
        *,
        momentum: float,
        weight_decay: float,
        accumulate: bool = True,
    ) -> None:
        self.backend = backend
        self.p, self.g = parameters, gradients
        self.momentum, self.weight_decay = momentum, weight_decay
        self.shapes = tuple(shapes)
        self.weight_count = sum(math.prod(shape) for shape in shapes)
        self.may_accumulate = accumulate
        self.state: dict[str, Array] = {}
        self.rate = scalars.add(lambda k, rate: rate)
        self.prepare(scalars)

    @abstractmethod
    def prepare(self, scalars: Scalars) -> None:
        """Set ``vectors`` and ``numbers``, with ``add_state`` and ``scalars.add``.

        Keep no reference to ``scalars``: it holds functions that refer to the optimizer, and this
        cycle would keep the vectors alive after training.
        """

    def update(self) -> None:
        """Take one step with the current gradients, which may be overwritten."""
        self.add_decay()
        self.backend.elementwise(self.formula, *self.vectors, *self.numbers, out=self.vectors)

    def add_state(self, name: str, like: Array) -> Array:
        """A new vector of zeros that lasts from step to step."""
        self.state[name] = self.backend.xp.zeros_like(like)
        return self.state[name]

    def weights(self, vector: Array) -> Array:
        """The part of a vector that decays."""
        return vector[..., : self.weight_count]

    def others(self, vector: Array) -> Array:
        """The part of a vector that does not decay."""
        return vector[..., self.weight_count :]

    def add_decay(self) -> None:
        """g = g + weight_decay p for the weights: the gradient of weight_decay / 2 |p|^2."""
        if self.weight_decay:
            p, g = self.weights(self.p), self.weights(self.g)
            self.backend.elementwise(plus, g, self.weight_decay, p, out=g)


def plus(xp: Any, y: Array, factor: float, x: Array) -> Array:
    """y + factor x"""
    return y + factor * x
