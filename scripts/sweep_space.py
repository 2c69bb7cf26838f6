"""What a sweep tries: for each hyperparameter a value, some values or a range of them, each a flag of scripts/sweep.py.
Unless a range is given, learning rates and weight decays are tried around the defaults for the rest of the recipe.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
from dataclasses import dataclass, field
from typing import Any

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.losses import LOSSES, get_loss
from ann.optim.registry import OPTIMIZERS
from ann.optim.schedules import SCHEDULES
from ann.spelling import did_you_mean

_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?"
RATES = ("learning_rate", "weight_decay")
_AROUND = 5.0  # without a range, rates go from the default divided by this to the default times this


@dataclass(frozen=True)
class Range:
    """Numbers from the lowest to the highest; ``log``: each power of ten is as likely as the next.

    Raises:
        ValueError: there is none, or 0 in a range of powers.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high < math.inf:
            raise ValueError(f"{self.low} to {self.high} is no range")
        if self.log and self.low != self.high and self.low <= 0:
            raise ValueError("such a range begins above 0")

    def suggest(self, trial: Any, name: str) -> Any:
        """One of them, chosen by a trial of Optuna; where there is but one, it is no choice."""
        if self.low == self.high:
            return self.low
        whole = isinstance(self.low, int)
        return (trial.suggest_int if whole else trial.suggest_float)(name, self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.low}-{self.high}" if self.low != self.high else str(self.low)


