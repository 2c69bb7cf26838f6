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
from typing import Any

import ann
from ann.cli.parser import Parser, checked
from ann.cli.recipe_flags import hidden_layers
from ann.nn.losses import get_loss
from ann.spelling import did_you_mean
from ann.validation import check_number

_NO_YES = ("no", "yes")
DISTORTIONS = ("rotation", "scaling", "shear", "shift", "elastic")
RATES = ("learning_rate", "weight_decay")
_AROUND = 5.0  # without a range, rates go from default / 5 to default * 5
_NEAR = "around the default"
_LOGARITHMIC = ("batch_size", *RATES)
# Names whose combinations with other fields ``Space.recipe`` makes fit
_FITTED = ("output_activation", "loss", "schedule")
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
    """Numbers from the lowest to the highest, of at least 0.

    ``log`` makes all powers of ten equally likely.

    Raises:
        ValueError: it is not such a range, or it is logarithmic and starts at 0.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high < math.inf:
            raise ValueError(f"{self.low} to {self.high} is not a range")
        if self.log and self.low == 0 < self.high:
            raise ValueError("a logarithmic range must start above 0")

    def __str__(self) -> str:
        return f"{self.low}-{self.high}" if self.low != self.high else str(self.low)


# Hidden layers, unless --hidden gives lists of them
_LAYERS = {"hidden_layers": Range(1, 3), "width": Range(32, 512, log=True)}
_FIELDS = [field for field in dataclasses.fields(ann.Recipe) if field.name not in _NOT_VARIED]


def parse_range(text: str, kind: type, *, log: bool = False) -> Range:
    """A range from a text such as 1-4, 1e-4-0.1 or 7. Raises ValueError if it is not a range."""
    ends = [kind(word) for word in re.split(r"(?<=[\d.])-", text)]  # not at the minus of 1e-4
    if len(ends) > 2:
        raise ValueError(f"{text!r} is not a range")
    return Range(ends[0], ends[-1], log)


class Space:
    """The values of all flags: a ``Range``, a tuple of names, or None for the recipe's default.

    Raises:
        ValueError: a value does not work, or two do not fit together; the message begins with a
            flag's name.
    """

    def __init__(self, flags: argparse.Namespace) -> None:
        names = (*_LAYERS, "hidden", "distort", *(field.name for field in _FIELDS))
        self._values: dict[str, Any] = {name: getattr(flags, name) for name in names}
        hidden = self._values["hidden"] = tuple(dict.fromkeys(flags.hidden or ()))
        for name, default in _LAYERS.items():
            if not hidden:
                self._values[name] = self._values[name] or default
            elif self._values.pop(name):
                raise ValueError(f"hidden: it replaces {_flag(name)}; use one of the two")
        channel_dropout = self._values["channel_dropout"]
        has_convolution = any("conv" in text for text in hidden)
        if channel_dropout and channel_dropout.high and not has_convolution:
            raise ValueError("channel_dropout: there is no convolution; add one with --hidden")
        if self._values["distort"] == ("no",):
            for name in DISTORTIONS:
                given = self._values[name]
                if given.high and given != parse_range(_VARIED[name], float):
                    raise ValueError(f"{name}: --distort no leaves it out; use one of the two")
        self._outputs = self._output_layers()
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Raise ValueError if a value does not work in a recipe, or two do not work together."""
        ends: dict[str, list[Any]] = {}
        for field in _FIELDS:
            values = self._values[field.name]
            if isinstance(values, Range):
                ends[field.name] = [_rounded(values.low), _rounded(values.high)]
            elif values and field.name not in _FITTED:
                ends[field.name] = [_value(name) for name in values]
        for pair in itertools.combinations(ends, 2):
            for values in itertools.product(*(ends[name] for name in pair)):
                fields: dict[str, Any] = dict(zip(pair, values, strict=True))
                ann.Recipe(**fields)

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
            chosen_apart |= {*DISTORTIONS, "undistorted_epochs"}
        if not any(str(layer).startswith("conv") for layer in hidden):
            chosen_apart.add("channel_dropout")
        if not hidden:
            chosen_apart.add("dropout")
        if all(str(layer).startswith(("pool", "average")) for layer in hidden):
            chosen_apart |= {"batch_norm", "max_norm"}
        for name, values in self._values.items():
            if values and name not in chosen_apart:
                fields[name] = _value(_suggest(trial, name, values))
        if fields.get("schedule") == "one-cycle":
            fields.pop("warmup", None)  # it has its own
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
            rate: float = _suggest(trial, name, self._values[name])
            return rate
        factor = trial.suggest_float(f"{name}_by_default", 1 / _AROUND, _AROUND, log=True)
        return _rounded(default * factor)

    def check(self, dataset: ann.Dataset, validation: int) -> None:
        """Raise ValueError if the images are too few for a batch, or do not fit hidden layers."""
        images = len(dataset.train_images)
        left = images - validation
        if left < 1:
            few = f"{validation} validation images of {images} training images leave none"
            raise ValueError(f"validation: {few} to train on")
        batch = self._values["batch_size"]
        if batch.high > left:
            few = f"{batch} is more than the {left} training images; give a smaller range"
            raise ValueError(f"batch_size: {few}")
        for text in self._values["hidden"]:
            try:
                ann.Recipe(hidden=hidden_layers(text)).network(dataset)
            except ValueError as error:
                raise ValueError(f"hidden: {text}: {error}") from None

    def describe(self) -> dict[str, str]:
        """The flags of the hyperparameters that vary or were given, with their values."""
        texts = {}
        for name, values in self._values.items():
            if values or name in RATES:
                separator = " " if name == "hidden" else ","
                is_choice = isinstance(values, tuple)
                text = separator.join(values) if is_choice else str(values or _NEAR)
                texts[_flag(name)] = text
        return texts


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _suggest(trial: Any, name: str, values: Range | tuple[str, ...]) -> Any:
    """What a trial of Optuna chooses; a single value is not a choice."""
    if isinstance(values, tuple):
        return values[0] if len(values) == 1 else trial.suggest_categorical(name, values)
    if values.low == values.high:
        return _rounded(values.low)
    suggest = trial.suggest_int if isinstance(values.low, int) else trial.suggest_float
    return _rounded(suggest(name, values.low, values.high, log=values.log))


