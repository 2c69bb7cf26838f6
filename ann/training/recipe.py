"""Recipes: a network and how to train it, as one frozen set of hyperparameters. A recipe is checked when it is
made, is saved in every model, and prints as the command line that repeats the training.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.data.distortion import DistortionStrengths
from ann.nn.activations import get_activation
from ann.nn.losses import get_loss
from ann.optim.registry import OPTIMIZERS
from ann.optim.schedules import SCHEDULES
from ann.spelling import did_you_mean
from ann.training.default_rates import default_rates
from ann.validation import check_count, check_flag, check_number

BY_RULE: Any = None  # marks a field whose default depends on the others
_RATE_BOUNDS: dict[str, dict[str, float]] = {
    "learning_rate": {"above": 0},
    "weight_decay": {"at_least": 0},
    "warmup": {"at_least": 0, "below": 1},
}


@dataclass(frozen=True)
class Recipe:
    """A network and how to train it. The defaults are the classroom recipe; the README says how they were found.

    If the learning rate, weight decay or warm-up is not given (or None), its default depends on the other fields: see
    ``default_rates``. It is set when the recipe is created: ``dataclasses.replace`` keeps it, ``changed`` adapts it.

    Attributes:
        hidden: the widths of the hidden layers.
        activation: of the hidden layers.
        output_activation: of the last layer.
        loss: "cross-entropy" or "quadratic".
        committee: how many such networks are trained side by side, whose outputs are then averaged.
        optimizer: "sgd", "nesterov", "adam", "adamw", "rmsprop" or "muon".
        learning_rate: its largest value during training; the default depends on the other fields.
        momentum: the decay of the running mean of gradients (Adam's first beta).
        weight_decay: how strongly weights, but not biases, are pulled towards 0; the default depends on the other
            fields.
        label_smoothing: the share of each target that goes to all classes alike.
        dropout: the share of the outputs of hidden layers that is 0 in training, others for each image in each epoch.
        input_dropout: the same for the pixels.
        rotation: images are turned in training by up to so many degrees, 1 and 7 by half, differently in each epoch.
        scaling: and their height and width changed by up to this share.
        shear: and leant by up to so many degrees.
        shift: and shifted by up to so many pixels, along each axis.
        elastic: and bent, so that pixels move by this standard deviation, in pixels, along each axis.
        adversarial: how far each training image is moved, as a length in inputs from 0 to 1, in the direction in which
            its loss grows fastest; half of what is learnt is then of moved images; 0 for none.
        clip: the largest norm that the gradient of all parameters may have; 0 for no limit.
        max_norm: the largest norm of the weights into each hidden neuron; 0 for no limit.
        average: the memory of a moving average of the parameters, which the network then gets; 0 for none.
        batch_norm: whether the sums of hidden neurons are normalised in training, over each batch.
        batch_size: images in a step.
        epochs: passes over the training images.
        schedule: how the learning rate falls: "constant", "step", "linear", "cosine" or "one-cycle".
        warmup: the share of all steps during which the learning rate first rises; the default depends on the other
            fields. "one-cycle" has its own warm-up and ignores it.
        validation: how many images at the end of the training set are held out and only measured.
        early_stopping: after how many epochs in which the held-out images are recognised no better training ends; the
            network then gets the parameters of the best epoch; 0 for all epochs and the last parameters.

    Raises:
        ValueError: a value makes no sense; the message names it.
    """

    hidden: tuple[int, ...] = (128, 32)
    activation: str = "sigmoid"
    output_activation: str = "sigmoid"
    loss: str = "cross-entropy"
    committee: int = 1
    optimizer: str = "adamw"
    learning_rate: float = BY_RULE
    momentum: float = 0.9
    weight_decay: float = BY_RULE
    label_smoothing: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    rotation: float = 0.0
    scaling: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    adversarial: float = 0.0
    clip: float = 0.0
    max_norm: float = 0.0
    average: float = 0.0
    batch_norm: bool = False
    batch_size: int = 200
    epochs: int = 24
    schedule: str = "linear"
    warmup: float = BY_RULE
    validation: int = 0
    early_stopping: int = 0

    def __post_init__(self) -> None:
        get_activation(self.activation)
        get_loss(self.loss, self.output_activation)
        widths = self.hidden.tolist() if isinstance(self.hidden, np.ndarray) else self.hidden
        if not isinstance(widths, (tuple, list)):
            raise ValueError(f"hidden: expected a tuple of widths, such as (300,) for one layer, got {self.hidden!r}")
        checked = {
            "activation": str(self.activation),  # str and not NumPy's subclass of it, which no file may hold
            "output_activation": str(self.output_activation),
            "loss": str(self.loss),
            "committee": check_count("committee", self.committee, at_least=1),
            "optimizer": _checked_choice("optimizer", self.optimizer, OPTIMIZERS),
            "schedule": _checked_choice("schedule", self.schedule, SCHEDULES),
            "hidden": tuple(check_count("hidden", width, at_least=1) for width in widths),
            "momentum": check_number("momentum", self.momentum, at_least=0, below=1),
            "label_smoothing": check_number("label_smoothing", self.label_smoothing, at_least=0, below=1),
            "dropout": check_number("dropout", self.dropout, at_least=0, below=1),
            "input_dropout": check_number("input_dropout", self.input_dropout, at_least=0, below=1),
            "rotation": check_number("rotation", self.rotation, at_least=0, below=180),
            "scaling": check_number("scaling", self.scaling, at_least=0, below=1),
            "shear": check_number("shear", self.shear, at_least=0, below=90),
            "shift": check_number("shift", self.shift, at_least=0),
            "elastic": check_number("elastic", self.elastic, at_least=0),
            "adversarial": check_number("adversarial", self.adversarial, at_least=0),
            "clip": check_number("clip", self.clip, at_least=0),
            "max_norm": check_number("max_norm", self.max_norm, at_least=0),
            "average": check_number("average", self.average, at_least=0, below=1),
            "batch_norm": check_flag("batch_norm", self.batch_norm),
            "batch_size": check_count("batch_size", self.batch_size, at_least=1),
            "epochs": check_count("epochs", self.epochs, at_least=1),
            "validation": check_count("validation", self.validation, at_least=0),
            "early_stopping": check_count("early_stopping", self.early_stopping, at_least=0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # the way to set a field of a frozen dataclass
        rates = self.default_rates()
        for name, bounds in _RATE_BOUNDS.items():
            given = getattr(self, name)
            value = rates[name] if given is BY_RULE else check_number(name, given, **bounds)
            object.__setattr__(self, name, value)
        if self.batch_norm and self.batch_size == 1:
            raise ValueError("batch_norm: it compares the images of a batch, and batch_size is 1; take a larger one")
        if self.batch_norm and self.adversarial:
            raise ValueError(
                "adversarial: with batch_norm, moved images would spoil the statistics; take one of the two"
            )
        if self.early_stopping and not self.validation:
            raise ValueError("early_stopping: it needs held-out images to look at; set validation, such as 10000")

    def default_rates(self) -> dict[str, float]:
        """The default learning rate, weight decay and warm-up for the other fields, not this recipe's own values."""
        return default_rates(
            self.optimizer,
            self.activation,
            loss=self.loss,
            momentum=self.momentum,
            batch_size=self.batch_size,
            epochs=self.epochs,
            schedule=self.schedule,
            max_norm=self.max_norm,
        )

    def changed(self, **fields: Any) -> Recipe:
        """A copy with new values for these fields.

        If they do not include the learning rate, weight decay or warm-up, it keeps its ratio to the default: if the
        default for the new fields is half as large, the copy has half of this recipe's value.
        """
        copy = dataclasses.replace(self, **fields)
        before, after = self.default_rates(), copy.default_rates()
        rates = {name: _in_proportion(getattr(self, name), before[name], after[name]) for name in after}
        rates["warmup"] = min(rates["warmup"], max(0.5, self.warmup))  # it is a share of the steps
        return dataclasses.replace(copy, **{**rates, **fields})

    @property
    def strengths(self) -> DistortionStrengths:
        """How far training images are distorted."""
        return DistortionStrengths(self.rotation, self.scaling, self.shear, self.shift, self.elastic)

    def layer_list(self, input_dim: int, output_dim: int) -> list[dict[str, Any]]:
        """The layers of this recipe between so many inputs and outputs, as ``NeuralNetwork`` takes them."""
        widths = [input_dim, *self.hidden, output_dim]
        activations = [self.activation] * len(self.hidden) + [self.output_activation]
        return [
            {"input_dim": inputs, "output_dim": outputs, "activation": activation}
            for (inputs, outputs), activation in zip(itertools.pairwise(widths), activations, strict=True)
        ]

    def training_fields(self) -> dict[str, Any]:
        """The fields that say how to train, as plain values; without those that describe the network."""
        return {name: value for name, value in vars(self).items() if name not in _NETWORK_FIELDS}

    def to_json(self) -> str:
        """One line, of which ``from_json`` makes the same recipe."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """A recipe of JSON text; what is not in it takes its default. Raises ValueError where it is none."""
        fields = json.loads(text)
        if not isinstance(fields, dict) or not fields.keys() <= vars(cls()).keys():
            raise ValueError(f"not a recipe: expected an object with some of the fields {', '.join(vars(cls()))}")
        return cls(**fields)

    def __str__(self) -> str:
        """The command line that trains by this recipe, where the defaults are as they are now."""
        return shlex.join(["python", "scripts/train.py", *self.flags()])

    def flags(self) -> list[str]:
        """The flags of scripts/train.py that give this recipe: those that are not as they are by default."""
        words: list[str] = []
        defaults = {**{name: getattr(Recipe, name) for name in vars(self)}, **self.default_rates()}
        for name, value in vars(self).items():
            if value == defaults[name]:
                continue
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
                continue
            text = (",".join(map(str, value)) or "none") if name == "hidden" else str(value)
            words += [f"--{flag}", text]
        return words


_NETWORK_FIELDS = ("hidden", "activation", "output_activation", "loss", "committee")


def _in_proportion(value: float, before: float, after: float) -> float:
    """``value`` times ``after`` / ``before``, to two digits; ``after`` if ``before`` is 0 or is the value."""
    if before == after:
        return value
    return after if before in (0, value) else float(f"{value * after / before:.2g}")


def _checked_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: unknown {value!r}; known: {', '.join(choices)}{did_you_mean(value, choices)}")
    return str(value)
