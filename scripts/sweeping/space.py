"""The search space of a sweep: a value, a choice or a range for each hyperparameter, each a flag.

The flags and their bounds follow from the fields of a recipe. Unless they have a range, learning
rates and weight decays are tried around the defaults for the rest of the recipe.
"""

import argparse
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import ann
from ann.cli.parser import checked
from ann.cli.recipe_flags import hidden_layers
from ann.nn.losses import get_loss
from ann.spelling import did_you_mean

_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?"
_NO_YES = ("no", "yes")
DISTORTIONS = ("rotation", "scaling", "shear", "shift", "elastic")
RATES = ("learning_rate", "weight_decay")
_AROUND = 5.0  # without a range, rates go from default / 5 to default * 5
_NEAR = "around the default"
_LOGARITHMIC = ("batch_size", *RATES)
# Fields of a recipe without a flag: other flags determine them
_NOT_VARIED = ("hidden", "committee", "epochs", "validation", "early_stopping")
# What a sweep varies by default; other fields keep their values unless a flag is given
_VARIED = {
    "activation": "sigmoid,tanh,relu,gelu",
    "output_activation": "sigmoid,softmax",
    "loss": "cross-entropy,quadratic",
    "optimizer": "nesterov,adamw,muon",
    "schedule": "linear,cosine,one-cycle",
    "batch_size": "64-512",
    "dropout": "0-0.3",
    "rotation": "0-15",
    "scaling": "0-0.2",
    "shear": "0-15",
    "shift": "0-1.5",
    "elastic": "0-1.3",
}


@dataclass(frozen=True)
class Range:
    """Numbers from the lowest to the highest; ``log`` makes all powers of ten equally likely.

    Raises:
        ValueError: the range is empty, or it is logarithmic and does not start above 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high < math.inf:
            raise ValueError(f"{self.low} to {self.high} is not a range")
        if self.log and self.low != self.high and self.low <= 0:
            raise ValueError("a logarithmic range must start above 0")

    def suggest(self, trial: Any, name: str) -> Any:
        """The number that a trial of Optuna chooses, floats with three digits."""
        is_int = isinstance(self.low, int)
        value = self.low
        if self.low != self.high:
            suggest = trial.suggest_int if is_int else trial.suggest_float
            value = suggest(name, self.low, self.high, log=self.log)
        return value if is_int else _rounded(value)

    def __str__(self) -> str:
        return f"{self.low}-{self.high}" if self.low != self.high else str(self.low)


def _rounded(value: float) -> float:
    """With three digits, as a person would write it: what is printed is what was tried."""
    return float(f"{value:.3g}")


def parse_range(text: str, kind: type, *, log: bool = False) -> Range:
    """A range from a text such as 1-4, 1e-4-0.1 or 7. Raises ValueError if it is not a range."""
    found = re.fullmatch(rf"({_NUMBER})(?:-({_NUMBER}))?", text)
    if not found:
        raise ValueError(f"{text!r} is not a range")
    return Range(kind(found[1]), kind(found[2] or found[1]), log)


class Space:
    """The values of all flags: a ``Range``, a tuple of names, or None for the recipe's default.

    Raises:
        ValueError: a corner of the space is not a recipe; the message begins with a flag's name.
    """

    def __init__(self, flags: argparse.Namespace) -> None:
        known = _flags()
        self._values: dict[str, Any] = {name: getattr(flags, name) for name in known}
        if self._values["hidden"]:
            self._values["hidden"] = tuple(dict.fromkeys(self._values["hidden"]))
            for name in ("hidden_layers", "width"):  # which it replaces
                flag = known[name]
                if self._values.pop(name) != flag.kind(flag.default or ""):
                    raise ValueError(f"hidden: it replaces {_flag(name)}; use one of the two")
        self._outputs = self._output_layers()
        for index in (0, -1):
            self.recipe(_Corner(index))

    def _output_layers(self) -> tuple[str, ...]:
        """Output activations and the losses that fit them, such as "softmax, cross-entropy"."""
        outputs, reason = [], ValueError()
        pairs = itertools.product(self._values["output_activation"], self._values["loss"])
        for activation, loss in pairs:
            try:
                get_loss(loss, activation)
                outputs.append(f"{activation}, {loss}")
            except ValueError as error:
                reason = error
        if not outputs:
            raise reason
        return tuple(outputs)

    def has_range(self, name: str) -> bool:
        """Whether a hyperparameter has a range of its own."""
        return self._values[name] is not None

    def recipe(self, trial: Any) -> ann.Recipe:
        """The recipe that a trial of Optuna chooses."""
        hidden = self._hidden(trial)
        output_activation, loss = _suggest(trial, "outputs", self._outputs).split(", ")
        fields = {"hidden": hidden, "output_activation": output_activation, "loss": loss}
        chosen_apart = {"hidden_layers", "width", "distort", *fields, *RATES}
        if _suggest(trial, "distort", self._values["distort"]) == "no":
            chosen_apart |= {*DISTORTIONS}
        if not any(str(layer).startswith("conv") for layer in hidden):
            chosen_apart.add("channel_dropout")
        for name, values in self._values.items():
            if values is not None and name not in chosen_apart:
                value = _suggest(trial, name, values)
                fields[name] = value == "yes" if value in _NO_YES else value
        recipe = ann.Recipe(**fields)
        rates = {name: self._rate(trial, name, getattr(recipe, name)) for name in RATES}
        return recipe.changed(**rates)

    def _hidden(self, trial: Any) -> tuple[int | str, ...]:
        if self._values["hidden"]:
            return hidden_layers(_suggest(trial, "hidden", self._values["hidden"]))
        layers = _suggest(trial, "hidden_layers", self._values["hidden_layers"])
        widths = [f"width_{number}" for number in range(1, layers + 1)]
        return tuple(_suggest(trial, name, self._values["width"]) for name in widths)

    def _rate(self, trial: Any, name: str, default: float) -> float:
        if self.has_range(name):
            rate: float = self._values[name].suggest(trial, name)
            return rate
        factor = trial.suggest_float(f"{name}_by_default", 1 / _AROUND, _AROUND, log=True)
        return _rounded(default * factor)

    def check_sizes(self, images: int, validation: int) -> None:
        """Raise ValueError if there are too few training images for validation and a batch."""
        left = images - validation
        if left < 1:
            few = f"{validation} validation images of {images} training images leave none"
            raise ValueError(f"validation: {few} to train on")
        batch = self._values["batch_size"]
        if batch.high > left:
            few = f"{batch} is more than the {left} training images; give a smaller range"
            raise ValueError(f"batch_size: {few}")

    def check_layers(self, dataset: ann.Dataset) -> None:
        """Raise ValueError if a list of hidden layers does not fit the images."""
        for text in self._values["hidden"] or ():
            try:
                ann.Recipe(hidden=hidden_layers(text)).network(dataset)
            except ValueError as error:
                raise ValueError(f"hidden: {text}: {error}") from None

    def describe(self) -> dict[str, str]:
        """The flags of the hyperparameters that vary or were given, with their values."""
        texts = {}
        for name, values in self._values.items():
            if values is not None or name in RATES:
                separator = " " if name == "hidden" else ","
                is_choice = isinstance(values, tuple)
                text = separator.join(values) if is_choice else str(values or _NEAR)
                texts[_flag(name)] = text
        return texts


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _suggest(trial: Any, name: str, values: Range | tuple[str, ...]) -> Any:
    """What a trial chooses; a single value is not a choice."""
    if isinstance(values, Range):
        return values.suggest(trial, name)
    return values[0] if len(values) == 1 else trial.suggest_categorical(name, values)


class _Corner:
    """Chooses, like a trial, the first of everything (index 0) or the last (-1)."""

    def __init__(self, index: int) -> None:
        self._index = index

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        return choices[self._index]

    def suggest_float(self, name: str, *bounds: float, log: bool) -> float:
        return bounds[self._index]

    suggest_int = suggest_float


class _Flag(NamedTuple):
    """A flag: an argparse type, the default as text, the help text and the value's name there."""

    kind: Callable[[str], Any]
    default: str | None
    help: str
    metavar: str


