"""An activation of the user's own: a function and its derivative, under a name that layer lists, recipes and model
files know from then on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from ann.activations import ACTIVATIONS
from ann.checkpoint_file import digest
from ann.operations import Array, Backend
from ann.validation import check_curve, in_short


class Registered:
    """A user's activation: y = curve(xp, z), with the derivative dy/dz = derivative(xp, z), both out of place."""

    keeps: Literal["output", "input"] = "input"
    factor = 1.0

    def __init__(
        self, name: str, curve: Callable[[Any, Array], Array], derivative: Callable[[Any, Array], Array]
    ) -> None:
        self.name, self.curve, self.derivative = name, curve, derivative

    def function(self, backend: Backend, z: Array, out: Array, *, multiplied: bool = False) -> None:
        """Write y into ``out``."""
        backend.evaluate(self.curve, z, out)

    def backward(self, backend: Backend, grad: Array, kept: Array, scratch: Array) -> None:
        """dL/dz = dL/dy * dy/dz."""
        backend.evaluate(self.derivative, kept, scratch)
        backend.xp.multiply(grad, scratch, out=grad)


def fingerprints(names: Iterable[str]) -> dict[str, str]:
    """For each of these that is a user's own, what tells it from another of the same name: its values and slopes."""
    z = np.linspace(-3.0, 3.0, 25)
    own = [one for one in map(ACTIVATIONS.get, names) if isinstance(one, Registered)]
    with np.errstate(all="ignore"):
        return {one.name: digest(one.curve(np, z), one.derivative(np, z)) for one in own}


def register_activation(
    name: str, curve: Callable[[Any, Array], Array], derivative: Callable[[Any, Array], Array]
) -> None:
    """Make an activation of your own known by a name, in layer lists, recipes and model files.

    Args:
        name: a word of letters, digits and dashes. Registering it again replaces it; the names here already stay.
        curve: (xp, z) -> y, an array of the shape and type of z, by functions and operators of the array library
            ``xp``, each element for itself; z is not to be changed.
        derivative: (xp, z) -> dy/dz, in the same way.

    Raises:
        ValueError: the name is taken or no such word, or the functions, tried on a few numbers, do not give what they
            should: float32 for float32, and a derivative that is the slope of the curve.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"activation name: expected a word of letters, digits and dashes, got {in_short(name)}")
    if name in ACTIVATIONS and not isinstance(ACTIVATIONS[name], Registered):
        raise ValueError(f"activation {name!r} is there already; take another name")
    check_curve(name, curve, derivative)
    ACTIVATIONS[name] = Registered(str(name), curve, derivative)
