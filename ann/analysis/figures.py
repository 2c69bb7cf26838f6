"""Figures of images and of what training and testing found. They need matplotlib (the extra ``plot``), which is
imported when the first one is made.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ann.errors import require
from ann.files.atomic import check_writable, write_atomically
from ann.training.report import EpochReport

_FOR_OTHER_PROGRAMS = {"pgf", "raw", "rgba"}  # of matplotlib's formats: for TeX, and no pictures
BLUE, ORANGE = "#0072b2", "#d55e00"  # of Okabe & Ito (2008), told apart by colour-blind readers too


def figure_of_images(images: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str], columns: int = 5) -> Any:
    """A matplotlib figure of images (height, width), each under its caption. Raises ImportError without it."""
    rows = max(1, -(-len(images) // columns))
    lines = max((caption.count("\n") for caption in captions), default=0)
    size = 1.5 * columns, (1.75 + 0.2 * lines) * rows
    figure, axes = pyplot().subplots(rows, columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(caption, fontsize=11, parse_math=False)  # a $ is a $
    figure.tight_layout()
    return figure


def figure_of_curves(reports: Sequence[EpochReport]) -> Any:
    """A matplotlib figure of the losses and, where images were held out, the mistakes on them, epoch by epoch.

    Raises ImportError without matplotlib.
    """
    epochs = [report.epoch for report in reports]
    measured = [report.validation for report in reports if report.validation]
    panels = 2 if measured else 1
    figure, axes = pyplot().subplots(panels, 1, figsize=(7, 3.2 * panels), sharex=True, squeeze=False)
    marks = {"marker": ".", "markersize": 5, "linewidth": 1.5}
    top = axes[0, 0]
    top.plot(epochs, [report.loss for report in reports], color=BLUE, label="training images", **marks)
    if measured:
        top.plot(epochs, [found.loss for found in measured], color=ORANGE, label="held-out images", **marks)
        wrong = [found.wrong for found in measured]
        best = min(range(len(wrong)), key=lambda place: (wrong[place], measured[place].loss))
        bottom = axes[1, 0]
        bottom.plot(epochs, wrong, color=ORANGE, **marks)
        bottom.plot(epochs[best], wrong[best], "o", color="black", markersize=9, fillstyle="none")
        bottom.set_title(f"ringed: the fewest, {wrong[best]:,} in epoch {epochs[best]}", fontsize="medium")
        _logarithmic(bottom, wrong)
        bottom.set_ylabel(f"wrong of {measured[-1].total:,} held out")
    _logarithmic(top, [*(report.loss for report in reports), *(found.loss for found in measured)])
    top.set_ylabel("mean loss")
    top.legend()
    axes[-1, 0].set_xlabel("epoch")
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    figure.tight_layout()
    return figure


def check_figure_path(path: str | os.PathLike[str]) -> None:
    """Raise now, before long work, where ``save_figure`` would raise later.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: it cannot be written.
        ValueError: the format that its name ends in is unknown.
    """
    pyplot()
    formats = importlib.import_module("matplotlib.backend_bases").FigureCanvasBase.get_supported_filetypes()
    known = set(formats) - _FOR_OTHER_PROGRAMS
    ending = _ending(path)
    if ending.lower() not in known:
        raise ValueError(f"{path}: pictures are not written as .{ending}, but as .{', .'.join(sorted(known))}")
    check_writable(path)


def _ending(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lstrip(".") or "png"


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure in the format that the file's name ends in, wholly or not at all.

    Raises:
        OSError: it cannot be written.
        ValueError: the format is unknown.
    """
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=_ending(path), dpi=110)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    finally:
        pyplot().close(figure)
    write_atomically(path, buffer.getvalue())


def show_figure(figure: Any) -> bool:
    """Open a window and wait until it is closed; False, at once, where there is no display."""
    if pyplot().get_backend().lower() in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        return False
    pyplot().show()
    return True


def _logarithmic(axis: Any, numbers: Sequence[float]) -> None:
    """Make the y axis logarithmic, where all is above 0, with plain numbers and a grid."""
    if min(numbers) > 0:
        ticker = importlib.import_module("matplotlib.ticker")
        marked = (1, 2, 5) if max(numbers) > 8 * min(numbers) else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=marked))
        axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, place: f"{value:g}"))
        axis.yaxis.set_minor_locator(ticker.NullLocator())
    axis.grid(True, alpha=0.3)


def pyplot() -> Any:
    """The part of matplotlib that makes figures. Raises ImportError without it."""
    return require("matplotlib.pyplot", "plot", "pictures need matplotlib")
