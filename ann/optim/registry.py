"""Optimizers by name."""

from typing import Any

from ann.optim.adam import Adam, AdamW, RMSProp
from ann.optim.muon import Muon
from ann.optim.optimizer import Optimizer
from ann.optim.sgd import SGD, Nesterov
from ann.spelling import check_known

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "nesterov": Nesterov,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSProp,
    "muon": Muon,
}


def get_optimizer(name: str, *args: Any, **hyperparameters: Any) -> Optimizer:
    """A new optimizer. Arguments: see ``Optimizer``. Raises ValueError if the name is unknown."""
    check_known("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](*args, **hyperparameters)
