"""The file ``mnist.pkl.gz`` of Nielsen's book and of other courses: a pickle of three pairs. These
are training, validation and test images (N, 784), from 0 to 1, each with their labels (N,). The
pickle is parsed, not executed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ann.data.contents import Contents, Part, pixels
from ann.data.reading import unpacked
from ann.errors import printable_path
from ann.files.pickle.reader import read_pickle

_MAX_BYTES = 2**28  # unpacked; Nielsen's file has 0.22 GB


def read_mnist_pickle(path: Path, progress: object = None) -> Contents:
    """All images; the validation images become the last training images, as in MNIST."""
    pairs = read_pickle(b"".join(unpacked(path, _MAX_BYTES)))
    if not (_is_list(pairs, 3) and all(_is_pair(pair) for pair in pairs)):
        wanted = "images and labels, for training, validation and testing"
        raise ValueError(f"expected a pickle of three pairs of {wanted}")
    train, validation = (pixels(images) for images, labels in pairs[:2])
    if train.shape[1:] != validation.shape[1:]:
        counts = f"{train[0].size} pixels, the validation images {validation[0].size}"
        raise ValueError(f"the training images have {counts}")
    images = np.concatenate([train, validation])
    labels = np.concatenate([pair[1] for pair in pairs[:2]])
    name = printable_path(path)
    return Contents(Part(name, images, labels), Part(name, *pairs[2]))


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == length


def _is_pair(value: Any) -> bool:
    """Whether a value is a pair of arrays with the same length."""
    are_arrays = _is_list(value, 2) and all(isinstance(one, np.ndarray) for one in value)
    return are_arrays and len(value[0]) == len(value[1])