def _ranges(kind: type, *, log: bool = False, least: int = 0) -> Callable[[str], Range]:
    """An argparse type for ranges."""
    whole, example = ("whole ", "2 or 1-4") if kind is int else ("", "0.1 or 0.01-0.5")
    above = " above 0" if log or least else ""
    expected = f"a {whole}number{above} or a range, the lower one first, such as {example}"

    def check(found: Range) -> None:
        if found.low < least:
            raise ValueError("too low")

    return checked(check, partial(parse_range, kind=kind, log=log), expected)


def _names(choices: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type for one or more of some names."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in choices:
                known = f"{', '.join(choices)}{did_you_mean(name, choices)}"
                raise argparse.ArgumentTypeError(f"unknown {name!r}; known: {known}")
        return names

    return parse


def _layers(text: str) -> str:
    """An argparse type for hidden layers, as in scripts/train.py. Their text is the value."""
    return ",".join(map(str, hidden_layers(text))) or "none"


def _flags() -> dict[str, _Flag]:
    """A flag for each hyperparameter."""
    range_, names = "A-B", "NAME,NAME,..."
    lists = "instead of these two, lists of hidden layers, such as conv8x5,pool2,64 128,32"
    distort = f"whether to distort images: {', '.join(map(_flag, DISTORTIONS))}"
    flags = {
        "hidden_layers": _Flag(_ranges(int), "1-3", "number of hidden layers", range_),
        "width": _Flag(
            _ranges(int, log=True, least=1), "32-512", "width of each hidden layer", range_
        ),
        "hidden": _Flag(_layers, None, lists, "LAYERS"),
        "distort": _Flag(_names(_NO_YES), "no,yes", distort, names),
    }
    for field in dataclasses.fields(ann.Recipe):
        name, bounds = field.name, field.metadata["bounds"]
        kind: Any = field.type
        if name in _NOT_VARIED:
            continue
        default, text = _VARIED.get(name), field.metadata["help"]
        if kind is str:
            text += f"; of {', '.join(bounds['choices'])}"
            flags[name] = _Flag(_names(bounds["choices"]), default, text, names)
        elif kind is bool:
            flags[name] = _Flag(_names(_NO_YES), default, text, names)
        else:
            ranges = _ranges(kind, log=name in _LOGARITHMIC, least=bounds.get("at_least", 0))
            flags[name] = _Flag(ranges, default, text, range_)
    return flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each hyperparameter."""
    for name, flag in _flags().items():
        options: dict[str, Any] = {"type": flag.kind, "metavar": flag.metavar}
        if name == "hidden":
            parser.add_argument(_flag(name), nargs="+", help=flag.help, **options)
            continue
        usual = "near the recipe's default" if name in RATES else "the recipe's default"
        text = f"{flag.help} (default: {flag.default or usual})"
        parser.add_argument(_flag(name), default=flag.default, help=text, **options)
