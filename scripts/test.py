"""Test a saved network on the images that it was not trained on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.analysis.compare import Comparison
from ann.analysis.figures import check_figure_path, figure_of_images, save_figure
from ann.analysis.metrics import confusion_matrix, learnt_nothing, surest_mistakes, wilson_interval
from ann.cli.check_fit import check_fit
from ann.cli.describe_model import describe_members, wrong_of_members
from ann.cli.download_bar import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser
from ann.data.catalog import DIGITS, class_names

EXAMPLES = """\
  python scripts/test.py
  python scripts/test.py --model mine.pickle --verbose | grep wrong
  python scripts/test.py --picture mistakes.png
  python scripts/test.py --json
  # is one network better than another, or was it luck?
  python scripts/test.py --compare other.pickle
  # what the members of a committee do alone
  python scripts/test.py --report-members"""


def main() -> None:
    """Parse, test, print."""
    flags = parse_flags()
    with one_line_errors():
        if flags.picture:
            check_figure_path(flags.picture)
        backend = ann.get_backend(flags.device)
        network = ann.load_model(flags.model, backend)
        if flags.report_members and network.committee == 1:
            raise ann.ModelFileError(f"{flags.model}: one network, and no committee, so there are no members to report")
        other = ann.load_model(flags.compare, backend) if flags.compare else None
        dataset = load_dataset(flags.data)
        images, labels = dataset.test_images, dataset.test_labels
        check_fit(network, flags.model, dataset, flags.data)
        if other:
            check_fit(other, flags.compare, dataset, flags.data)
        outputs = network.apply(images)
        predicted = outputs.argmax(axis=1)
        confusion = confusion_matrix(labels, predicted, network.output_dim)
        wrong, total = int((predicted != labels).sum()), len(labels)
        interval = wilson_interval(wrong, total)
        names = class_names(dataset.classes, network.output_dim)
        if flags.picture:
            draw_mistakes(flags.picture, images, labels, outputs, names)
        members = wrong_of_members(network, images, labels) if flags.report_members else None
        comparison = Comparison(labels, predicted, other.predict(images)) if other else None
        if flags.json:
            more: dict[str, Any] = {"members": members} if members else {}
            if comparison:
                more["comparison"] = comparison.fields()
            print_json(wrong, total, interval, confusion, backend, more)
            return
        if flags.verbose:
            print_examples(labels, predicted, names)
        print(f"device {backend.name}: {backend.description}")
        print_summary(wrong, total, interval, confusion, names)
        if nothing := learnt_nothing(wrong, labels):
            print(f"\n{nothing}")
        if members:
            print(f"\n{describe_members(members, total)}")
        if comparison:
            print(f"\n{comparison.describe(flags.model, flags.compare, every=flags.verbose)}")
        if flags.picture:
            print(f"\npicture of the mistakes, the surest first: {flags.picture.resolve()}")


def print_json(
    wrong: int,
    total: int,
    interval: tuple[float, float],
    confusion: np.ndarray,
    backend: ann.Backend,
    more: dict[str, Any],
) -> None:
    """One JSON object."""
    result = {
        "wrong": wrong,
        "total": total,
        "error_rate": wrong / total,
        "interval": list(interval),
        "confusion": confusion.tolist(),
        "device": backend.name,
        **more,
    }
    echo(json.dumps(result))


def print_examples(expected: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> None:
    """A line for each image, with a mark on the wrong ones."""
    for index, (label, guess) in enumerate(zip(expected, predicted, strict=True)):
        mark = "" if label == guess else "  <-- wrong"
        print(f"image {index:5}  expected {names[label]}  got {names[guess]}{mark}")


def print_summary(
    wrong: int, total: int, interval: tuple[float, float], confusion: np.ndarray, names: Sequence[str]
) -> None:
    """How many were wrong, for each digit too, and what they were taken for."""
    low, high = (100 * bound for bound in interval)
    print(
        f"{wrong} of {total:,} wrong, error rate {100 * wrong / total:.2f} % (95 % interval {low:.2f} to {high:.2f} %)"
    )
    what = "digit" if tuple(names[: len(DIGITS)]) == DIGITS else "class"
    print(f"\nrows: the {what} shown, columns: the {what} seen")
    longest = max(map(len, names))
    width, indent = max(5, len(str(confusion.max())) + 1, longest + 1), max(5, longest)
    print(f"{'':{indent}} " + "".join(f"{name:>{width}}" for name in names) + "   wrong     rate")
    for digit, row in enumerate(confusion):
        count, missed = int(row.sum()), int(row.sum() - row[digit])
        cells = "".join(f"{value or '.':>{width}}" for value in row.tolist())
        rate = f"{100 * missed / count:.2f} %" if count else "-"
        print(f"{names[digit]:>{indent}} {cells}{missed:8}{rate:>9}")


def draw_mistakes(
    path: Path, images: np.ndarray, labels: np.ndarray, outputs: np.ndarray, names: Sequence[str], most: int = 40
) -> None:
    """A picture of the mistakes, those of which the network was surest first."""
    predicted, surest = outputs.argmax(axis=1), surest_mistakes(labels, outputs, most)
    between = " seen as " if max(map(len, names)) < 3 else "\nas "
    captions = [names[labels[index]] + between + names[predicted[index]] for index in surest]
    save_figure(figure_of_images(images[surest], captions, columns=10), path)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Test a saved network on the 10,000 test images.", EXAMPLES)
    parser.add_import()
    parser.add_common(model=True)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--verbose", action="store_true", help="list each image: expected, got, a mark on the wrong ones")
    form.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="OTHER",
        help="another model file: on how many images just one is wrong, whether that may be chance (McNemar's exact "
        "test), and the images on which they differ, all of them with --verbose",
    )
    parser.add_argument(
        "--report-members", action="store_true", help="count the mistakes of each member of a committee"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the mistakes, the surest first")
    return parser.parse_args()


if __name__ == "__main__":
    main()
