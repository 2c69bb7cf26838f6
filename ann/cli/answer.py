"""A network's answer for a picture: as text, as plain values and as a drawing."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ann.analysis.figures import figure_of_images
from ann.analysis.text_pictures import speaks_unicode, text_sheet
from ann.data.handwriting import Prepared, prepare
from ann.errors import printable_path
from ann.neural_network import NeuralNetwork

# A sure answer has at least this output and leads the next one by this much, as on the web page
_SURE, _LEAD = 0.5, 0.3


@dataclass(frozen=True)
class Answer:
    """The two largest outputs for a picture.

    Attributes:
        path: the picture's file.
        picture: its pixels.
        prepared: what the network gets.
        names: the names of the two classes.
        outputs: the two outputs.
        unsure: why the answer may be wrong, or "".
    """

    path: Path
    picture: np.ndarray
    prepared: Prepared
    names: tuple[str, str]
    outputs: tuple[float, float]
    unsure: str

    @classmethod
    def of(
        cls, network: NeuralNetwork, names: Sequence[str], path: Path, picture: np.ndarray
    ) -> Self:
        """Prepare a picture, and apply a network of square images to it."""
        prepared = prepare(picture, math.isqrt(network.input_dim))
        outputs = network.apply(prepared.image[None])[0]
        first, second = (int(index) for index in np.argsort(-outputs, kind="stable")[:2])
        most, next_most = float(outputs[first]), float(outputs[second])
        unsure = ""
        if most < _SURE:
            unsure = "because it resembles no known class"
        elif most - next_most < _LEAD:
            unsure = "because two answers are close"
        chosen = names[first], names[second]
        return cls(path, picture, prepared, chosen, (most, next_most), unsure)

    def describe(self) -> str:
        """One line."""
        notes = f"  [{', '.join(self.prepared.notes)}]" if self.prepared.notes else ""
        file = printable_path(self.path)
        if self.prepared.problem:
            return f"{file}: not sure: {self.prepared.problem}{notes}"
        (first, second), (most, next_most) = self.names, self.outputs
        ranking = f"{first} ({100 * most:.0f} %), next {second} ({100 * next_most:.0f} %)"
        return f"{file}: {f'not sure, {self.unsure}: ' if self.unsure else ''}{ranking}{notes}"

    def fields(self) -> dict[str, Any]:
        """The answer as plain values, for JSON."""
        seen = not self.prepared.problem
        return {
            "file": str(self.path),
            "label": self.names[0] if seen else None,
            "output": self.outputs[0] if seen else None,
            "next": self.names[1] if seen else None,
            "next_output": self.outputs[1] if seen else None,
            "unsure": self.prepared.problem or self.unsure,
            "notes": list(self.prepared.notes),
        }

    def text_pictures(self) -> str:
        """The picture and what the network gets, for a terminal."""
        images = np.stack([_shrink(self.picture, len(self.prepared.image)), self.prepared.image])
        captions = ["before", "what the network sees"]
        return text_sheet(images, captions, columns=2, unicode=speaks_unicode(sys.stdout))


def figure_of_answers(answers: Sequence[Answer]) -> Any:
    """A matplotlib figure of each picture, before and after it was prepared."""
    images: list[np.ndarray] = []
    captions: list[str] = []
    for answer in answers:
        images += [answer.picture, answer.prepared.image]
        seen = f"{answer.names[0]}, {100 * answer.outputs[0]:.0f} %"
        if answer.prepared.problem or answer.unsure:
            seen = "not sure"
        captions += [printable_path(answer.path.name)[:18], seen]
    return figure_of_images(images, captions, columns=min(len(images), 10))


def _shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture of (side, side) pixels for the terminal, whose ink is white.

    Ink is what differs from the median grey.
    """
    rows, columns = (np.linspace(0, size - 1, side).round().astype(int) for size in picture.shape)
    ink = np.abs(picture.astype(float) - float(np.median(picture)))
    block = max(1, max(picture.shape) // side)
    small = np.array([[ink[r : r + block, c : c + block].max() for c in columns] for r in rows])
    return (255.0 * small / max(60.0, float(small.max()))).astype(np.uint8)
