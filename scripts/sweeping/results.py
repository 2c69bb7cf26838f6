"""What a sweep reports: a line for each trial, a table of the best, a command that repeats one, and
a page of Optuna's figures.
"""

import argparse
import html
import warnings
from typing import Any

import optuna.visualization.matplotlib as plots
from optuna.trial import TrialState

import ann
from ann.analysis.figures import BLUE, figure_as_html, log_scale, pyplot
from ann.analysis.html_page import Section, html_page
from ann.cli.parser import data_flags
from ann.installation import command
from sweeping.space import DISTORTIONS

_COLUMNS = 4  # of figures of single choices
_FEW = 20  # with fewer trials, importances mean little


def describe_trial(trial: Any, best: list[Any]) -> str:
    """A finished trial and the best one so far, in a line."""
    result = trial.user_attrs.get("ended")
    if not result:
        result = f"{trial.value:.0f} wrong, {trial.user_attrs['seconds']:.0f} s"
    record = f"; best: {best[0].value:.0f}, trial {best[0].number}" if best else ""
    return f"trial {trial.number}: {_summary(trial)}: {result}{record}"


def _recipe(trial: Any) -> ann.Recipe:
    """The recipe that a trial was trained with."""
    return ann.Recipe.from_json(trial.user_attrs["recipe"])


def _summary(trial: Any) -> str:
    """A trial's recipe in a few words."""
    recipe = _recipe(trial)
    hidden = "-".join(map(str, recipe.hidden)) or "no hidden layer"
    distorted = ", distorted" if recipe.strengths.any else ""
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
        lines.append(f"{numbers}  {_summary(trial)}")
    return "\n".join(lines)


def training_command(flags: argparse.Namespace, trial: Any) -> str:
    """The command that trains a trial's network again, with as many threads, and saves it."""
    threads = trial.user_attrs["threads"]
    words = ["--device", trial.user_attrs["device"], "--seed", flags.seed]
    words += [*_recipe(trial).flags(), *data_flags(flags), "--output", "best.pickle"]
    text = command("train", *words)
    return f"OPENBLAS_NUM_THREADS={threads} {text}" if threads else text


def sweep_page(name: str, study: Any, table: str) -> str:
    """The page of a study. ``table`` lists its best trials."""
    pyplot().switch_backend("agg")  # opens no window
    trained = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    rules = dict(study.user_attrs["rules"])
    if rules["--distort"] == "no":
        for distortion in DISTORTIONS:
            del rules[f"--{distortion}"]
    trials = f"{len(trained)} trained to the end, {len(pruned)} pruned, diverged or too large"
    facts = {"trials": trials}
    facts |= {rule.strip("-").replace("-", " "): text for rule, text in rules.items()}
    best = Section(
        "Best trials",
        "Mistakes on validation images. The best of many trials was also lucky: train it with "
        "other seeds before you believe its number, and use the test images once, at the very end.",
        f"<pre>{html.escape(table)}</pre>",
    )
    sections = [best]
    with warnings.catch_warnings(), pyplot().rc_context({"savefig.bbox": "tight"}):
        warnings.simplefilter("ignore")  # about few trials, or equal ones
        if trained:
            sections += [_history(study, trained), _cost(trained)]
            if len(trained) >= _FEW:
                sections.append(_importance(study))
            sections.append(_choices(study, trained))
    return html_page(f"Sweep: {name}", facts, sections)


def _history(study: Any, trained: list[Any]) -> Section:
    axis = plots.plot_optimization_history(study, target_name="wrong")
    log_scale(axis, "y", [trial.value for trial in trained])
    text = (
        "If the line has been flat for long, more trials will hardly help; a larger search space "
        "or more time per trial might."
    )
    return Section("History", text, figure_as_html(axis.figure, "mistakes against trials"))


def _cost(trained: list[Any]) -> Section:
    figure, axes = pyplot().subplots(1, 2, figsize=(8, 3.6), sharey=True)
    wrong = [trial.value for trial in trained]
    for axis, key in zip(axes, ("seconds", "parameters"), strict=True):
        costs = [trial.user_attrs[key] for trial in trained]
        axis.plot(costs, wrong, "o", color=BLUE)
        axis.set(xlabel=key, ylabel="wrong")
        axis.label_outer()
        log_scale(axis, "x", costs)
        log_scale(axis, "y", wrong)
    text = "Mistakes against the cost of a network: its training time and its size."
    alt = "mistakes against seconds and parameters"
    return Section("Mistakes and cost", text, figure_as_html(figure, alt))


def _importance(study: Any) -> Section:
    text = (
        "How much each choice decides which trials are the best (PED-ANOVA; Watanabe et al., "
        "2023). For a choice that the search hardly varied, the number means little."
    )
    try:
        plots.plot_param_importances(study)
        figure = figure_as_html(pyplot().gcf(), "importance of each choice")
    except ValueError:  # all trials made equally many mistakes
        figure = "<p>It cannot be computed yet.</p>"
    return Section("Importance", text, figure)


def _choices(study: Any, trained: list[Any]) -> Section:
    names = sorted({name for trial in trained for name in trial.params})
    if not names:
        return Section("Single choices", "Nothing was varied.", "")
    rows = []
    for start in range(0, len(names), _COLUMNS):
        plots.plot_slice(study, names[start : start + _COLUMNS], target_name="wrong")
        figure = pyplot().gcf()
        *axes, _ = figure.axes  # the last one is the colour bar
        for axis in axes:
            log_scale(axis, "y", [trial.value for trial in trained])
            axis.tick_params(axis="x", which="both", rotation=90)
        rows.append(figure_as_html(figure, "mistakes against each choice"))
    text = "Mistakes against each choice, for all values of the others."
    return Section("Single choices", text, "\n".join(rows))
