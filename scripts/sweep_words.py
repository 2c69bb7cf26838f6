"""What a sweep says of its trials: a line for each, a table of the best, and the command that makes one once more."""

from __future__ import annotations

import argparse
from typing import Any

import ann
from ann.cli import commands
from ann.cli.parser import DATA


def in_words(trial: Any, best: list[Any]) -> str:
    """What came of a trial, in a line."""
    recipe = ann.Recipe.from_json(trial.user_attrs["recipe"])
    found = trial.user_attrs.get("ended") or f"{trial.value:.0f} wrong, {trial.user_attrs['seconds']:.0f} s"
    record = f"; the best: {best[0].value:.0f}, trial {best[0].number}" if best else ""
    return f"trial {trial.number}: {in_short(recipe)}: {found}{record}"


def in_short(recipe: ann.Recipe) -> str:
    """A recipe in some words."""
    shape = "-".join(map(str, recipe.hidden)) or "no hidden layer"
    strengths = (recipe.rotation, recipe.scaling, recipe.shear, recipe.shift, recipe.elastic)
    distorted = ", distorted" if any(strengths) else ""
    return (
        f"{shape} {recipe.activation}, {recipe.output_activation}, {recipe.loss}, {recipe.optimizer} "
        f"{recipe.learning_rate:g}{distorted}"
    )


def leaderboard(best: list[Any]) -> str:
    """Trials as a table."""
    rows = [
        f"{trial.number:>5}  {trial.value:>5.0f}  {trial.user_attrs['parameters']:>10,}  "
        f"{trial.user_attrs['seconds']:>7.1f}  {in_short(ann.Recipe.from_json(trial.user_attrs['recipe']))}"
        for trial in best
    ]
    if not rows:
        return "no trial was trained to its end yet"
    return "\n".join([f"{'trial':>5}  {'wrong':>5}  {'parameters':>10}  {'seconds':>7}  network", *rows])


def command(flags: argparse.Namespace, trial: Any) -> str:
    """The command that trains a trial's network once more, with as many threads, and saves it."""
    threads = trial.user_attrs["threads"]
    recipe = ann.Recipe.from_json(trial.user_attrs["recipe"])
    data = [] if flags.data == DATA else ["--data", flags.data]
    imported = [word for path in flags.imported for word in ("--import", path)]
    words = ["--device", trial.user_attrs["device"], "--seed", flags.seed, *recipe.flags(), *data, *imported]
    text = commands.command("train", *words, "--output", "best.pickle")
    return f"OPENBLAS_NUM_THREADS={threads} {text}" if threads else text
