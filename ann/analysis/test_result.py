"""The result of a test, and the comparison of two networks: as text and as plain values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ann.analysis import metrics
from ann.analysis.figures import figure_of_images
from ann.data.catalog import DIGITS
from ann.errors import printable_path
from ann.validation import check_labels

_PICTURED = 40  # errors in the picture
_MAX_MATRIX = 20  # classes: a larger matrix is too wide for a terminal
_LISTED = 20  # images on which two networks differ
_SIGNIFICANT = 0.05


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
        self.labels = check_labels("labels", labels, outputs.shape[1], len(outputs))
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


class Comparison:
    """The answers of two networks for the same images: is one better, or just luckier?

    Attributes:
        both, only_first, only_second: on how many images both networks are wrong, or just one.
        p: McNemar's probability of a difference this large between equally good networks.
        differ: the indices of the images that got different answers.
    """

    def __init__(
        self, labels: np.ndarray, first: np.ndarray, second: np.ndarray, names: Sequence[str]
    ) -> None:
        """``labels`` and the answers of the two networks are (N,); ``names`` are the classes'."""
        self._labels, self._first, self._second = labels, first, second
        self._names = names
        wrong, other_wrong = first != labels, second != labels
        self.both = int((wrong & other_wrong).sum())
        self.only_first = int((wrong & ~other_wrong).sum())
        self.only_second = int((other_wrong & ~wrong).sum())
        self.p = metrics.mcnemar(self.only_first, self.only_second)
        self.differ = np.flatnonzero(first != second)

    def fields(self) -> dict[str, Any]:
        """The comparison as plain values, for JSON."""
        return {
            "wrong_other": self.both + self.only_second,
            "both_wrong": self.both,
            "only_this_wrong": self.only_first,
            "only_other_wrong": self.only_second,
            "p": self.p,
            "differ": self.differ.tolist(),
        }

    def describe(self, first: Path, second: Path, *, every: bool) -> str:
        """A few lines, then one for each image with different answers, or for the first 20."""
        p = f"= {self.p:.2g}" if self.p else "< 1e-300"
        lines = [
            f"{printable_path(first)}: {self.both + self.only_first} wrong; "
            f"{printable_path(second)}: {self.both + self.only_second} wrong; "
            f"both wrong on {self.both}, only the first on {self.only_first}, "
            f"only the second on {self.only_second}",
            f"McNemar's exact test: p {p}, {self._judgement()}",
            self._differences(),
        ]
        listed = self.differ if every else self.differ[:_LISTED]
        for index in listed:
            answers = (self._labels[index], self._first[index], self._second[index])
            label, one, other = (self._names[answer] for answer in answers)
            lines.append(f"image {index:5}  expected {label}  first {one}  second {other}")
        left = len(self.differ) - len(listed)
        if left:
            lines.append(f"... and {left} more, which --verbose lists")
        return "\n".join(lines)

    def _judgement(self) -> str:
        if self.p > _SIGNIFICANT:
            return "so equally good networks would often differ as much: this may be luck"
        better = "first" if self.only_first < self.only_second else "second"
        return f"so the {better} is better: equally good networks would rarely differ as much"

    def _differences(self) -> str:
        if len(self.differ) == 0:
            return "they give the same answer for all images"
        both = len(self.differ) - self.only_first - self.only_second
        more = f", on {both} of which both are wrong" if both else ""
        images = f"{len(self.differ)} image{'s' * (len(self.differ) > 1)}"
        return f"they give different answers for {images}{more}:"