def _rounded(value: float) -> float:
    """Round a float to three digits, so that the printed value is exactly the one that is tried."""
    return value if isinstance(value, int) else float(f"{value:.3g}")


def _value(choice: Any) -> Any:
    """The value of a recipe that a choice stands for: "yes" is True, and "no" False."""
    return choice == "yes" if choice in _NO_YES else choice


def _ranges(kind: Any, *, log: bool = False, least: int = 0) -> Callable[[str], Any]:
    """An argparse type for ranges."""
    whole, example = ("whole ", "2 or 1-4") if kind is int else ("", "0.1 or 0.01-0.5")
    above = " above 0" if log or least else ""
    expected = f"a {whole}number{above} or a range, the lower one first, such as {example}"
    parse = partial(parse_range, kind=kind, log=log)
    return checked(lambda found: check_number("", found.low, at_least=least), parse, expected)


def _names(choices: Collection[str]) -> Callable[[str], Any]:
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


def add_flags(parser: Parser) -> None:
    """Add a flag for each hyperparameter."""
    layers, width = (f"(default: {default})" for default in _LAYERS.values())
    parser.add("--hidden-layers A-B", f"number of hidden layers {layers}", _ranges(int))
    widths = _ranges(int, log=True, least=1)
    parser.add("--width A-B", f"width of each hidden layer {width}", widths)
    text = "instead of these two, lists of hidden layers, such as conv8x5,pool2,64 128,32"
    parser.add("--hidden LAYERS", text, _layers, nargs="+")
    text = f"whether to distort images: {', '.join(map(_flag, DISTORTIONS))}"
    parser.add("--distort NAME,NAME,...", text, _names(_NO_YES), "no,yes")
    for field in _FIELDS:
        name, bounds, text = field.name, field.metadata["bounds"], field.metadata["help"]
        metavar, kind = "NAME,NAME,...", _names(bounds.get("choices", _NO_YES))
        if field.type in (int, float):
            log, least = name in _LOGARITHMIC, bounds.get("at_least", 0)
            metavar, kind = "A-B", _ranges(field.type, log=log, least=least)
        if field.type is str:
            text += f"; of {', '.join(bounds['choices'])}"
        if name not in _VARIED:
            usual = "near the recipe's default" if name in RATES else "the recipe's default"
            text += f" (default: {usual})"
        parser.add(f"{_flag(name)} {metavar}", text, kind, _VARIED.get(name))
