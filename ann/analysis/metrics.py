"""How good a network is, and how certain that is, computed on the host."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_POOR = 0.75  # poor: more than this fraction of the errors of a constant answer


def confusion_matrix(expected: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Labels (N,), predictions (N,) -> counts (classes, classes): rows are labels."""
    pairs = np.asarray(expected, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def most_confident_mistakes(expected: np.ndarray, outputs: np.ndarray, most: int) -> np.ndarray:
    """Labels (N,), outputs (N, C) -> the indices of up to ``most`` misclassified images: those with
    the largest outputs, largest first.
    """
    predicted = outputs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != expected)
    order = np.argsort(-outputs[wrong, predicted[wrong]], kind="stable")
    return wrong[order][:most]


def wilson_interval(wrong: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """A confidence interval of the true error rate, of 95 % for the default z.

    Wilson (1927), Probable inference, the law of succession, and statistical inference. Unlike
    p +- z sqrt(p q / n) it stays within [0, 1] and is right for few errors.
    """
    rate, square = wrong / total, z * z / total
    centre = rate + square / 2.0
    half = math.sqrt(rate * (1.0 - rate) * square + square * square / 4.0)
    low, high = (centre - half) / (1.0 + square), (centre + half) / (1.0 + square)
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))  # despite rounding


def learnt_nothing(wrong: int, labels: np.ndarray) -> str:
    """A warning if a network is hardly better than always giving the same answer, otherwise "".

    ``labels`` are those of all images (N,), of which ``wrong`` were misclassified.
    """
    count, constant = len(labels), len(labels) - int(np.bincount(labels).max())
    if wrong <= _POOR * constant:
        return ""
    return (
        f"this network has learnt next to nothing: it gets {wrong:,} of {count:,} images wrong; "
        f"always giving the same answer would get {constant:,} wrong"
    )


# the 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class SeedStatistics:
    """Statistics of a sample, such as the errors with several seeds.

    Attributes:
        mean: of the sample.
        deviation: the standard deviation, estimated with n - 1.
        low, high: a 95 % confidence interval of the mean: Student (1908).
    """

    mean: float
    deviation: float
    low: float
    high: float

    def __str__(self) -> str:
        low = max(0.0, self.low)  # errors cannot be negative
        return (
            f"mean {self.mean:.1f}, standard deviation {self.deviation:.1f}, "
            f"95 % interval of the mean {low:.1f} to {self.high:.1f}"
        )


def summarize(values: Sequence[float]) -> SeedStatistics:
    """Statistics of at least two values. Raises ValueError for fewer."""
    count = len(values)
    if count < 2:
        raise ValueError("values: expected at least two")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    quantile = _STUDENT[count - 2] if count - 2 < len(_STUDENT) else 2.0
    half = quantile * deviation / math.sqrt(count)
    return SeedStatistics(mean, deviation, mean - half, mean + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's test (1947), exact and two-sided: the probability that two equally good networks
    differ at least this much. The arguments count the images that only one of them got wrong.

    Each of these images is then a coin toss. Other images do not count.
    """
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    tail = ways = 1  # the number of outcomes with 0, 1, ... heads, exactly
    for count in range(1, fewer + 1):
        ways = ways * (tosses - count + 1) // count
        tail += ways
    # Twice one tail counts the middle twice if both have the same number
    return min(1.0, float(2 * tail / 2**tosses))
