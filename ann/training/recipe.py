"""Recipes: a network and how to train it, as one frozen set of hyperparameters.

A recipe is checked when it is created, is saved in every model, and prints as the command that
repeats the training. Each field has its help text and its bounds: the check, the flag of
scripts/train.py and the JSON follow from them.
"""

import dataclasses
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ann.backends.base import Backend
from ann.data.datasets import Dataset
from ann.data.distortion import DistortionStrengths
from ann.errors import printable
from ann.installation import localized
from ann.neural_network import NeuralNetwork
from ann.nn.activations import ACTIVATIONS, get_activation
from ann.nn.layer_list import check_layer_list, layer_from
from ann.nn.losses import LOSSES, get_loss
from ann.optim.registry import OPTIMIZERS
from ann.optim.schedules import SCHEDULES
from ann.spelling import check_choice
from ann.training.defaults import default_choices, default_rates
from ann.validation import check_count, check_flag, check_number, check_type

BY_RULE: Any = None  # the default of fields whose default depends on the others


def _field(default: Any, help: str, metavar: str = "", **bounds: Any) -> Any:
    """A hyperparameter.

    Args:
        default: its value in the classroom recipe.
        help: what it does, also for the command line.
        metavar: its unit, for the command line.
        bounds: as ``check_number`` or ``check_count`` take them; for names, their ``choices``.
    """
    metadata = {"help": help, "metavar": metavar, "bounds": bounds}
    return dataclasses.field(default=default, metadata=metadata)


_ACTIVATION: dict[str, Any] = {"metavar": "NAME", "choices": ACTIVATIONS}
_FROM_0: dict[str, Any] = {"metavar": "N", "at_least": 0}
_FROM_1: dict[str, Any] = {"metavar": "N", "at_least": 1}
_SHARE: dict[str, Any] = {"metavar": "SHARE", "at_least": 0, "below": 1}
_NORM: dict[str, Any] = {"metavar": "NORM", "at_least": 0}
_PIXELS: dict[str, Any] = {"metavar": "PIXELS", "at_least": 0}


