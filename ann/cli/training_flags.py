"""The flags of scripts/train.py. A run that is resumed brings its own."""

import argparse
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from ann.backends.select import PRECISIONS
from ann.cli.errors import one_line_errors
from ann.cli.launch import FLAG
from ann.cli.parser import MODEL, Parser, checked, whole
from ann.cli.recipe_flags import add_named_recipes, add_recipe_flags, given_fields, named_recipe
from ann.cli.run_folder import CHECKPOINT, CONFIG, START, read_config, recipe_of
from ann.cli.start_network import fields_of
from ann.errors import AnnError, printable_text
from ann.training.checkpointer import Checkpoints
from ann.training.recipe import Recipe

_EVERY = "30s"
_SECONDS = {"s": 1.0, "m": 60.0}  # units of time


@one_line_errors(names=vars(Recipe()))
def parse_flags(docstring: str | None) -> argparse.Namespace:
    """The command line, with the recipe that it describes as ``flags.recipe``."""
    parser = Parser(docstring)
    folder = parser.early("--resume", type=Path)
    config = read_config(folder) if folder else {}
    parser.add_import([Path(path) for path in config.get("imported", [])])
    parser.add_common()
    _add_places(parser)
    text = "precision of matrix products; tf32 is faster on a GPU, but keeps only about 3 digits"
    parser.add("--precision", text, default="float32", choices=PRECISIONS)
    text = "train one network with all processes that mpiexec started, each with its share of "
    text += "every batch: mpiexec -n 4 python scripts/train.py --distributed"
    parser.add(FLAG, text)
    parser.add("--seed SEED", "seed of all random numbers", whole(0), 0)
    add_recipe_flags(parser)
    text = "at the end, print the errors of each member of a committee on the validation images"
    parser.add("--report-members", text)
    add_named_recipes(parser)
    if config:
        parser.set_defaults(**_defaults(config))
    flags = parser.parse_args()
    flags.config = config
    flags.recipe = _recipe(flags, parser)
    _complete(flags, parser)
    return flags


def _add_places(parser: Parser) -> None:
    """Add the flags for where training starts and where results are written."""
    text = "start from the parameters of this saved network instead of new ones, with a new "
    text += "optimizer and schedule; the network keeps its layers, activations, loss and members"
    parser.add("--from MODEL", text, Path, dest="start")
    group = parser.add_mutually_exclusive_group()
    parser.add("--output FILE", f"the model file (default: {MODEL})", Path, group=group)
    text = (
        "a new folder for the model, curves, log, checkpoints and the settings that repeat the run"
    )
    parser.add("--run FOLDER", text, Path, group=group)
    text = "continue the interrupted run in this folder, with the same flags and result; with "
    text += "--epochs N, train a finished run further, up to epoch N, with the schedule of a run "
    text += "of N epochs"
    parser.add("--resume FOLDER", text, Path, group=group)
    text = "with --run or --resume: write a checkpoint after this many epochs, such as 1, or "
    text += f"seconds, such as 10s, or minutes, such as 5m (default: {_EVERY})"
    parser.add("--checkpoint-every N|Ns|Nm", text, _interval_text)


def _complete(flags: argparse.Namespace, parser: Parser) -> None:
    """Check what flags need of each other, and set those that depend on others."""
    folder = flags.run or flags.resume
    if flags.start and flags.resume:
        parser.error("--from: not allowed with --resume, which continues a run from its checkpoint")
    if flags.resume and (start := flags.resume / START).exists():
        flags.start = start
    if flags.checkpoint_every and not folder:
        parser.error("--checkpoint-every needs a folder to write to: --run FOLDER")
    if flags.report_members and (flags.recipe.committee == 1 or not flags.recipe.validation):
        needs = "members, --committee 10, and validation images, --validation 10000"
        parser.error(f"--report-members needs {needs}")
    flags.checkpoint_every = flags.checkpoint_every or _EVERY
    flags.output = flags.output or (folder / "model.pickle" if folder else MODEL)


def _defaults(config: dict[str, Any]) -> dict[str, Any]:
    """A run's flags, except for its recipe, as defaults."""
    try:
        _interval_text(config["checkpoint_every"])
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"checkpoint_every in the run's config.json: {error}") from None
    names = ("seed", "device", "precision", "data", "checkpoint_every")
    return {name: config[name] for name in names}  # argparse converts text as it does flags


def _recipe(flags: argparse.Namespace, parser: Parser) -> Recipe:
    """The recipe of the run to resume, or the named one, with the fields that were given."""
    given = given_fields(flags)
    if flags.config:  # a resumed run keeps its rates
        if flags.recipe:
            parser.error("--recipe: not allowed with --resume, which keeps the recipe of its run")
        try:
            recipe = recipe_of(flags.config)
        except ValueError as error:
            wrong = f"{flags.resume / CONFIG}: recipe: {printable_text(error, 1000)}"
            raise AnnError(f"{wrong}; start a new run in another folder") from None
        return dataclasses.replace(recipe, **given)
    if flags.start:
        fields = fields_of(flags.start)
        for name in fields.keys() & given.keys():
            if given[name] != fields[name]:
                flag = name.replace("_", "-")
                parser.error(f"--{flag}: --from keeps the network as it is; leave this flag out")
        given |= fields
    return named_recipe(flags).changed(**given)


def checkpoints_in(folder: Path, interval: str) -> Checkpoints:
    """Checkpoints in a run's folder, at the interval of ``--checkpoint-every``."""
    path = folder / CHECKPOINT
    if unit := _SECONDS.get(interval[-1:]):
        return Checkpoints(path, seconds=float(interval[:-1]) * unit)
    return Checkpoints(path, epochs=int(interval), seconds=None)


_interval_text = checked(
    partial(checkpoints_in, Path()),
    str,
    "a number of epochs above 0, such as 2, of seconds, such as 30s, or of minutes, such as 5m",
)
