"""The search space of a sweep: a value, a choice or a range for each hyperparameter, each a flag.

The flags and their bounds follow from the fields of a recipe. Unless they have a range, learning
rates and weight decays are tried around the defaults for the rest of the recipe.
"""

import argparse
import dataclasses
import itertools
import math
import re
from dataclasses import dataclass
from typing import Any

import ann
from ann.cli.recipe_flags import hidden_layers
from ann.nn.losses import get_loss
from ann.spelling import did_you_mean

_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?"
_NO_YES = ("no", "yes")
DISTORTIONS = ("rotation", "scaling", "shear", "shift", "elastic", "thickness")
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
        self._values: dict[str, Any] = {name: getattr(flags, name) for name in _flags()}
        if self._values["hidden"]:
            self._values["hidden"] = tuple(dict.fromkeys(self._values["hidden"]))
            self._leave_out("hidden_layers", "width")
        self._outputs = self._output_layers()
        for index in (0, -1):
            self.recipe(_Corner(index))

    def _leave_out(self, *names: str) -> None:
        """Give up what ``--hidden`` replaces; raise ValueError if one of these flags was given."""
        for name in names:
            kind, default, _ = _flags()[name]
            if self._values[name] != kind(default):
                raise ValueError(f"hidden: it replaces {_flag(name)}; use one of the two")
            self._values[name] = None

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


class _RangeType:
    """An argparse type for ranges."""

    metavar = "A-B"

    def __init__(self, kind: type, *, log: bool = False, least: int = 0) -> None:
        self._kind, self._log, self._least = kind, log, least

    def __call__(self, text: str) -> Range:
        try:
            found = parse_range(text, self._kind, log=self._log)
            if found.low < self._least:
                raise ValueError("too low")
            return found
        except ValueError:
            is_int = self._kind is int
            whole, example = ("whole ", "2 or 1-4") if is_int else ("", "0.1 or 0.01-0.5")
            above = " above 0" if self._log or self._least else ""
            expected = f"a {whole}number{above} or a range, the lower one first, such as {example}"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None


class _Names:
    """An argparse type for one or more of some names."""

    metavar = "NAME,NAME,..."

    def __init__(self, choices: tuple[str, ...]) -> None:
        self.choices = choices

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in self.choices:
                known = f"{', '.join(self.choices)}{did_you_mean(name, self.choices)}"
                raise argparse.ArgumentTypeError(f"unknown {name!r}; known: {known}")
        return names


class _Layers:
    """An argparse type for hidden layers, as in scripts/train.py. Their text is the value."""

    metavar = "LAYERS"

    def __call__(self, text: str) -> str:
        return ",".join(map(str, hidden_layers(text))) or "none"


def _flags() -> dict[str, tuple[Any, str | None, str]]:
    """For each hyperparameter an argparse type, the default and the help text."""
    distortions = ", ".join(map(_flag, DISTORTIONS))
    flags: dict[str, tuple[Any, str | None, str]] = {
        "hidden_layers": (_RangeType(int), "1-3", "number of hidden layers"),
        "width": (_RangeType(int, log=True, least=1), "32-512", "width of each hidden layer"),
        "hidden": (
            _Layers(),
            None,
            "instead of these two, lists of hidden layers, such as conv8x5,pool2,64 128,32",
        ),
        "distort": (_Names(_NO_YES), "no,yes", f"whether to distort images: {distortions}"),
    }
    for field in dataclasses.fields(ann.Recipe):
        if field.name not in _NOT_VARIED:
            kind = _type_of(field)
            flags[field.name] = (kind, _VARIED.get(field.name), field.metadata["help"])
    return flags


def _type_of(field: dataclasses.Field[Any]) -> Any:
    """The argparse type for a field of a recipe."""
    bounds = field.metadata["bounds"]
    kind: Any = field.type
    if kind is str:
        return _Names(tuple(bounds["choices"]))
    if kind is bool:
        return _Names(_NO_YES)
    return _RangeType(kind, log=field.name in _LOGARITHMIC, least=bounds.get("at_least", 0))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each hyperparameter."""
    for name, (kind, default, text) in _flags().items():
        if isinstance(kind, _Names) and kind.choices != _NO_YES:
            text += f"; of {', '.join(kind.choices)}"
        options: dict[str, Any] = {"type": kind, "default": default, "metavar": kind.metavar}
        if isinstance(kind, _Layers):
            parser.add_argument(_flag(name), nargs="+", help=text, **options)
            continue
        usual = "near the recipe's default" if name in RATES else "the recipe's default"
        parser.add_argument(_flag(name), help=f"{text} (default: {default or usual})", **options)
