"""The result of a test: as text, as plain values and as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ann.analysis import metrics
from ann.analysis.figures import figure_of_images
from ann.data.catalog import DIGITS

_PICTURED = 40  # errors in the picture
_MAX_MATRIX = 20  # classes: a larger matrix is too wide for a terminal


class TestResult:
    """The answers of a network for all test images.

    Attributes:
        labels: (N,) the true classes.
        outputs: (N, C).
        predicted: (N,) the classes with the largest outputs.
        names: the names of the C classes.
        wrong, total: the number of errors and of images.
        confusion: (C, C) counts: row, the true class; column, the predicted one.
    """

    def __init__(self, labels: np.ndarray, outputs: np.ndarray, names: Sequence[str]) -> None:
        self.labels = labels
        self.outputs = outputs
        self.names = names
        self.predicted = outputs.argmax(axis=1)
        self.total = len(labels)
        self.wrong = int((self.predicted != labels).sum())
        self.confusion = metrics.confusion_matrix(labels, self.predicted, len(names))

    def fields(self) -> dict[str, Any]:
        """The result as plain values, for JSON."""
        return {
            "wrong": self.wrong,
            "total": self.total,
            "accuracy": (self.total - self.wrong) / self.total,
            "error_rate": self.wrong / self.total,
            "interval": list(metrics.wilson_interval(self.wrong, self.total)),
            "confusion": self.confusion.tolist(),
        }

    def describe(self) -> str:
        """The errors, the confusion matrix, and a warning if next to nothing was learnt."""
        low, high = (100 * bound for bound in metrics.wilson_interval(self.wrong, self.total))
        rate = 100 * self.wrong / self.total
        interval = f"error rate {rate:.2f} % (95 % interval {low:.2f} to {high:.2f} %)"
        errors = f"{self.wrong} of {self.total:,} wrong: accuracy {100 - rate:.2f} %, {interval}"
        matrix = describe_confusion(self.confusion, self.names)
        warning = metrics.learnt_nothing(self.wrong, self.labels)
        return "\n\n".join(filter(None, [errors, matrix, warning]))

    def describe_images(self) -> str:
        """A line for each image, with a mark on the errors."""
        lines = []
        for index, (label, guess) in enumerate(zip(self.labels, self.predicted, strict=True)):
            mark = "" if label == guess else "  <-- wrong"
            answers = f"expected {self.names[label]}  got {self.names[guess]}"
            lines.append(f"image {index:5}  {answers}{mark}")
        return "\n".join(lines)

    def figure_of_errors(self, images: np.ndarray) -> Any:
        """A matplotlib figure of the errors, those with the largest outputs first."""
        chosen = metrics.most_confident_mistakes(self.labels, self.outputs, _PICTURED)
        between = " seen as " if max(map(len, self.names)) < 3 else "\nas "
        pairs = zip(self.labels[chosen], self.predicted[chosen], strict=True)
        captions = [self.names[label] + between + self.names[guess] for label, guess in pairs]
        return figure_of_images(images[chosen], captions, columns=10)


def describe_confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix (C, C) as text; its rows are the true classes.

    If there are many classes, each row shows only the most frequent wrong answer.
    """
    kind = "digit" if set(names) <= set(DIGITS) else "class"
    longest = max(map(len, names))
    width, indent = max(5, len(str(counts.max())) + 1, longest + 1), max(5, longest)
    heads = "".join(f"{name:>{width}}" for name in names)
    lines = [f"rows: true {kind}, columns: predicted {kind}"]
    if len(names) > _MAX_MATRIX:
        width = max(7, width)
        heads = f"{'images':>{width}}"
        lines = [f"each true {kind}, and the {kind} that it was most often mistaken for"]
    lines.append(f"{'':{indent}} {heads}   wrong     rate")
    for label, row in enumerate(counts):
        count, wrong = int(row.sum()), int(row.sum() - row[label])
        cells = "".join(f"{value or '.':>{width}}" for value in row.tolist())
        rate = f"{100 * wrong / count:.2f} %" if count else "-"
        mistaken = ""
        if len(names) > _MAX_MATRIX:
            others = np.where(np.arange(len(names)) == label, 0, row)
            cells = f"{count:{width}}"
            mistaken = f"  {names[int(others.argmax())]}: {others.max()}" if wrong else ""
        lines.append(f"{names[label]:>{indent}} {cells}{wrong:8}{rate:>9}{mistaken}")
    return "\n".join(lines)
