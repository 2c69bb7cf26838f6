"""Checks the contents of a data file in any format, and converts them to the arrays of a data set:
pixels as uint8, a label for each image, and the names of the classes.
"""

import hashlib
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ann.data.catalog import SOURCES
from ann.data.reading import errors_about
from ann.errors import DataFileError

# Called with the name of a file, the amount read, the amount in all, and the unit, such as "B"
Progress = Callable[[str, int, int, str], object]

MAX_CLASSES = 256
_TEST = 7  # without test images, every seventh image becomes one: the same share as in MNIST
# SHA-256 of Fashion-MNIST's test labels
FASHION_LABELS = "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9"


class Part(NamedTuple):
    """The training or test images of a data set, as a file has them.

    Attributes:
        source: the name of the file, for messages.
        images: (N, h, w), (N, h, w, 1), or (N, h h) for square images: whole numbers from 0 to 255,
            or multiples of 1/255 or 1/256 from 0 to 1.
        labels: (N,) or (N, 1) whole numbers.
    """

    source: str
    images: np.ndarray
    labels: np.ndarray


class Contents(NamedTuple):
    """What a file or folder holds.

    Attributes:
        train: the training images.
        test: the test images, or None.
        classes: the names of the classes, or None if there are only numbers.
        no_test: why there are no test images, for the warning.
    """

    train: Part
    test: Part | None = None
    classes: tuple[str, ...] | None = None
    no_test: str = "it has no test images"


def check_contents(source: str, contents: Contents) -> tuple[Any, ...]:
    """The fields of a ``Dataset``, checked. Without test images, every seventh image becomes one.

    Raises:
        DataFileError: the contents are wrong; the message begins with the name of the file.
    """
    classes = contents.classes
    train = _check_part(contents.train, len(classes) if classes else MAX_CLASSES)
    classes = classes or tuple(map(str, range(1 + int(train.labels.max()))))
    if contents.test:
        test = _check_part(contents.test, len(classes))
    else:
        train, test = _split(train, contents.no_test)
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = f"{size_text(train.images)} pixels, test images {size_text(test.images)}"
        raise DataFileError(f"{source}: training images have {sizes}")
    if hashlib.sha256(test.labels.tobytes()).hexdigest() == FASHION_LABELS:
        classes = SOURCES["fashion-mnist"].classes
    arrays = (train.images, train.labels, test.images, test.labels)
    for array in arrays:
        array.flags.writeable = False
    return *arrays, classes


def _check_part(part: Part, limit: int) -> Part:
    with errors_about(part.source):
        images, labels = pixels(part.images), _labels(part.labels, min(limit, MAX_CLASSES))
        if len(images) != len(labels):
            raise ValueError(f"{len(labels)} labels for {len(images)} images")
    return Part(part.source, images, labels)


def pixels(images: np.ndarray) -> np.ndarray:
    """Images as (N, h, w) uint8, without a copy if they are uint8 already."""
    shape = images.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        if side * side != shape[1]:
            raise ValueError(f"images of {shape[1]} pixels, which is not a square number")
        shape = (shape[0], side, side)
    if len(shape) != 3 or not all(shape):
        raise ValueError(f"images of shape {images.shape}, expected (images, height, width)")
    if images.dtype != np.uint8:
        images = _as_bytes(images)
    return np.ascontiguousarray(images).reshape(shape)


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """Pixels as uint8. Raises ValueError unless they are as ``Part`` describes them."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):  # also if they are NaN
        bad = high if low >= 0 else low
        raise ValueError(f"pixels: expected numbers from 0 to 255, got {bad}")
    scales = (255.0, 256.0) if values.dtype.kind == "f" and high <= 1 else (1.0,)
    rows = max(1, 2**22 // math.prod(values.shape[1:]))  # converted at a time, to save memory
    for scale in scales:
        found = np.empty(values.shape, dtype=np.uint8)
        for start in range(0, len(values), rows):
            scaled = values[start : start + rows] * scale
            whole = np.rint(scaled)
            if whole.max() > 255 or np.abs(scaled - whole).max() > 0.01:
                break
            found[start : start + rows] = whole
        else:
            return found
    raise ValueError(
        "pixels: expected whole numbers from 0 to 255, or these divided by 255; from Python, "
        "ann.Dataset takes any numbers"
    )


def _labels(labels: np.ndarray, limit: int) -> np.ndarray:
    """Labels as (N,) uint8. Raises ValueError unless they are whole numbers from 0 to limit - 1."""
    if labels.shape != (len(labels),) and labels.shape != (len(labels), 1):
        raise ValueError(f"labels of shape {labels.shape}, expected one number for each image")
    if labels.dtype.kind not in "uif":
        raise ValueError(f"labels: expected whole numbers, got {labels.dtype}")
    labels = labels.reshape(-1)
    good = (labels >= 0) & (labels < limit)  # False for NaN, too
    good &= labels == np.where(good, labels, 0).astype(np.uint8)
    if not good.all():
        wrong = int(np.flatnonzero(~good)[0])
        expected = f"expected whole numbers from 0 to {limit - 1}"
        raise ValueError(f"labels: {expected}, got {labels[wrong]} at index {wrong}")
    return labels.astype(np.uint8)


def _split(part: Part, why: str) -> tuple[Part, Part]:
    """Training and test images from training images alone, with a warning."""
    count = len(part.images)
    if count < _TEST:
        raise DataFileError(f"{part.source}: {why}, and too few images ({count}) to split")
    warnings.warn(
        f"{part.source}: {why}: every seventh of the {count:,} images becomes a test image, and is "
        "not trained on",
        RuntimeWarning,
        stacklevel=4,
    )
    test = np.arange(count) % _TEST == _TEST - 1
    train, tested = (Part(part.source, part.images[of], part.labels[of]) for of in (~test, test))
    return train, tested


def size_text(images: np.ndarray) -> str:
    """The height and width of images (..., h, w), such as "28 x 28"."""
    return f"{images.shape[-2]} x {images.shape[-1]}"
