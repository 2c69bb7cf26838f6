"""The figures of the report, each with labelled axes and in colours that colour-blind readers tell apart."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ann.analysis.figures import BLUE, ORANGE, pyplot
from ann.analysis.inspection import Calibration, Change
from ann.analysis.metrics import wilson_interval

READABLE = 30  # classes, of which a matrix has room for numbers


def as_html(figure: Any, alt: str) -> str:
    """A figure as an image within a page."""
    html, buffer = importlib.import_module("html"), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    pyplot().close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{data}">'


def of_confusion(matrix: np.ndarray, names: Sequence[str]) -> Any:
    """Which class was taken for which; the shade is of mistakes alone, since right answers would outshine them."""
    figure, axis = pyplot().subplots(figsize=(7.2, 6.4))
    mistakes = matrix - np.diag(np.diag(matrix))
    picture = axis.imshow(mistakes, cmap="Blues", vmin=0, vmax=max(1, mistakes.max()))
    for row, column in np.ndindex(*matrix.shape) if len(matrix) <= READABLE else ():
        count = int(matrix[row, column])
        dark = row != column and count > 0.6 * mistakes.max()
        colour = "white" if dark else "black" if count else "#999999"
        weight = "bold" if row == column else "normal"
        axis.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8, fontweight=weight)
    if len(matrix) <= READABLE:
        turned = 45 if max(map(len, names)) > 2 else 0
        axis.set_xticks(range(len(names)), names, rotation=turned, ha="right" if turned else "center")
        axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("answer of the network")
    axis.set_ylabel("label")
    figure.colorbar(picture, ax=axis, label="mistakes", fraction=0.046)
    figure.tight_layout()
    return figure


def of_calibration(found: Calibration) -> Any:
    """How often answers were right, against how sure they were; and how many there were."""
    figure, (top, bottom) = pyplot().subplots(2, 1, figsize=(6, 6.4), sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], "--", color="gray", label="perfectly calibrated")
    right = np.rint(found.accuracy * found.counts).astype(int)
    ends = np.array([wilson_interval(*map(int, pair)) for pair in zip(right, found.counts, strict=True)]).T
    reach = np.abs(ends - found.accuracy)
    label = "this network, with 95 % intervals"
    top.errorbar(found.confidence, found.accuracy, reach, fmt="o-", capsize=3, color=BLUE, label=label)
    top.set_ylabel("share that was right")
    top.set_ylim(-0.03, 1.03)
    top.legend(loc="lower right")
    top.grid(True, alpha=0.3)
    bottom.bar(found.confidence, found.counts, width=0.03, color=ORANGE)
    bottom.set_yscale("log")
    bottom.set_ylabel("answers")
    bottom.set_xlabel("probability that the network gave its answer")
    bottom.set_xlim(0, 1.03)
    bottom.grid(True, alpha=0.3)
    figure.tight_layout()
    return figure


def of_robustness(changes: Sequence[Change], shares: Sequence[Sequence[float]], commonest: float) -> Any:
    """Mistakes against how far images were changed, a panel for each change, and those of one answer for all."""
    figure, axes = pyplot().subplots(2, 3, figsize=(10, 6), sharey=True)
    for axis, change, share in zip(axes.flat, changes, shares, strict=False):
        axis.plot(change.levels, [100 * value for value in share], "o-", color=BLUE)
        axis.axhline(100 * commonest, linestyle="--", color="gray")
        axis.set_xlabel(change.name)
        axis.set_ylim(0, 100)
        axis.grid(True, alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("% wrong")
    rest = axes.flat[len(changes)]
    rest.set_axis_off()
    rest.text(0.1, 0.5, "dashed: by always giving\nthe commonest label", color="gray", transform=rest.transAxes)
    figure.tight_layout()
    return figure


def of_weights(weight: np.ndarray, shape: tuple[int, int]) -> Any:
    """Weights (I, O) of up to 64 first neurons, as images of the inputs' shape."""
    count = min(64, weight.shape[1])
    columns = min(16, count)
    rows = -(-count // columns)
    figure, axes = pyplot().subplots(rows, columns, figsize=(0.66 * columns + 0.8, 0.66 * rows + 0.4), squeeze=False)
    limit = float(np.quantile(np.abs(weight), 0.995)) or 1.0
    picture = None
    for number, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if number < count:
            image = weight[:, number].reshape(shape)
            picture = axis.imshow(image, cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.tight_layout(pad=0.3, rect=(0, 0, 0.94, 1))
    bar = figure.add_axes((0.95, 0.1, 0.012, 0.8))
    figure.colorbar(picture, cax=bar).ax.tick_params(labelsize=7)
    return figure
