"""What a sweep prints: a line for each trial, a table of the best, and a command to repeat one."""

import argparse
from typing import Any

import ann
from ann.cli.commands import command
from ann.cli.parser import data_flags
from sweeping.space import DISTORTIONS


def describe_trial(trial: Any, best: list[Any]) -> str:
    """A finished trial and the best one so far, in a line."""
    result = trial.user_attrs.get("ended")
    if not result:
        result = f"{trial.value:.0f} wrong, {trial.user_attrs['seconds']:.0f} s"
    record = f"; best: {best[0].value:.0f}, trial {best[0].number}" if best else ""
    return f"trial {trial.number}: {summary(recipe_of(trial))}: {result}{record}"


def recipe_of(trial: Any) -> ann.Recipe:
    """The recipe that a trial was trained with."""
    return ann.Recipe.from_json(trial.user_attrs["recipe"])


def summary(recipe: ann.Recipe) -> str:
    """A recipe in a few words."""
    hidden = "-".join(map(str, recipe.hidden)) or "no hidden layer"
    distorted = ", distorted" if any(getattr(recipe, name) for name in DISTORTIONS) else ""
    outputs = f"{recipe.output_activation}, {recipe.loss}"
    optimizer = f"{recipe.optimizer} {recipe.learning_rate:g}"
    return f"{hidden} {recipe.activation}, {outputs}, {optimizer}{distorted}"


def leaderboard(best: list[Any]) -> str:
    """Trials as a table."""
    if not best:
        return "no trial has finished its training yet"
    lines = [f"{'trial':>5}  {'wrong':>5}  {'parameters':>10}  {'seconds':>7}  network"]
    for trial in best:
        parameters, seconds = trial.user_attrs["parameters"], trial.user_attrs["seconds"]
        numbers = f"{trial.number:>5}  {trial.value:>5.0f}  {parameters:>10,}  {seconds:>7.1f}"
        lines.append(f"{numbers}  {summary(recipe_of(trial))}")
    return "\n".join(lines)


def training_command(flags: argparse.Namespace, trial: Any) -> str:
    """The command that trains a trial's network again, with as many threads, and saves it."""
    threads = trial.user_attrs["threads"]
    words = ["--device", trial.user_attrs["device"], "--seed", flags.seed]
    words += [*recipe_of(trial).flags(), *data_flags(flags), "--output", "best.pickle"]
    text = command("train", *words)
    return f"OPENBLAS_NUM_THREADS={threads} {text}" if threads else text
