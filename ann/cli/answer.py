"""A network's answer for a picture: as text, as plain values and as a figure."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ann.analysis.figures import ORANGE, figure_of_images
from ann.analysis.reading import Reading
from ann.analysis.text_pictures import speaks_unicode, text_sheet
from ann.errors import printable_path

COLUMNS = ("file", "text", "confidence", "unsure", "expected")


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network read on a picture, and the right labels of its digits if they are known."""

    path: Path
    reading: Reading
    expected: list[str] | None = None

    def describe(self) -> str:
        """The answer in one line."""
        reading, least = self.reading, self.reading.least_certain
        if least:
            following = f"next {least.next_label} ({100 * least.next_confidence:.0f} %)"
            text = f"{least.label} ({100 * least.confidence:.0f} %), {following}"
            if len(reading.digits) > 1:
                text = f"{self.number}, least certain: {text}"
            if reading.unsure:
                text = f"not sure, {reading.unsure}: {text}"
        else:
            text = f"not sure: {reading.unsure}"
        if reading.notes:
            text += f"  [{', '.join(reading.notes)}]"
        if self.expected and self.expected != [digit.label for digit in reading.digits]:
            text += f"  <-- wrong, expected {''.join(self.expected)}"
        return f"{printable_path(self.path)}: {text}"

    @property
    def number(self) -> str:
        """The text of the reading on one line."""
        return " / ".join(self.reading.text.split("\n"))

    def fields(self) -> dict[str, Any]:
        """The answer as plain values, for JSON."""
        reading = self.reading
        digits = reading.digits
        only = digits[0] if len(digits) == 1 else None
        fields: dict[str, Any] = {
            "file": str(self.path),
            "text": reading.text,
            "digits": [
                {"label": digit.label, "confidence": digit.confidence, "box": list(digit.box)}
                for digit in digits
            ],
            "label": only and only.label,
            "output": only and only.confidence,
            "next": only and only.next_label,
            "next_output": only and only.next_confidence,
            "unsure": reading.unsure,
            "notes": list(reading.notes),
        }
        if self.expected:
            fields["expected"] = "".join(self.expected)
        return fields

    def row(self) -> list[object]:
        """The answer as the values of ``COLUMNS``, for a table."""
        least = self.reading.least_certain
        confidence = f"{least.confidence:.4f}" if least else ""
        expected = "".join(self.expected or ())
        return [self.path, self.reading.text, confidence, self.reading.unsure, expected]

    @property
    def certainty(self) -> float:
        """From 0 (not sure) to 1."""
        least = self.reading.least_certain
        return least.lead if least and not self.reading.unsure else 0.0

    def text_pictures(self) -> str:
        """The picture and the network's inputs as text, for a terminal."""
        digits = self.reading.digits
        side = len(digits[0].image) if digits else 28
        images = [_shrink(self.reading.grey, side), *(digit.image for digit in digits)]
        captions = ["what the network sees"] if len(digits) == 1 else [one.label for one in digits]
        unicode = speaks_unicode(sys.stdout)
        return text_sheet(np.stack(images), ["before", *captions], columns=5, unicode=unicode)


def figure_of_answers(answers: Sequence[Answer]) -> Any:
    """A matplotlib figure: each picture, with boxes and labels, beside the network's inputs."""
    images: list[np.ndarray] = []
    captions: list[str] = []
    for answer in answers:
        reading, least = answer.reading, answer.reading.least_certain
        images += [reading.grey, _sheet(reading)]
        sure = f"{100 * least.confidence:.0f} %" if least and not reading.unsure else "not sure"
        seen = f"{answer.number[:20]}, {sure}" if least else sure
        captions += [printable_path(answer.path.name)[:18], seen]
    large = any(len(answer.reading.digits) > 1 for answer in answers)
    columns = min(len(images), 4 if large else 10)
    figure = figure_of_images(images, captions, columns, size=3.0 if large else 1.5)
    for axis, answer in zip(figure.axes[::2], answers, strict=False):
        _draw_boxes(axis, answer.reading)
    return figure


def _draw_boxes(axis: Any, reading: Reading) -> None:
    """Draw each digit's box and label onto a picture."""
    (height, width), size = reading.grey.shape, reading.size
    for digit in reading.digits:
        box = digit.box.scaled(width / size[0], height / size[1])
        x, y = (box.left, box.right), (box.top, box.bottom)
        axis.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color=ORANGE)
        if len(reading.digits) > 1:
            style = {"color": ORANGE, "fontweight": "bold", "va": "bottom", "parse_math": False}
            axis.text(box.left, box.top, digit.label, **style)


def _sheet(reading: Reading) -> np.ndarray:
    """The images of a reading's digits, side by side in each line."""
    if not reading.digits:
        return np.zeros((28, 28), dtype=np.uint8)
    rows = [np.hstack([digit.image for digit in line]) for line in reading.lines]
    widest = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 0), (0, widest - row.shape[1]))) for row in rows])


def _shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture reduced to (side, side) pixels, for a terminal, with white ink.

    A pixel's ink is its difference from the median grey.
    """
    rows, columns = (np.linspace(0, size - 1, side).round().astype(int) for size in picture.shape)
    ink = np.abs(picture.astype(float) - float(np.median(picture)))
    block = max(1, max(picture.shape) // side)
    small = np.array([[ink[r : r + block, c : c + block].max() for c in columns] for r in rows])
    return (255.0 * small / max(60.0, float(small.max()))).astype(np.uint8)
