"""Pairs of files by name: ``mnist_train.csv`` and ``mnist_test.csv``, or ``train.parquet`` and
``test.parquet``.
"""

import os
from pathlib import Path

_WORDS = (("training", "testing"), ("train", "test"), ("Train", "Test"), ("TRAIN", "TEST"))


def pair_of(path: Path) -> tuple[Path, Path | None]:
    """The file with the training images and, if there is one, that with the test images.

    Args:
        path: either of them, or a file whose name does not say which.
    """
    for train, test in _WORDS:
        if train in path.name:
            return path, _there(path, train, test)
        if test in path.name and (other := _there(path, test, train)):
            return other, path
    return path, None


def _there(path: Path, word: str, other: str) -> Path | None:
    """The file with the other word in its name, gzipped or not, if it exists."""
    name = other.join(path.name.rsplit(word, 1))
    plain = name.removesuffix(".gz")
    names = (name, plain, f"{plain}.gz")
    return next((path.with_name(one) for one in names if os.path.isfile(path.with_name(one))), None)
