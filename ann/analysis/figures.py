"""Figures of images, and of what training and testing found. Their colours are ones that
colour-blind readers can tell apart.

They need matplotlib (the extra ``plot``), which is imported when the first one is made; without it,
each raises ImportError.
"""

import base64
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ann.analysis.inspection import Calibration, Change
from ann.analysis.metrics import wilson_interval
from ann.errors import printable_path, printable_text, require
from ann.files.atomic import check_writable, write_atomically
from ann.training.report import EpochReport

BLUE, ORANGE = "#0072b2", "#d55e00"  # of Okabe & Ito (2008)
_NOT_PICTURES = {"pgf", "raw", "rgba"}  # formats of matplotlib for TeX and other programs
_LEGIBLE = 30  # a confusion matrix of more classes has no space for its counts
MOST_MAPS = 64  # in a figure
_WIDTH = 5.0  # of a chart, in inches: its text is legible on a phone that is 375 pixels wide
_DPI, _SHOWN_DPI = 160, 110  # of a figure in a page: its own pixels, and those of the screen


def pyplot() -> Any:
    """The part of matplotlib that makes figures."""
    return require("matplotlib.pyplot", "plot", "pictures need matplotlib")


def figure_of_images(
    images: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str],
    columns: int = 5,
    size: float = 1.5,
) -> Any:
    """A matplotlib figure of images (height, width), ``size`` inches wide, with captions above."""
    rows = max(1, -(-len(images) // columns))
    lines = max((caption.count("\n") for caption in captions), default=0)
    extent = size * columns, (size + 0.25 + 0.2 * lines) * rows
    figure, axes = _blank_panels(rows, columns, extent)
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(caption, fontsize=11, parse_math=False)  # a $ is a $
    return figure


def figure_of_curves(reports: Sequence[EpochReport]) -> Any:
    """A figure of the loss after each epoch, and of the errors on validation images."""
    epochs = [report.epoch for report in reports]
    measured = [report.validation for report in reports if report.validation]
    panels = 2 if measured else 1
    figure, axes = _panels(panels, 1, (_WIDTH, 2.8 * panels), sharex=True, squeeze=False)
    top, bottom = axes[0, 0], axes[-1, 0]
    marks = {"marker": ".", "markersize": 5, "linewidth": 1.5}
    losses = [report.loss for report in reports]
    validation_losses = [found.loss for found in measured]
    top.plot(epochs, losses, color=BLUE, label="training images", **marks)
    if measured:
        top.plot(epochs, validation_losses, color=ORANGE, label="validation images", **marks)
        wrong = [found.errors for found in measured]
        best = min(range(len(wrong)), key=lambda index: (wrong[index], validation_losses[index]))
        bottom.plot(epochs, wrong, color=ORANGE, **marks)
        bottom.plot(epochs[best], wrong[best], "o", color="black", markersize=9, fillstyle="none")
        of = f"{wrong[best]:,} of {measured[best].count:,} validation images"
        text = f"fewest errors: {of}, epoch {epochs[best]}"
        bottom.set_title(text, fontsize="medium")
        bottom.set_ylabel("validation errors")
        log_scale(bottom, "y", wrong)
        bottom.grid(alpha=0.3)
    top.set_ylabel("mean loss")
    log_scale(top, "y", losses + validation_losses)
    top.grid(alpha=0.3)
    top.legend()
    bottom.set_xlabel("epoch")
    bottom.xaxis.get_major_locator().set_params(integer=True)
    return figure


def figure_of_confusion(matrix: np.ndarray, names: Sequence[str]) -> Any:
    """A confusion matrix, shaded by errors alone: correct answers would outshine them."""
    figure, axis = _panels(1, 1, (_WIDTH, 4.4))
    errors = matrix - np.diag(np.diag(matrix))
    picture = axis.imshow(errors, cmap="Blues", vmin=0, vmax=max(1, errors.max()))
    if len(matrix) <= _LEGIBLE:
        _write_counts(axis, matrix, dark_above=0.6 * float(errors.max()))
        angle = 45 if max(map(len, names)) > 2 else 0
        side = "right" if angle else "center"
        ticks = range(len(names))
        axis.set_xticks(ticks, names, rotation=angle, ha=side, parse_math=False)  # a $ is a $
        axis.set_yticks(ticks, names, parse_math=False)
    axis.set(xlabel="predicted class", ylabel="label")
    figure.colorbar(picture, ax=axis, label="errors", fraction=0.046)
    return figure


def _write_counts(axis: Any, matrix: np.ndarray, dark_above: float) -> None:
    """Write each count of a confusion matrix in a colour that shows on its cell's shade."""
    for (row, column), count in np.ndenumerate(matrix):
        colour = "black" if count else "#999999"
        if row != column and count > dark_above:
            colour = "white"
        weight = "bold" if row == column else "normal"
        style = {"ha": "center", "va": "center", "fontsize": 8, "fontweight": weight}
        axis.text(column, row, f"{count}", color=colour, **style)


def figure_of_calibration(found: Calibration) -> Any:
    """A reliability diagram: accuracy against probability, above a histogram of the answers."""
    figure, (top, bottom) = _panels(2, 1, (_WIDTH, 5.6), sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], "--", color="gray", label="perfectly calibrated")
    right = np.rint(found.accuracy * found.counts).astype(int)
    pairs = zip(right.tolist(), found.counts.tolist(), strict=True)
    intervals = np.array([wilson_interval(correct, count) for correct, count in pairs]).T
    reach = np.abs(intervals - found.accuracy)
    label = "this network, with 95 % intervals"
    style = {"fmt": "o-", "capsize": 3, "color": BLUE, "label": label}
    top.errorbar(found.confidence, found.accuracy, reach, **style)
    top.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    top.legend(loc="lower right")
    top.grid(alpha=0.3)
    bottom.bar(found.confidence, found.counts, width=0.03, color=ORANGE)
    bottom.set(xlabel="probability of the predicted class", xlim=(0, 1.03))
    bottom.set(ylabel="answers (log scale)", yscale="log")
    bottom.grid(alpha=0.3)
    return figure


def figure_of_robustness(
    changes: Sequence[Change], error_rates: Sequence[Sequence[float]], constant: float
) -> Any:
    """The error rate against the strength of up to five changes of the images, one panel each.

    ``error_rates`` are those at each level of each change; ``constant`` is that of always giving
    the most frequent answer.
    """
    figure, axes = _panels(3, 2, (_WIDTH, 7), sharey=True)
    for axis, change, rates in zip(axes.flat, changes, error_rates, strict=False):
        axis.plot(change.levels, [100 * rate for rate in rates], "o-", color=BLUE)
        axis.axhline(100 * constant, linestyle="--", color="gray")
        axis.set_xlabel(change.name.replace(", ", "\n"), fontsize="small")
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("errors (%)")
    rest = axes.flat[len(changes)]
    rest.set_axis_off()
    text = "dashed: always giving the\nmost frequent answer"
    rest.text(0.1, 0.5, text, color="gray", transform=rest.transAxes)
    return figure


def figure_of_maps(maps: np.ndarray) -> Any:
    """The first 64 of maps (N, height, width) of numbers: orange above 0, violet below."""
    count = min(MOST_MAPS, len(maps))
    columns = min(8, count)
    rows = -(-count // columns)
    size = 0.5 * columns + 0.8, 0.5 * rows + 0.4
    figure, axes = _blank_panels(rows, columns, size)
    limit = float(np.quantile(np.abs(maps), 0.995)) or 1.0
    style = {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    for axis, numbers in zip(axes.flat, maps[:count], strict=False):
        picture = axis.imshow(numbers, **style)
    figure.set_layout_engine("constrained")  # "tight" has no space for a bar beside many axes
    figure.colorbar(picture, ax=axes, fraction=0.04, pad=0.02).ax.tick_params(labelsize=9)
    return figure


def _panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of this size, in inches, and its axes."""
    figure, axes = pyplot().subplots(rows, columns, figsize=size, layout="tight", **options)
    if "inline" in pyplot().get_backend():
        # A notebook shows open figures and returned ones; show this one only once
        pyplot().close(figure)
    return figure, axes


def _blank_panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """The same for images. Without ticks, which would be hidden, matplotlib is twice as fast."""
    without_ticks: dict[str, list[float]] = {"xticks": [], "yticks": []}
    figure, axes = _panels(rows, columns, size, squeeze=False, subplot_kw=without_ticks)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def log_scale(axis: Any, direction: str, values: Sequence[float]) -> None:
    """If all values are above 0, make the x or y axis logarithmic, and add that to its label."""
    if min(values) <= 0:
        return
    from matplotlib import ticker

    wide = max(values) > 8 * min(values)
    marked = (1, 2, 5) if wide else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    getattr(axis, f"set_{direction}scale")("log")
    line = getattr(axis, f"{direction}axis")
    if line.get_label_text():
        line.set_label_text(f"{line.get_label_text()} (log scale)")
    line.set_major_locator(ticker.LogLocator(subs=marked, numticks=6))
    line.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 100 else f"{x:.3g}")
    line.set_minor_locator(ticker.NullLocator())


def figure_as_html(figure: Any, alt: str, kind: str = "chart") -> str:
    """A figure as an ``<img>`` element that contains its data; ``alt`` is for screen readers.

    ``kind`` is its class: the page inverts a "chart" in dark mode, but not "maps".
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    pyplot().close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    width = round(_SHOWN_DPI * figure.get_figwidth())
    source = f'alt="{html.escape(alt)}" src="data:image/png;base64,{data}"'
    return f'<img class="{kind}" width="{width}" {source}>'


def check_figure_path(path: str | os.PathLike[str]) -> None:
    """Raise now, before long work, what ``save_figure`` would raise after it."""
    canvas = pyplot().Figure().canvas
    known = set(canvas.get_supported_filetypes()) - _NOT_PICTURES
    suffix = _suffix(path)
    if suffix.lower() not in known:
        wanted = f"pictures cannot be written as .{printable_text(suffix)}, only as ."
        raise ValueError(f"{printable_path(path)}: {wanted}{', .'.join(sorted(known))}")
    check_writable(path)


def _suffix(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lstrip(".") or "png"


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure in the format that the file's name ends in; if that fails, no file is changed.

    Raises:
        OSError: the file cannot be written.
        ValueError: the format is unknown.
    """
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=_suffix(path), dpi=110)
    except ValueError as error:
        raise ValueError(f"{printable_path(path)}: {printable_text(error, 500)}") from None
    finally:
        pyplot().close(figure)
    write_atomically(path, buffer.getvalue())


def show_figure(figure: Any) -> bool:
    """Open a window and wait until it is closed; return False at once if there is no display."""
    if pyplot().get_backend().lower() in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        return False
    pyplot().show()
    return True
