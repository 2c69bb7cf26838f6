"""Update rules that follow the running mean of gradients. Letters: see ``optimizer``."""

from __future__ import annotations

from typing import Any

from ann.backends.base import Array
from ann.optim.optimizer import Rule


class SGD(Rule):
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
        self.add_decay()
        if self._v is not self._g:
            self._backend.axpby(self._g, self._v, 1.0, self._momentum)
        self._backend.axpby(self._v, self._p, numbers[0, ...])


class Nesterov(Rule):
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
        axpby, p, g, v = self._backend.axpby, self._p, self._g, self._v
        self.add_decay()
        axpby(g, v, 1.0, self._momentum)
        axpby(g, p, numbers[0, ...])
        axpby(v, p, numbers[1, ...])