@dataclass(frozen=True)
class Space:
    """Everything that may vary, named like the flags; ``None`` is a range around the recipe's default."""

    hidden_layers: Range
    width: Range
    activation: tuple[str, ...]
    output_activation: tuple[str, ...]
    loss: tuple[str, ...]
    optimizer: tuple[str, ...]
    learning_rate: Range | None
    weight_decay: Range | None
    schedule: tuple[str, ...]
    batch_size: Range
    dropout: Range
    distort: tuple[str, ...]
    rotation: Range
    scaling: Range
    shear: Range
    shift: Range
    elastic: Range
    ends: list[tuple[str, str]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Check that its first and its last corner are recipes. Raises ValueError where one is none."""
        ends = []
        for activation, loss in itertools.product(self.output_activation, self.loss):
            try:
                get_loss(loss, activation)
            except ValueError as error:
                reason = error
            else:
                ends.append((activation, loss))
        if not ends:
            raise reason
        object.__setattr__(self, "ends", ends)
        for corner in (_Corner(first=True), _Corner(first=False)):
            self.recipe(corner)

    def recipe(self, trial: Any) -> ann.Recipe:
        """The recipe that a trial of Optuna chooses."""

        def one(name: str, choices: tuple[str, ...]) -> str:
            return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, choices)

        layers = self.hidden_layers.suggest(trial, "hidden_layers")
        optimizer = one("optimizer", self.optimizer)
        end = one("outputs", tuple(f"{activation}, {loss}" for activation, loss in self.ends))
        output_activation, loss = end.split(", ")
        distorted = one("distort", self.distort) == "yes"
        strengths: dict[str, Any] = {
            name: _short(getattr(self, name).suggest(trial, name)) if distorted else 0.0
            for name in ("rotation", "scaling", "shear", "shift", "elastic")
        }
        recipe = ann.Recipe(
            hidden=tuple(self.width.suggest(trial, f"width_{number}") for number in range(1, layers + 1)),
            activation=one("activation", self.activation),
            output_activation=output_activation,
            loss=loss,
            optimizer=optimizer,
            schedule=one("schedule", self.schedule),
            batch_size=self.batch_size.suggest(trial, "batch_size"),
            dropout=_short(self.dropout.suggest(trial, "dropout")),
            **strengths,
        )
        rates = {name: self._rate(trial, name, getattr(recipe, name)) for name in RATES}
        return recipe.changed(**rates)

    def _rate(self, trial: Any, name: str, default: float) -> float:
        given: Range | None = getattr(self, name)
        if given:
            return _short(given.suggest(trial, name))
        return _short(default * Range(1 / _AROUND, _AROUND, log=True).suggest(trial, f"{name}_by_default"))

    def words(self) -> dict[str, str]:
        """What each flag says, for comparing and for showing."""
        return {
            name: ",".join(value) if isinstance(value, tuple) else str(value or "around the default")
            for name, value in vars(self).items()
            if name != "ends"
        }


class _Corner:
    """What chooses, like a trial, the first or the last of everything."""

    def __init__(self, *, first: bool) -> None:
        self._first = first

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return low if self._first else high

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        return low if self._first else high

    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> str:
        return choices[0 if self._first else -1]


def _short(value: float) -> float:
    """With three digits, as a person would write it: the recipe is what is tried, and what is printed."""
    return float(f"{value:.3g}")


def parse_range(text: str, kind: type, *, log: bool = False) -> Range:
    """A range of a text such as 1-4, 1e-4-0.1 or 7. Raises ValueError where it is none."""
    found = re.fullmatch(rf"({_NUMBER})(?:-({_NUMBER}))?", text)
    if not found:
        raise ValueError(f"{text!r} is no range")
    low, high = kind(found[1]), kind(found[2] or found[1])
    return Range(low, high, log)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of a space."""

    def add(name: str, kind: Any, default: str | None, text: str) -> None:
        flag = f"--{name.replace('_', '-')}"
        text = f"{text} (default: {default or 'around the default for the other values'})"
        parser.add_argument(flag, type=kind, default=default, metavar=kind.metavar, help=text)

    choices = {"activation": tuple(ACTIVATIONS), "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": tuple(LOSSES)}
    add("hidden_layers", _RangeType(int), "1-3", "how many")
    add("width", _RangeType(int, log=True, least=1), "32-512", "of each of them")
    add("activation", _Names(choices["activation"]), "sigmoid,tanh,relu,gelu", f"of {', '.join(ACTIVATIONS)}")
    add("output_activation", _Names(choices["activation"]), "sigmoid,softmax", "the same choice")
    add("loss", _Names(tuple(LOSSES)), "cross-entropy,quadratic", "those that go with the outputs")
    add("optimizer", _Names(OPTIMIZERS), "nesterov,adamw,muon", f"of {', '.join(OPTIMIZERS)}")
    add("learning_rate", _RangeType(float, log=True), None, "largest learning rate")
    add("weight_decay", _RangeType(float, log=True), None, "how strongly weights are pulled towards 0")
    add("schedule", _Names(SCHEDULES), "linear,cosine,one-cycle", f"of {', '.join(SCHEDULES)}")
    add("batch_size", _RangeType(int, log=True, least=1), "64-512", "images in a step")
    add("dropout", _RangeType(float), "0-0.3", "share of hidden neurons")
    add("distort", _Names(("no", "yes")), "no,yes", "whether training images are distorted, by the next five")
    add("rotation", _RangeType(float), "0-15", "degrees")
    add("scaling", _RangeType(float), "0-0.2", "share")
    add("shear", _RangeType(float), "0-15", "degrees")
    add("shift", _RangeType(float), "0-1.5", "pixels")
    add("elastic", _RangeType(float), "0-1.3", "pixels")


class _RangeType:
    """An argparse type for ranges."""

    metavar = "A-B"

    def __init__(self, kind: type, *, log: bool = False, least: int = 0) -> None:
        self._kind, self._log, self._least = kind, log, least

    def __call__(self, text: str) -> Range:
        whole = self._kind is int
        try:
            found = parse_range(text, self._kind, log=self._log)
            if found.low < self._least:
                raise ValueError("too low")
            return found
        except ValueError:
            example = "2 or 1-4" if whole else "0.1 or 0.01-0.5"
            above = " above 0" if self._log or self._least else ""
            raise argparse.ArgumentTypeError(
                f"expected a {'whole ' * whole}number{above} or a range, the lower one first, such as {example}, "
                f"got {text!r}"
            ) from None


class _Names:
    """An argparse type for one or more of some names."""

    metavar = "NAME,NAME,..."

    def __init__(self, choices: tuple[str, ...]) -> None:
        self._choices = choices

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in self._choices:
                hint = did_you_mean(name, self._choices)
                raise argparse.ArgumentTypeError(f"unknown {name!r}; known: {', '.join(self._choices)}{hint}")
        return names


def space_of(flags: argparse.Namespace) -> Space:
    """The space that the flags describe. Raises ValueError where it is none; the message begins with a flag's name."""
    return Space(**{name: getattr(flags, name) for name in Space.__dataclass_fields__ if name != "ends"})
