"""Say which digit is on pictures of your own: photos, scans or drawings."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.analysis.figures import check_figure_path, figure_of_images, save_figure
from ann.analysis.text_pictures import speaks_unicode, text_sheet
from ann.cli.errors import one_line_errors
from ann.cli.output import echo, warn
from ann.cli.parser import Parser
from ann.data.catalog import SOURCES, class_names
from ann.data.handwriting import Prepared, prepare, read_picture
from ann.errors import printable_path

EXAMPLES = """\
  python scripts/predict.py photo.jpg
  python scripts/predict.py --model coffee.pickle one.png two.png
  # before and after, as a picture
  python scripts/predict.py --picture seen.png photo.jpg"""
SURE, APART = 0.5, 0.3  # the least output, and the least lead over the next, to be sure of a digit; as on the web page


@dataclass(frozen=True)
class Answer:
    """What is said of a picture; ``unsure`` says why it may be something else, or nothing."""

    path: Path
    picture: np.ndarray
    prepared: Prepared
    names: tuple[str, str]
    outputs: tuple[float, float]
    unsure: str

    def in_words(self) -> str:
        """One line."""
        (first, second), (most, next_most) = self.names, self.outputs
        notes = f"  [{', '.join(self.prepared.notes)}]" if self.prepared.notes else ""
        if self.prepared.problem:
            return f"{printable_path(self.path)}: not sure: {self.prepared.problem}{notes}"
        ranking = f"{first} ({100 * most:.0f} %), next {second} ({100 * next_most:.0f} %)"
        return f"{printable_path(self.path)}: {f'not sure, {self.unsure}: ' if self.unsure else ''}{ranking}{notes}"

    def fields(self) -> dict[str, Any]:
        """The same as plain values."""
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


def main() -> None:
    """Parse, look at each picture, print."""
    flags = parse_flags()
    with one_line_errors():
        if flags.picture:
            if any(flags.picture.resolve() == path.resolve() for path in flags.pictures):
                name = printable_path(flags.picture)
                raise ValueError(f"{name}: one of the pictures to look at; draw to another file")
            check_figure_path(flags.picture)
        network = ann.load_model(flags.model, ann.get_backend(flags.device))
        side = math.isqrt(network.input_dim)
        if side * side != network.input_dim or network.output_dim < 2:
            raise ann.ModelFileError(f"{flags.model}: it takes no square images, or tells nothing apart")
        names = class_names(SOURCES[flags.classes].classes, network.output_dim)
        answers, bad = [], 0
        for path in flags.pictures:
            try:
                picture = read_picture(path)
            except ann.DataFileError as error:
                warn(f"error: {error}")
                bad += 1
                continue
            answers.append(answer(network, names, path, picture, side))
            if not flags.json:
                show(answers[-1], side)
        if flags.json:
            echo(json.dumps([one.fields() for one in answers]))
        if flags.picture and answers:
            draw(flags.picture, answers)
            if not flags.json:
                echo(f"picture: {flags.picture.resolve()}")
        if bad:
            sys.exit(1)


def answer(network: ann.NeuralNetwork, names: list[str], path: Path, picture: np.ndarray, side: int) -> Answer:
    """What the network says to a picture, and how surely."""
    prepared = prepare(picture, side)
    outputs = network.apply(prepared.image[None])[0]
    first, second = (int(place) for place in np.argsort(-outputs, kind="stable")[:2])
    most, next_most = float(outputs[first]), float(outputs[second])
    unsure = ""
    if most < SURE:
        unsure = "since it is like nothing that the network knows"
    elif most - next_most < APART:
        unsure = "since two answers are close"
    return Answer(path, picture, prepared, (names[first], names[second]), (most, next_most), unsure)


def show(one: Answer, side: int) -> None:
    """The line, and in the terminal the picture before and after."""
    echo(one.in_words())
    images = np.stack([_small(one.picture, side), one.prepared.image])
    echo(text_sheet(images, ["before", "what the network sees"], columns=2, unicode=speaks_unicode(sys.stdout)))


def _small(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture in as few pixels, for the terminal, where ink is white: what differs from its middle grey value."""
    rows, columns = (np.linspace(0, length - 1, side).round().astype(int) for length in picture.shape)
    change = np.abs(picture.astype(float) - float(np.median(picture)))
    block = max(1, max(picture.shape) // side)
    mean = change[: change.shape[0], : change.shape[1]]
    small = np.array([[mean[r : r + block, c : c + block].max() for c in columns] for r in rows])
    return (255.0 * small / max(60.0, float(small.max()))).astype(np.uint8)


def draw(path: Path, answers: list[Answer]) -> None:
    """Each picture before and after, side by side."""
    images: list[np.ndarray] = []
    captions = []
    for one in answers:
        images += [one.picture, one.prepared.image]
        seen = "not sure" if one.prepared.problem or one.unsure else f"{one.names[0]}, {100 * one.outputs[0]:.0f} %"
        captions += [printable_path(one.path.name)[:18], seen]
    save_figure(figure_of_images(images, captions, columns=min(len(images), 10)), path)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Say which digit is on pictures of your own: photos, scans or drawings.", EXAMPLES)
    parser.add_import()
    parser.add_device("cpu")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help="PNG, JPEG and many others")
    parser.add_model()
    parser.add_classes()
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them, before and after")
    return parser.parse_args()


if __name__ == "__main__":
    main()
