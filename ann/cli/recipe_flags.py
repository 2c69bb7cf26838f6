"""The flags of scripts/train.py: one for each field of a recipe, checked by the same rules, and those that say where.
A run that goes on brings its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import ann
from ann.backends.select import PRECISIONS
from ann.cli.errors import one_line_errors
from ann.cli.launch import FLAG
from ann.cli.output import echo
from ann.cli.parser import MODEL, Parser, checked, data_set, number, whole
from ann.cli.results_log import matching, read_rows, results_of
from ann.nn.activations import ACTIVATIONS
from ann.nn.layer_list import describe_shape
from ann.nn.losses import LOSSES
from ann.optim.registry import OPTIMIZERS
from ann.optim.schedules import SCHEDULES
from ann.training.named_recipes import RECIPES
from ann.training.run_folder import read_config
from ann.validation import check_count

EVERY = "30s"
_SECONDS = {"s": 1.0, "m": 60.0}  # in what a number of seconds may end, and of minutes
EXAMPLES = """\
  python scripts/train.py
  # see how many held-out images go wrong while it learns
  python scripts/train.py --validation 10000 --output play.pickle
  # keep everything about a run in a folder; stop it with Ctrl-C, and go on
  python scripts/train.py --validation 10000 --run runs/first
  python scripts/train.py --resume runs/first
  # other layers, another activation
  python scripts/train.py --hidden 256,128 --activation relu
  # no hidden layer at all
  python scripts/train.py --hidden none --output-activation softmax
  # ten networks with ten seeds in one run: error bars, and a committee
  python scripts/train.py --committee 10 --validation 10000 --report-members
  # one network by four processes, on one machine or several
  mpiexec -n 4 python scripts/train.py --distributed --hidden 2048,2048
  # another optimizer, with its own default learning rate and weight decay
  python scripts/train.py --optimizer nesterov"""


def parse_flags() -> argparse.Namespace:
    """The command line, with the recipe that it describes as ``flags.recipe``."""
    default = ann.Recipe()
    parser = Parser("Train a network on MNIST and save it. The test images are not touched.", EXAMPLES)
    config = config_of(parser.early("--resume", type=Path))
    parser.add_import([Path(path) for path in config.get("imported", [])])
    parser.add_common()
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--output", type=Path, metavar="FILE", help=f"default: {MODEL}")
    place.add_argument(
        "--run",
        type=Path,
        metavar="FOLDER",
        help="a new folder for the model, the curves, a log, checkpoints and what it takes to repeat the run",
    )
    place.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with the run in this folder, which was stopped, as if it had not been; it knows its flags",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=interval_text,
        metavar="N|Ns|Nm",
        help="with --run or --resume: write a checkpoint after so many epochs, such as 1, or "
        f"seconds, such as 10s, or minutes, such as 5m (default: {EVERY})",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of matrix products; tf32 is faster on a GPU, with some 3 digits (default: float32)",
    )
    parser.add_argument(
        FLAG,
        action="store_true",
        help="one network by all processes that mpiexec has started, each with its share of every batch: "
        "mpiexec -n 4 python scripts/train.py --distributed",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of all random numbers (default: 0)")

    def add(name: str, **options: Any) -> None:
        flag, value = f"--{name.replace('_', '-')}", getattr(default, name)
        text = ",".join(map(str, value)) if name == "hidden" else value
        if name in default.default_rates():
            text = f"depends on the other flags; {text} if none are given"
        options["help"] = f"{options['help']} (default: {text})"
        parser.add_argument(flag, default=argparse.SUPPRESS, **options)

    add("hidden", type=widths, metavar="N,N,...", help="widths of the hidden layers, or none")
    add("activation", choices=tuple(ACTIVATIONS), metavar="NAME", help=f"hidden layers: {', '.join(ACTIVATIONS)}")
    add("output_activation", choices=tuple(ACTIVATIONS), metavar="NAME", help="last layer, the same choice")
    add("loss", choices=tuple(LOSSES), help="cross-entropy needs sigmoid or softmax outputs")
    add(
        "committee",
        type=whole(1),
        metavar="K",
        help="networks side by side, each with a seed of its own, whose outputs are averaged",
    )
    add("optimizer", choices=OPTIMIZERS, help="update rule")
    add("learning_rate", type=number(above=0), metavar="RATE", help="largest learning rate; see --schedule")
    add("momentum", type=number(at_least=0, below=1), metavar="SHARE", help="decay of the running mean of gradients")
    add("weight_decay", type=number(at_least=0), metavar="RATE", help="how strongly weights are pulled towards 0")
    add("label_smoothing", type=number(at_least=0, below=1), metavar="SHARE", help="of each target, for all classes")
    add("dropout", type=number(at_least=0, below=1), metavar="SHARE", help="of hidden neurons, silent in training")
    add("input_dropout", type=number(at_least=0, below=1), metavar="SHARE", help="of pixels, black in training")
    add("rotation", type=number(at_least=0, below=180), metavar="DEGREES", help="turn training images by up to so far")
    add("scaling", type=number(at_least=0, below=1), metavar="SHARE", help="change their height and width by up to it")
    add("shear", type=number(at_least=0, below=90), metavar="DEGREES", help="lean them by up to so far")
    add("shift", type=number(at_least=0), metavar="PIXELS", help="shift them by up to so far")
    add("elastic", type=number(at_least=0), metavar="PIXELS", help="bend them by this standard deviation; try 1.2")
    add(
        "adversarial",
        type=number(at_least=0),
        metavar="LENGTH",
        help="learn from each image a second time, moved so far (in inputs from 0 to 1) to where its loss is larger; "
        "takes two to three times as long; try 1.5",
    )
    add("clip", type=number(at_least=0), metavar="NORM", help="limit of the gradient's norm, 0 for none")
    add(
        "max_norm",
        type=number(at_least=0),
        metavar="NORM",
        help="limit for the norm of each hidden neuron's weights, 0 for none",
    )
    add("average", type=number(at_least=0, below=1), metavar="SHARE", help="memory of averaged parameters, 0 for none")
    add(
        "batch_norm",
        action=argparse.BooleanOptionalAction,
        help="normalise the sums of hidden neurons in training, over each batch, which should not be small",
    )
    add("batch_size", type=whole(1), metavar="N", help="images in a step")
    add("epochs", type=whole(1), metavar="N", help="passes over the training images")
    add(
        "schedule",
        choices=SCHEDULES,
        help="of the learning rate: constant; a tenth after each third of the steps; down to 0 in a line or a cosine; "
        "up and down in one cycle",
    )
    add("warmup", type=number(at_least=0, below=1), metavar="SHARE", help="share of the steps in which it first rises")
    add(
        "validation",
        type=whole(0),
        metavar="N",
        help="training images held out, to count the mistakes on images that it does not learn from",
    )
    add(
        "early_stopping",
        type=whole(0),
        metavar="EPOCHS",
        help="end after so many epochs in which it makes no fewer mistakes on held-out images, and save the best; 0: "
        "all epochs",
    )
    parser.add_argument(
        "--report-members",
        action="store_true",
        help="at the end, the mistakes of each member of a committee on held-out images, their mean and deviation",
    )
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default="classroom",
        help="named recipe that sets the defaults of the other flags (default: classroom); see --list-recipes",
    )
    parser.add_argument("--list-recipes", action=ListRecipes, nargs=0, help="print what recipes there are, and end")
    parser.set_defaults(**from_config(config))
    flags = parser.parse_args()
    flags.config = config
    with one_line_errors(names=vars(default)):
        given = {name: getattr(flags, name) for name in vars(default) if hasattr(flags, name)}
        if config:  # a run goes on with its own rates
            flags.recipe = dataclasses.replace(recipe_of(config), **given)
        else:
            flags.recipe = RECIPES[flags.recipe].recipe.changed(**given)
    folder = flags.run or flags.resume
    if flags.checkpoint_every and not folder:
        parser.error("--checkpoint-every needs a folder to write to: --run FOLDER")
    if flags.report_members and (flags.recipe.committee == 1 or not flags.recipe.validation):
        parser.error("--report-members needs members, --committee 10, and held-out images, --validation 10000")
    flags.checkpoint_every = flags.checkpoint_every or config.get("checkpoint_every") or EVERY
    flags.output = flags.output or (folder / "model.pickle" if folder else MODEL)
    return flags


class ListRecipes(argparse.Action):
    """A flag that prints the recipes and ends."""

    def __call__(self, *unused: object) -> None:
        """Print them."""
        with one_line_errors():
            for name, named in RECIPES.items():
                recipe = named.recipe
                shape = describe_shape(recipe.layer_list(784, 10))
                size = f"{recipe.committee} x " if recipe.committee > 1 else ""
                echo(f"{name}: {named.purpose}")
                echo(f"    {size}{shape} {recipe.activation}, {recipe.epochs} epochs, {named.cost}; {expected(name)}")
        sys.exit(0)


def expected(name: str) -> str:
    """What a recipe got on the test images, where that was measured."""
    rows = matching(read_rows(results_of(name)), RECIPES[name].recipe, "test")
    if not rows:
        return "not measured yet"
    wrong = [row["wrong"] for row in rows]
    seeds = "1 seed" if len(rows) == 1 else f"{len(rows)} seeds"
    return f"{sum(wrong) / len(wrong):.1f} of {rows[0]['total']:,} test images wrong, the mean of {seeds}"


def config_of(folder: Path | None) -> dict[str, Any]:
    """The config of a run to go on with."""
    if folder is None:
        return {}
    with one_line_errors():
        return read_config(folder)


def from_config(config: dict[str, Any]) -> dict[str, Any]:
    """A run's flags, apart from its recipe, as defaults; a flag that is given again must have the same value."""
    if not config:
        return {}
    with one_line_errors():
        try:
            interval_text(config["checkpoint_every"])
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"checkpoint_every in the run's config.json: {error}") from None
    flags = {name: config[name] for name in ("seed", "device", "precision")}
    return {**flags, "data": data_set(config["data"])}


def recipe_of(config: dict[str, Any]) -> ann.Recipe:
    """The recipe of a run; what its config does not know has its default."""
    return ann.Recipe.from_json(json.dumps(config["recipe"]))


def interval_text(text: str) -> str:
    """An argparse type for ``--checkpoint-every``."""
    try:
        if text[-1:] in _SECONDS:
            number(above=0)(text[:-1])
        else:
            whole(1)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            "expected a number of epochs above 0, such as 2, of seconds, such as 30s, or of minutes, such as 5m, "
            f"got {text!r}"
        ) from None
    return text


def interval(text: str) -> tuple[int | None, float | None]:
    """After how many epochs, and after how many seconds."""
    unit = _SECONDS.get(text[-1:])
    return (None, float(text[:-1]) * unit) if unit else (int(text), None)


def widths(text: str) -> tuple[int, ...]:
    """An argparse type for hidden layers: "128,32", or "none"."""
    if text == "none":
        return ()
    one = checked(partial(check_count, "", at_least=1), int, "widths such as 128,32, each at least 1, or none")
    return tuple(one(width) for width in text.removesuffix(",").split(","))
