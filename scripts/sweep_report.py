"""What a sweep found, as a page of pictures: how it went, what mattered, and which networks are worth their time."""

from __future__ import annotations

import html
import importlib
import warnings
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from ann.analysis.figures import BLUE, ORANGE, figure_as_html, pyplot
from ann.analysis.html_page import Section, html_page

COLUMNS = 4  # of slices
FEW = 20  # trials, below which nothing can be said about what mattered


def page(name: str, study: Any, table: str) -> str:
    """The page of a study."""
    pyplot().switch_backend("agg")  # it opens no window
    trained = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    rules = dict(study.user_attrs["rules"])
    if rules["--distort"] == "no":
        for strength in ("rotation", "scaling", "shear", "shift", "elastic"):
            del rules[f"--{strength}"]
    facts = {
        "trials": f"{len(trained)} trained to the end, {len(pruned)} not: hopeless, diverged or too large",
        **{rule.strip("-").replace("-", " "): text for rule, text in rules.items()},
    }
    parts = [
        Section(
            "The best",
            "Mistakes on images that were held out. The best of many was lucky too: train it with other seeds before "
            "you believe its number, and look at the test images once, at the very end.",
            f"<pre>{html.escape(table)}</pre>",
        )
    ]
    if trained:
        parts += [_history(trained), _cost(trained), _slices(trained)]
    if len(trained) >= FEW:
        parts.insert(3, _importance(study))
    return html_page(f"Sweep: {name}", facts, parts)


def _history(trained: list[Any]) -> Section:
    figure, axis = pyplot().subplots(figsize=(8, 3.6))
    numbers, wrong = [trial.number for trial in trained], [trial.value for trial in trained]
    axis.plot(numbers, wrong, "o", color=BLUE, markersize=4, label="a trial")
    axis.step(numbers, np.minimum.accumulate(wrong), color=ORANGE, where="post", label="the best so far")
    _wrong_axis(axis, trained)
    axis.set_xlabel("trial")
    axis.legend()
    figure.tight_layout()
    text = "Where the line has long been flat, more trials will hardly help; a wider space, or more time for each, may."
    return Section("History", text, figure_as_html(figure, "mistakes against trials"))


def _cost(trained: list[Any]) -> Section:
    figure, axes = pyplot().subplots(1, 2, figsize=(8, 3.6), sharey=True)
    for axis, key in zip(axes, ("seconds", "parameters"), strict=True):
        axis.plot([trial.user_attrs[key] for trial in trained], [trial.value for trial in trained], "o", color=BLUE)
        if min(trial.user_attrs[key] for trial in trained) > 0:
            axis.set_xscale("log")
            _plain_powers(axis.xaxis)
        axis.set_xlabel(key)
        _wrong_axis(axis, trained)
    axes[1].set_ylabel("")
    figure.tight_layout()
    text = "Mistakes against what a network costs: how long it trained, and how large it is."
    return Section("Time against errors", text, figure_as_html(figure, "mistakes against seconds and parameters"))


def _importance(study: Any) -> Section:
    text = (
        "How much each choice has to do with being among the best (PED-ANOVA; Watanabe and others, 2023). It says "
        "little of choices that the search hardly varied."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few trials, which the page says
        try:
            found = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        except ValueError:  # all trials made as many mistakes
            found = {}
    if not found:
        return Section("What mattered", text, "<p>Nothing can be said yet.</p>")
    names, shares = list(found)[::-1], list(found.values())[::-1]
    figure, axis = pyplot().subplots(figsize=(8, 0.6 + 0.3 * len(names)))
    axis.barh([name.replace("_", " ") for name in names], shares, color=BLUE)
    axis.set_xlabel("importance")
    figure.tight_layout()
    return Section("What mattered", text, figure_as_html(figure, "importance of each choice"))


def _slices(trained: list[Any]) -> Section:
    names = sorted({name for trial in trained for name in trial.params})
    if not names:
        return Section("Slices", "Nothing was varied.", "")
    rows = -(-len(names) // COLUMNS)
    figure, axes = pyplot().subplots(rows, COLUMNS, figsize=(10, 2.4 * rows), sharey=True, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, names, strict=False):
        some = [trial for trial in trained if name in trial.params]
        values = [trial.params[name] for trial in some]
        distribution = some[0].distributions[name]
        if getattr(distribution, "log", False):
            axis.set_xscale("log")
            _plain_powers(axis.xaxis)
            axis.tick_params(axis="x", rotation=45)
        if isinstance(values[0], str):
            words = list(distribution.choices)
            places = np.array([words.index(value) for value in values])
            # side by side, where many are alike
            axis.plot(
                places + np.linspace(-0.2, 0.2, len(places)), [trial.value for trial in some], "o", color=BLUE, ms=3
            )
            axis.set_xticks(range(len(words)), words, rotation=30, ha="right", fontsize=7)
        else:
            axis.plot(values, [trial.value for trial in some], "o", color=BLUE, ms=3)
        axis.set_title(name.replace("_", " "), fontsize=9)
        _wrong_axis(axis, trained)
    for row in axes:
        for axis in row[1:]:
            axis.set_ylabel("")
    figure.tight_layout()
    text = "Mistakes against each choice, whatever the others were."
    return Section("Slices", text, figure_as_html(figure, "mistakes against each choice"))


def _wrong_axis(axis: Any, trained: list[Any]) -> None:
    axis.set_ylabel("wrong")
    if min(trial.value for trial in trained) > 0:
        axis.set_yscale("log")
        _plain_powers(axis.yaxis)
    axis.grid(True, alpha=0.3)


def _plain_powers(axis: Any) -> None:
    """Plain numbers, not too many, along a logarithmic axis."""
    ticker = importlib.import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=6))
    axis.set_major_formatter(
        ticker.FuncFormatter(lambda value, place: f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
    )
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_tick_params(labelsize=7)
