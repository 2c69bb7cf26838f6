"""Test a saved network on the images that it was not trained on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cli
import numpy as np

import ann
from ann.files import check_writable
from ann.metrics import confusion_matrix, wilson_interval
from ann.plots import figure_of_images, save_figure

EXAMPLES = """\
  python scripts/test.py
  python scripts/test.py --model mine.pickle --verbose | grep wrong
  python scripts/test.py --picture mistakes.png
  python scripts/test.py --json"""


def main() -> None:
    """Parse, test, print."""
    flags = parse_flags()
    with cli.one_line_errors():
        if flags.picture:
            check_writable(flags.picture)
        backend = ann.get_backend(flags.device)
        network = ann.load_model(flags.model, backend)
        dataset = ann.load_dataset(flags.data)
        images, labels = dataset.test_images, dataset.test_labels
        if images[0].size != network.input_dim:
            raise ann.DataFileError(
                f"{flags.data}: images of {images[0].size} pixels; {flags.model} takes {network.input_dim}"
            )
        if network.output_dim <= labels.max():
            raise ann.DataFileError(
                f"{flags.data}: labels up to {labels.max()}; {flags.model} has {network.output_dim} outputs"
            )
        outputs = network.apply(images)
        predicted = outputs.argmax(axis=1)
        confusion = confusion_matrix(labels, predicted, network.output_dim)
        wrong, total = int((predicted != labels).sum()), len(labels)
        interval = wilson_interval(wrong, total)
        if flags.picture:
            draw_mistakes(flags.picture, images, labels, outputs)
        if flags.json:
            print_json(wrong, total, interval, confusion, backend)
            return
        if flags.verbose:
            print_examples(labels, predicted)
        print(f"device {backend.name}: {backend.description}")
        print_summary(wrong, total, interval, confusion)
        if flags.picture:
            print(f"\npicture of the mistakes, the surest first: {flags.picture.resolve()}")


def print_json(
    wrong: int, total: int, interval: tuple[float, float], confusion: np.ndarray, backend: ann.Backend
) -> None:
    """One JSON object."""
    result = {
        "wrong": wrong,
        "total": total,
        "error_rate": wrong / total,
        "interval": list(interval),
        "confusion": confusion.tolist(),
        "device": backend.name,
    }
    cli.say(json.dumps(result))


def print_examples(expected: np.ndarray, predicted: np.ndarray) -> None:
    """A line for each image, with a mark on the wrong ones."""
    for index, (label, guess) in enumerate(zip(expected, predicted, strict=True)):
        mark = "" if label == guess else "  <-- wrong"
        print(f"image {index:5}  expected {label}  got {guess}{mark}")


def print_summary(wrong: int, total: int, interval: tuple[float, float], confusion: np.ndarray) -> None:
    """How many were wrong, for each digit too, and what they were taken for."""
    low, high = (100 * bound for bound in interval)
    print(
        f"{wrong} of {total:,} wrong, error rate {100 * wrong / total:.2f} % (95 % interval {low:.2f} to {high:.2f} %)"
    )
    print("\nrows: the digit shown, columns: the digit seen")
    width = max(5, len(str(confusion.max())) + 1)
    print("      " + "".join(f"{digit:{width}}" for digit in range(len(confusion))) + "   wrong     rate")
    for digit, row in enumerate(confusion):
        count, missed = int(row.sum()), int(row.sum() - row[digit])
        cells = "".join(f"{value or '.':>{width}}" for value in row.tolist())
        rate = f"{100 * missed / count:.2f} %" if count else "-"
        print(f"{digit:5} {cells}{missed:8}{rate:>9}")


def draw_mistakes(path: Path, images: np.ndarray, labels: np.ndarray, outputs: np.ndarray, most: int = 40) -> None:
    """A picture of the mistakes, those of which the network was surest first."""
    predicted = outputs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-outputs[wrong, predicted[wrong]], kind="stable")][:most]
    captions = [f"{labels[index]} seen as {predicted[index]}" for index in surest]
    save_figure(figure_of_images(images[surest], captions, columns=10), path)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = cli.Parser("Test a saved network on the 10,000 test images.", EXAMPLES)
    parser.add_import()
    parser.add_common(model=True)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--verbose", action="store_true", help="list each image: expected, got, a mark on the wrong ones")
    form.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the mistakes, the surest first")
    return parser.parse_args()


if __name__ == "__main__":
    main()
