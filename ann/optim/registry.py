"""Optimizers by name: how a gradient becomes a step. The rules themselves are in ``sgd``, ``adam`` and ``muon``;
what they share, and the letters, in ``optimizer``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ann.backends.base import Array, Backend
from ann.optim.adam import Adam, RMSProp
from ann.optim.muon import Muon
from ann.optim.optimizer import Optimizer
from ann.optim.sgd import SGD, Nesterov
from ann.spelling import did_you_mean

# name -> (class, its options)
_OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "nesterov": (Nesterov, {}),
    "adam": (Adam, {}),
    "adamw": (Adam, {"decoupled": True}),
    "rmsprop": (RMSProp, {}),
    "muon": (Muon, {}),
}
OPTIMIZERS = tuple(_OPTIMIZERS)


def get_optimizer(
    name: str,
    backend: Backend,
    parameters: Array,
    gradients: Array,
    weights: Sequence[slice],
    shapes: Sequence[tuple[int, int]],
    *,
    momentum: float,
    weight_decay: float,
    own_velocity: bool = False,
) -> Optimizer:
    """The optimizer of this name, bound to a network's vectors. Raises ValueError for an unknown name.

    ``own_velocity``: gradients are changed between the backward pass and the update, see ``SGD``.
    """
    if name not in _OPTIMIZERS:
        meant = did_you_mean(name, OPTIMIZERS)
        raise ValueError(f"unknown optimizer {name!r}; known: {', '.join(OPTIMIZERS)}{meant}")
    rule, options = _OPTIMIZERS[name]
    if own_velocity and rule is SGD:
        options = {**options, "own_velocity": True}
    vectors = (backend, parameters, gradients, weights, shapes)
    return rule(*vectors, momentum=momentum, weight_decay=weight_decay, **options)
