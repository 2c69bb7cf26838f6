"""Pairs of files by name: ``mnist_train.csv`` and ``mnist_test.csv``, or ``train.parquet`` and
``test.parquet``.
"""

import os
from pathlib import Path

_WORDS = (("training", "testing"), ("train", "test"), ("Train", "Test"), ("TRAIN", "TEST"))


def pair_of(path: Path) -> tuple[Path, Path | None]:
    """The file with the training images, and the one with the test images or None.

    Args:
        path: either of them, or a file whose name has neither word.
    """
    for train, test in _WORDS:
        if train in path.name:
            return path, _partner(path, train, test)
        if test in path.name and (other := _partner(path, test, train)):
            return other, path
    return path, None


def _partner(path: Path, word: str, other: str) -> Path | None:
    """The file with the other word in its name, gzipped or not, if it exists."""
    name = other.join(path.name.rsplit(word, 1))
    plain = name.removesuffix(".gz")
    names = (name, plain, f"{plain}.gz")
    return next((path.with_name(one) for one in names if os.path.isfile(path.with_name(one))), None)
