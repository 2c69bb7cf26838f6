"""How good a network is, in numbers that say how sure they are. Everything here is counted on the host, from
labels alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POOR = 0.75  # a network with more than this share of the mistakes of a constant answer has learnt next to nothing


def confusion_matrix(expected: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes): row, the label expected; column, the label predicted. Both arguments are (N,)."""
    pairs = np.asarray(expected, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def surest_mistakes(expected: np.ndarray, outputs: np.ndarray, most: int) -> np.ndarray:
    """The places of up to ``most`` images whose label (N,) is not that of the largest output (N, C), by that output."""
    predicted = outputs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != expected)
    found: np.ndarray = wrong[np.argsort(-outputs[wrong, predicted[wrong]], kind="stable")][:most]
    return found


def wilson_interval(wrong: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval in which the true error rate lies, at 95 % for the default z.

    Wilson (1927), Probable inference, the law of succession, and statistical inference. Unlike the textbook's
    p +- z sqrt(p q / n) it stays within [0, 1] and is right for few errors.
    """
    rate, square = wrong / total, z * z / total
    centre = rate + square / 2.0
    half = math.sqrt(rate * (1.0 - rate) * square + square * square / 4.0)
    low, high = (centre - half) / (1.0 + square), (centre + half) / (1.0 + square)
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))  # rounding must not put the rate outside


def learnt_nothing(wrong: int, labels: np.ndarray) -> str:
    """A warning if a network does little better than giving the same answer for every image, otherwise "".

    Args:
        wrong: how many images it misclassified.
        labels: (N,) the labels of all images.
    """
    count, constant = len(labels), len(labels) - int(np.bincount(labels).max())
    if wrong <= POOR * constant:
        return ""
    return (
        f"this network has learnt next to nothing: it gets {wrong:,} of {count:,} images wrong; always giving "
        f"the same answer would get {constant:,} wrong"
    )


# the 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Spread:
    """What some values, such as the mistakes of several seeds, say about all that might have been.

    Attributes:
        mean: of the values.
        deviation: the standard deviation that they give an estimate of, with n - 1.
        low, high: the interval in which the mean of all lies, at 95 %: Student (1908).
    """

    mean: float
    deviation: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"mean {self.mean:.1f}, deviation {self.deviation:.1f}, "
            f"95 % interval of the mean {self.low:.1f} to {self.high:.1f}"
        )


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least two values. Raises ValueError for fewer."""
    count = len(values)
    if count < 2:
        raise ValueError("values: expected at least two")
    mean = sum(values) / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    quantile = _STUDENT[count - 2] if count - 2 < len(_STUDENT) else 2.0
    half = quantile * deviation / math.sqrt(count)
    return Spread(mean, deviation, mean - half, mean + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """The probability that two equally good networks differ at least so much in what just one of them gets wrong.

    Each image on which just one is wrong is then a toss of a coin: McNemar (1947), in the exact form, two-sided. Images
    on which both are right, or both wrong, say nothing.

    Args:
        only_first: how many images the first network alone got wrong.
        only_second: the same of the second.
    """
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    tail = ways = 1  # how many rows of tosses have so many heads, from none on; whole numbers, however large
    for count in range(1, fewer + 1):
        ways = ways * (tosses - count + 1) // count
        tail += ways
    # Twice one tail counts the middle twice if both have the same number
    return min(1.0, float(2 * tail / 2**tosses))
