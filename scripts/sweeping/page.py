"""The results of a sweep as a page of figures."""

import html
import warnings
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from ann.analysis.figures import BLUE, ORANGE, figure_as_html, log_scale, pyplot
from ann.analysis.html_page import Section, html_page
from sweeping.space import DISTORTIONS

_COLUMNS = 4  # of figures of single choices
_FEW = 20  # with fewer trials, nothing can be said about importance


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
    if trained:
        sections += [_history(trained), _cost(trained)]
        if len(trained) >= _FEW:
            sections.append(_importance(study))
        sections.append(_choices(trained))
    return html_page(f"Sweep: {name}", facts, sections)


def _history(trained: list[Any]) -> Section:
    figure, axis = pyplot().subplots(figsize=(8, 3.6))
    numbers, wrong = [trial.number for trial in trained], [trial.value for trial in trained]
    axis.plot(numbers, wrong, "o", color=BLUE, markersize=4, label="a trial")
    least = np.minimum.accumulate(wrong)
    axis.step(numbers, least, color=ORANGE, where="post", label="the best so far")
    _wrong_axis(axis, trained)
    axis.set_xlabel("trial")
    axis.legend()
    figure.tight_layout()
    text = (
        "If the line has been flat for long, more trials will hardly help; a larger search space "
        "or more time per trial might."
    )
    return Section("History", text, figure_as_html(figure, "mistakes against trials"))


def _cost(trained: list[Any]) -> Section:
    figure, axes = pyplot().subplots(1, 2, figsize=(8, 3.6), sharey=True)
    wrong = [trial.value for trial in trained]
    for axis, key in zip(axes, ("seconds", "parameters"), strict=True):
        costs = [trial.user_attrs[key] for trial in trained]
        axis.plot(costs, wrong, "o", color=BLUE)
        log_scale(axis, "x", costs, key)
        _wrong_axis(axis, trained)
    axes[1].set_ylabel("")
    figure.tight_layout()
    text = "Mistakes against the cost of a network: its training time and its size."
    alt = "mistakes against seconds and parameters"
    return Section("Mistakes and cost", text, figure_as_html(figure, alt))


def _importance(study: Any) -> Section:
    title = "Importance"
    text = (
        "How much each choice has to do with being among the best (PED-ANOVA; Watanabe et al., "
        "2023). For choices that the search hardly varied it means little."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few trials
        evaluator = PedAnovaImportanceEvaluator()
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except ValueError:  # all trials made equally many mistakes
            found = {}
    if not found:
        return Section(title, text, "<p>It cannot be computed yet.</p>")
    names, shares = list(found)[::-1], list(found.values())[::-1]
    figure, axis = pyplot().subplots(figsize=(8, 0.6 + 0.3 * len(names)))
    axis.barh([name.replace("_", " ") for name in names], shares, color=BLUE)
    axis.set_xlabel("importance")
    figure.tight_layout()
    return Section(title, text, figure_as_html(figure, "importance of each choice"))


def _choices(trained: list[Any]) -> Section:
    names = sorted({name for trial in trained for name in trial.params})
    if not names:
        return Section("Single choices", "Nothing was varied.", "")
    rows = -(-len(names) // _COLUMNS)
    size = 10, 2.4 * rows
    figure, axes = pyplot().subplots(rows, _COLUMNS, figsize=size, sharey=True, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, names, strict=False):
        _plot_choice(axis, name, [trial for trial in trained if name in trial.params])
        axis.set_title(name.replace("_", " "), fontsize=9)
        _wrong_axis(axis, trained)
    for row in axes:
        for axis in row[1:]:
            axis.set_ylabel("")
    figure.tight_layout()
    text = "Mistakes against each choice, for all values of the others."
    return Section("Single choices", text, figure_as_html(figure, "mistakes against each choice"))


def _plot_choice(axis: Any, name: str, trials: list[Any]) -> None:
    """Plot mistakes against the values of one hyperparameter."""
    values = [trial.params[name] for trial in trials]
    distribution = trials[0].distributions[name]
    if isinstance(values[0], str):
        choices = list(distribution.choices)
        positions = np.array([choices.index(value) for value in values], dtype=float)
        positions += np.linspace(-0.2, 0.2, len(positions))  # so that equal ones do not overlap
        axis.set_xticks(range(len(choices)), choices, rotation=30, ha="right", fontsize=7)
    else:
        positions = np.array(values)
        if getattr(distribution, "log", False):
            log_scale(axis, "x", values, "")
            axis.tick_params(axis="x", rotation=45, labelsize=7)
    axis.plot(positions, [trial.value for trial in trials], "o", color=BLUE, ms=3)


def _wrong_axis(axis: Any, trained: list[Any]) -> None:
    log_scale(axis, "y", [trial.value for trial in trained], "wrong")
    axis.tick_params(axis="y", labelsize=7)
    axis.grid(True, alpha=0.3)
