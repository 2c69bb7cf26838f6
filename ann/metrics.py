"""How good a network is, in numbers that say how sure they are. Everything here is counted on the host, from
labels alone.
"""

from __future__ import annotations

import math

import numpy as np


def confusion_matrix(expected: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes): row, the label expected; column, the label predicted. Both arguments are (N,)."""
    pairs = np.asarray(expected, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


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
