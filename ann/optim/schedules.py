"""Schedules: the learning rate of each step. Large steps early on find a good region, and small
ones at the end settle in it. A warm-up keeps the first, unreliable gradients from causing large
steps.
"""

import math
from collections.abc import Callable

from ann.spelling import check_known

# Each maps the fraction of steps done, 0 <= t <= 1, to a factor of the learning rate.
_SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "step": lambda t: 0.1 ** math.floor(3.0 * t),  # divided by 10 after each third
    "linear": lambda t: 1.0 - t,
    # Loshchilov & Hutter (2017), equation 5, for one cycle
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
}
SCHEDULES = (*_SHAPES, "one-cycle")


def _one_cycle(step: int, steps: int) -> float:
    """Smith & Topin (2018): up from 4 % in the first 30 % of the steps, then down to almost 0."""
    start, end, top = 1 / 25, 1 / 250_000, 0.3 * steps - 1
    cosine = _SHAPES["cosine"]
    if step <= top:
        return 1 + (start - 1) * cosine(step / top)
    return end + (1 - end) * cosine((step - top) / (steps - 1 - top))


def get_schedule(
    name: str, learning_rate: float, steps: int, warmup: float = 0.0
) -> Callable[[int], float]:
    """A function that maps a step, 0 .. steps - 1, to its learning rate, which is always above 0.

    Args:
        name: one of ``SCHEDULES``: constant; step, divided by 10 after each third; linear or
            cosine, down towards 0; one-cycle, up and then down, which has its own warm-up.
        learning_rate: the largest value.
        steps: the number of steps, at least 1.
        warmup: the fraction of the steps, from 0 to below 1, in which the rate first rises
            linearly.

    Raises:
        ValueError: the name is unknown.
    """
    if name == "one-cycle":
        return lambda step: learning_rate * _one_cycle(step, steps)
    check_known("schedule", name, SCHEDULES)
    shape = _SHAPES[name]
    rising = warmup * steps  # the number of steps in the warm-up
    top = max(rising - 1, 0)  # where it ends, at the full learning rate

    def rate(step: int) -> float:
        if step + 1 < rising:
            return learning_rate * (step + 1) / rising
        return learning_rate * shape((step - top) / (steps - top))

    return rate
