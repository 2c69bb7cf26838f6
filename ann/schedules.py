"""Schedules: the learning rate of each step. Large steps early find a good region and small ones at the end
settle in it; a warm-up avoids throwing away the random start before the gradients mean anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable

# Each maps the share of the steps that is done, 0 <= t <= 1, to a factor of the learning rate.
_SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "step": lambda t: 0.1 ** math.floor(3.0 * t),  # a tenth after each third
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),  # Loshchilov & Hutter (2017), equation 5, one cycle
}
SCHEDULES = tuple(_SHAPES)


def get_schedule(name: str, learning_rate: float, steps: int, warmup: float = 0.0) -> Callable[[int], float]:
    """A function of the step, 0 .. steps - 1, that gives its learning rate, always above 0.

    Args:
        name: one of ``SCHEDULES``: constant; step, a tenth after each third; linear or cosine, down towards 0.
        learning_rate: the largest value.
        steps: how many there will be, at least 1.
        warmup: the share of the steps, 0 to below 1, in which the rate first rises in a straight line.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in _SHAPES:
        raise ValueError(f"unknown schedule {name!r}; known: {', '.join(_SHAPES)}")
    shape, rising = _SHAPES[name], warmup * steps

    def rate(step: int) -> float:
        if step + 1 < rising:
            return learning_rate * (step + 1) / rising
        return learning_rate * shape((step - max(rising - 1, 0)) / (steps - max(rising - 1, 0)))

    return rate
