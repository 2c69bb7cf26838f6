"""Counts the pictures that a network reads correctly, if their labels are known."""

from collections.abc import Sequence

import numpy as np

from ann.analysis.metrics import wilson_interval
from ann.analysis.reading import Reading
from ann.cli.test_result import describe_confusion


class PictureScore:
    """The number of right, wrong and unsure readings, and the confusion matrix of the digits.

    Args:
        names: the names of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._right = self._wrong = self._unsure = 0
        self._confusion = np.zeros((len(names), len(names)), dtype=np.int64)

    def add(self, expected: Sequence[str], reading: Reading) -> None:
        """Count a reading of a picture with these labels.

        The confusion matrix includes it only if the number of digits is right.
        """
        labels = [digit.label for digit in reading.digits]
        if reading.unsure:
            self._unsure += 1
        elif labels == list(expected):
            self._right += 1
        else:
            self._wrong += 1
        if len(labels) == len(expected):
            for row, column in zip(expected, labels, strict=True):
                self._confusion[self._names.index(row), self._names.index(column)] += 1

    def describe(self) -> str:
        """The accuracy and the confusion matrix as text, or "" without readings."""
        total = self._right + self._wrong + self._unsure
        if not total:
            return ""
        low, high = (100 - 100 * bound for bound in wilson_interval(total - self._right, total))
        accuracy = f"accuracy {100 * self._right / total:.2f} %"
        interval = f"(95 % interval {high:.2f} to {low:.2f} %)"
        counts = f"{self._right} of {total:,} pictures right, {self._wrong} wrong, {self._unsure}"
        matrix = describe_confusion(self._confusion, self._names)
        return f"{counts} not sure: {accuracy} {interval}\n\n{matrix}"