@dataclass(frozen=True)
class Recipe:
    """A network and how to train it; by default, the classroom recipe.

    If the hidden layers, the optimizer, the learning rate, the weight decay or the warm-up is not
    given (or None), its default depends on the other fields: see ``defaults.py``. It is set
    when the recipe is created: ``dataclasses.replace`` keeps it, ``changed`` adapts it.

    Raises:
        ValueError: a value is out of bounds, or two do not fit together; the error says which.
    """

    hidden: tuple[int | str, ...] = _field(
        BY_RULE,
        "widths of the hidden layers, or none; before them, convolutions such as conv16x5 (16 "
        "filters of 5 x 5 pixels) and pooling: pool2 (maximum of 2 x 2 pixels) or average2",
        "N,N,...",
        at_least=1,
    )
    activation: str = _field("sigmoid", "activation of the hidden layers", **_ACTIVATION)
    output_activation: str = _field("sigmoid", "activation of the output layer", **_ACTIVATION)
    loss: str = _field(
        "cross-entropy", "cross-entropy needs sigmoid or softmax outputs", choices=LOSSES
    )
    committee: int = _field(
        1, "networks to train, each with its own seed; their outputs are averaged", **_FROM_1
    )
    optimizer: str = _field(BY_RULE, "how a gradient becomes an update", choices=OPTIMIZERS)
    learning_rate: float = _field(BY_RULE, "largest learning rate; see --schedule", "RATE", above=0)
    momentum: float = _field(0.9, "decay of the running mean of gradients", **_SHARE)
    weight_decay: float = _field(
        BY_RULE, "how strongly weights (not biases) shrink towards 0", "RATE", at_least=0
    )
    label_smoothing: float = _field(0.0, "share of each target, spread over all classes", **_SHARE)
    dropout: float = _field(0.0, "share of hidden neurons that training zeroes", **_SHARE)
    input_dropout: float = _field(0.0, "share of pixels that training zeroes", **_SHARE)
    channel_dropout: float = _field(
        0.0, "share of channels that training zeroes after each convolution", **_SHARE
    )
    rotation: float = _field(
        0.0, "rotate training images by up to this many degrees", "DEGREES", at_least=0, below=180
    )
    scaling: float = _field(0.0, "scale their height and width by up to this share", **_SHARE)
    shear: float = _field(
        0.0, "shear them by up to this many degrees", "DEGREES", at_least=0, below=90
    )
    shift: float = _field(0.0, "shift them by up to this many pixels along each axis", **_PIXELS)
    elastic: float = _field(
        0.0, "warp them: standard deviation of how far pixels move; try 1.2", **_PIXELS
    )
    undistorted_epochs: int = _field(0, "do not distort images in the last N epochs", **_FROM_0)
    adversarial: float = _field(
        0.0,
        "also train on each image moved this far (with inputs from 0 to 1) in the direction that "
        "increases its loss; takes two to three times as long; try 1.5",
        "LENGTH",
        at_least=0,
    )
    clip: float = _field(0.0, "limit for the norm of the gradient, 0 for none", **_NORM)
    max_norm: float = _field(
        0.0, "limit for the norm of each hidden neuron's weights, 0 for none", **_NORM
    )
    average: float = _field(0.0, "decay of the moving average of parameters, 0 for none", **_SHARE)
    batch_norm: bool = _field(
        False, "normalise the sums of hidden neurons over each batch, which should be large"
    )
    batch_size: int = _field(200, "images in each step", **_FROM_1)
    epochs: int = _field(24, "passes over the training images", **_FROM_1)
    schedule: str = _field(
        "linear",
        "course of the learning rate: constant; step, divided by 10 after each third of the steps; "
        "linear or cosine, down to 0; one-cycle, up and down",
        choices=SCHEDULES,
    )
    warmup: float = _field(
        BY_RULE, "share of the steps in which the learning rate first rises", **_SHARE
    )
    validation: int = _field(0, "set the last N training images aside for validation", **_FROM_0)
    early_stopping: int = _field(
        0,
        "stop after N epochs without fewer errors on validation images, and keep the best epoch; "
        "0 for all epochs",
        **_FROM_0,
    )

    def __post_init__(self) -> None:
        get_activation(self.activation)
        get_loss(self.loss, self.output_activation)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not BY_RULE or field.default is not BY_RULE:
                check = _CHECKS[field.type]
                # self.name = value is an error, because the dataclass is frozen
                vars(self)[field.name] = check(field.name, value, **field.metadata["bounds"])
        for defaults in (default_choices, default_rates):  # the rates need an optimizer
            given = {name: value for name, value in vars(self).items() if value is not BY_RULE}
            vars(self).update(defaults(self) | given)
        if self.batch_norm and self.batch_size == 1:
            raise ValueError("batch_norm: it needs batches of several images, and batch_size is 1")
        if self.batch_norm and self.adversarial:
            raise ValueError(
                "adversarial: moved images would distort the statistics of batch_norm; use only one"
            )
        if self.early_stopping and not self.validation:
            raise ValueError("early_stopping: it needs validation images; try validation 10000")
        if self.warmup and self.schedule == "one-cycle":
            raise ValueError("warmup: the schedule one-cycle has its own; leave warmup out")

    def changed(self, **fields: Any) -> Self:
        """A copy with new values for these fields.

        Hidden layers or an optimizer equal to the default of this recipe become the default of the
        copy, even if they were given explicitly; to keep them, pass them here. The learning rate,
        weight decay and warm-up keep their ratio to the default unless you pass them: if the
        default of the copy is half as large, the copy has half of this recipe's value.
        """
        choices, before = default_choices(self).items(), default_rates(self)
        unset = [name for name, default in choices if getattr(self, name) == default]
        copy = dataclasses.replace(self, **(dict.fromkeys([*unset, *before], BY_RULE) | fields))
        rates = {
            name: _in_proportion(getattr(self, name), before[name], after)
            for name, after in default_rates(copy).items()
        }
        rates["warmup"] = min(rates["warmup"], max(0.5, self.warmup))  # it is a share of the steps
        return dataclasses.replace(copy, **(rates | fields))

    @property
    def strengths(self) -> DistortionStrengths:
        """How far training images are distorted."""
        names = ("rotation", "scaling", "shear", "shift", "elastic")
        return DistortionStrengths(**{name: getattr(self, name) for name in names})

    def network(
        self, dataset: Dataset, device: str | Backend = "cpu", seed: int = 0
    ) -> NeuralNetwork:
        """A new network for the images and classes of a data set."""
        check_type("dataset", dataset, Dataset)
        shape = dataset.train_images.shape[1:]
        layers = self.layer_list(math.prod(shape), len(dataset.classes), shape)
        return NeuralNetwork(layers, self.loss, device, seed, committee=self.committee)

    def layer_list(
        self, input_dim: int, output_dim: int, shape: tuple[int, ...] = ()
    ) -> list[dict[str, Any]]:
        """The layers from ``input_dim`` pixels to ``output_dim`` classes, for ``NeuralNetwork``.

        Convolution needs the ``shape`` of an image; by default, images are square. Raises
        ValueError if the layers do not fit each other or the images.
        """
        layers: list[dict[str, Any]] = [
            {"output_dim": layer, "activation": self.activation}
            if isinstance(layer, int)
            else layer_from(layer, self.activation) or {}
            for layer in self.hidden
        ]
        layers.append({"output_dim": output_dim, "activation": self.output_activation})
        if "type" in layers[0]:
            side = math.isqrt(input_dim)
            sides = shape if len(shape) > 1 else (side, side)
            if math.prod(sides) != input_dim:
                raise ValueError(
                    f"hidden: {self.hidden[0]} needs pictures, but images of {input_dim} pixels "
                    "are not square"
                )
            layers[0]["input_shape"] = list(sides)
        else:
            layers[0]["input_dim"] = input_dim
        return check_layer_list(layers)

    def training_fields(self) -> dict[str, Any]:
        """The fields that describe the training, not the network, as plain values."""
        of_network = ("hidden", "activation", "output_activation", "loss", "committee")
        return {name: value for name, value in vars(self).items() if name not in of_network}

    def to_json(self) -> str:
        """This recipe as one line of JSON, for ``from_json``."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The recipe in a JSON text; missing fields have their defaults.

        Raises ValueError if the text is not a recipe.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not a recipe: {error}") from None
        known = vars(cls())
        if not isinstance(fields, dict) or not fields.keys() <= known.keys():
            expected = f"expected an object with some of the fields {', '.join(known)}"
            raise ValueError(f"not a recipe: {expected}")
        return cls(**fields)

    def __str__(self) -> str:
        """The command that trains with this recipe, given the current defaults."""
        return f"{localized('python scripts/train.py')} {shlex.join(self.flags())}".rstrip()

    def flags(self) -> list[str]:
        """The flags of scripts/train.py that differ from their defaults."""
        words: list[str] = []
        defaults = vars(Recipe()) | default_choices(self) | default_rates(self)
        for name, value in vars(self).items():
            if value == defaults[name]:
                continue
            words.append(f"--{'no-' * (value is False)}{name.replace('_', '-')}")
            if isinstance(value, tuple):
                words.append(",".join(map(str, value)) or "none")
            elif not isinstance(value, bool):
                words.append(str(value))
        return words


def _in_proportion(value: float, before: float, after: float) -> float:
    """``value * after / before``, to two digits; ``after`` if ``before`` is 0 or is the value."""
    if before == after:
        return value
    return after if before in (0, value) else float(f"{value * after / before:.2g}")


def _check_hidden(name: str, value: Any, at_least: int) -> tuple[int | str, ...]:
    layers = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(layers, (tuple, list)):
        example = "such as (300,) for one layer"
        raise ValueError(f"{name}: expected a tuple of widths, {example}, got {printable(value)}")
    for layer in layers:
        if isinstance(layer, str) and layer_from(layer, "identity") is None:
            expected = "a width or a layer such as conv16x5, pool2 or average2"
            raise ValueError(f"{name}: expected {expected}, got {printable(layer)}")
    return tuple(
        str(layer) if isinstance(layer, str) else check_count(name, layer, at_least=at_least)
        for layer in layers
    )


# The type of a field -> its check
_CHECKS: dict[Any, Callable[..., Any]] = {
    float: check_number,
    int: check_count,
    bool: check_flag,
    str: check_choice,
    tuple[int | str, ...]: _check_hidden,
}
