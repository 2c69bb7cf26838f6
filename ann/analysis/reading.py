"""Reads the digits on a picture with a network: one digit, or numbers in several lines.

Needs Pillow for files, and SciPy to find digits: the extra ``picture``.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from ann.data.boxes import Rectangle
from ann.data.catalog import DIGITS, class_names
from ann.data.handwriting import digit_image, find_page, prepare_digit
from ann.data.ink import Part, box_around, even_strength, without_frames
from ann.data.picture_file import longer_side, read_with_size, reduced
from ann.data.segmentation import group_digits, is_compact, order_lines, parts_of_digits
from ann.neural_network import NeuralNetwork
from ann.nn.layer_list import input_shape
from ann.validation import check_type, host_array

_PIXELS = 110_000  # pictures are reduced to about this number
# A sure answer has at least this output, and this lead over the next one, as on the web page
_MIN_OUTPUT, _MIN_LEAD = 0.5, 0.3
# The lead that is enough even for a wide digit: as a fraction of its output, and as a difference
_WIDE_RATIO, _WIDE_LEAD = 0.97, 0.7
# Width / height: few digits are wider than the first, and none are wider than the second
_WIDE, _TOO_WIDE = 0.75, 1.5
_TYPICAL = 1.25  # a digit up to this wide, compared with the median of its line, is not wide
_MAX_PARTS = 300  # a picture with more is noise
_MARGIN = 6  # pixels around a digit that belong to its blurred edge
# Limits for the digits of a line, in multiples of their median height
_MAX_WIDTH = 1.2
_MIN_HEIGHT, _MAX_HEIGHT = 0.45, 1.9


@dataclass(frozen=True, eq=False)
class Digit:
    """A network's answer for one digit on a picture.

    Attributes:
        label: the name of the class with the largest output.
        confidence: that output.
        next_label, next_confidence: the same for the next largest output.
        box: the bounding box of the digit, in pixels of the picture.
        image: (side, side), uint8, the network's input.
    """

    label: str
    confidence: float
    next_label: str
    next_confidence: float
    box: Rectangle
    image: np.ndarray

    @property
    def lead(self) -> float:
        """The difference between the largest output and the next."""
        return self.confidence - self.next_confidence


@dataclass(frozen=True, eq=False)
class Reading:
    """The digits that a network read on a picture.

    Attributes:
        lines: the digits of each line, in reading order.
        unsure: why the answer may be wrong, or "".
        notes: what was found and corrected, such as "dark on light".
        grey: (h, w), uint8, the reduced picture.
        size: the width and height of the picture before it was reduced.
    """

    lines: tuple[tuple[Digit, ...], ...]
    unsure: str
    notes: tuple[str, ...]
    grey: np.ndarray
    size: tuple[int, int]

    @property
    def digits(self) -> tuple[Digit, ...]:
        """All digits, in reading order."""
        return tuple(digit for line in self.lines for digit in line)

    @property
    def text(self) -> str:
        """The labels in reading order, with a newline between lines."""
        between = " " if any(len(digit.label) > 1 for digit in self.digits) else ""
        return "\n".join(between.join(digit.label for digit in line) for line in self.lines)

    @property
    def least_certain(self) -> Digit | None:
        """The digit with the smallest lead; None if there are no digits."""
        return min(self.digits, key=lambda digit: digit.lead, default=None)


def image_side(network: NeuralNetwork) -> int:
    """The side of the square images that a network classifies; 0 for other networks."""
    side = math.isqrt(network.input_dim)
    is_square = input_shape(network.layer_list) in ((side * side,), (1, side, side))
    return side if is_square and network.output_dim >= 2 else 0


def read_digits(
    picture: str | os.PathLike[str] | np.ndarray,
    network: NeuralNetwork,
    classes: Sequence[str] = DIGITS,
) -> Reading:
    """Read one digit, or numbers in several lines.

    Args:
        picture: the path of a picture file, or grey values (h, w), uint8.
        network: one for square images of digits, white on black.
        classes: the names of its outputs.

    Raises:
        DataFileError: the file is missing, damaged, too large or not a picture.
        ImportError: Pillow or SciPy is not installed.
        ValueError: the network does not classify square images, or the array has another form.
    """
    check_type("network", network, NeuralNetwork)
    side = image_side(network)
    if not side:
        raise ValueError("network: expected one that classifies square images")
    if not isinstance(picture, (str, os.PathLike)):
        picture = host_array("picture", picture)
        if picture.ndim != 2 or not picture.size or picture.dtype != np.uint8:
            found = f"{picture.dtype} of shape {picture.shape}"
            raise ValueError(
                f"picture: expected grey values (h, w), uint8 from 0 to 255, got {found}"
            )
        size = picture.shape[1], picture.shape[0]
        grey = reduced(picture, longer_side(size, _PIXELS))
    else:
        grey, size = read_with_size(picture, _PIXELS)
    names = class_names(classes, network.output_dim)
    page = find_page(grey)
    scale = size[0] / page.labels.shape[1]
    parts = parts_of_digits(without_frames(page.labels, page.parts))
    digits = group_digits(parts, page.labels) if len(parts) <= _MAX_PARTS else []
    if len(digits) > 1:
        lines, strength = order_lines(digits), even_strength(page.ink)
        images = [_image_of(digit, page.labels, strength, side) for line in lines for digit in line]
        read = _answers(network, names, lines, images, scale)
        doubt = _first(map(_doubt_of_shape, read))
        if not (doubt and is_compact(parts, page.labels)):
            doubt = doubt or _first(map(_doubt_of_answers, read))
            return Reading(read, doubt, page.notes, grey, size)
    prepared = prepare_digit(page, side)
    if prepared.problem:
        return Reading((), prepared.problem, prepared.notes, grey, size)
    read = _answers(network, names, [[parts]], [prepared.image], scale)
    return Reading(read, _first(map(_doubt_of_answers, read)), prepared.notes, grey, size)


def _image_of(
    digit: Sequence[Part], labels: np.ndarray, strength: np.ndarray, side: int
) -> np.ndarray:
    """The image (side, side) of a digit that consists of these parts."""
    box = box_around(digit)
    rows = slice(max(0, box.top - _MARGIN), box.bottom + _MARGIN)
    columns = slice(max(0, box.left - _MARGIN), box.right + _MARGIN)
    mask = np.isin(labels[rows, columns], [part.label for part in digit])
    return digit_image(strength[rows, columns], mask, side)[0]


def _answers(
    network: NeuralNetwork,
    names: Sequence[str],
    lines: Sequence[Sequence[Sequence[Part]]],
    images: Sequence[np.ndarray],
    scale: float,
) -> tuple[tuple[Digit, ...], ...]:
    """The network's answers, for the parts and the image of each digit in each line.

    ``scale``: the size of a picture, divided by that of the reduced picture with the parts.
    """
    outputs = iter(zip(network.apply(np.stack(images)), images, strict=True))
    read = []
    for line in lines:
        digits = []
        for parts in line:
            values, image = next(outputs)
            first, second = (int(index) for index in np.argsort(-values, kind="stable")[:2])
            most, next_most = float(values[first]), float(values[second])
            box = box_around(parts).scaled(scale)
            digits.append(Digit(names[first], most, names[second], next_most, box, image))
        read.append(tuple(digits))
    return tuple(read)


def _doubt_of_shape(line: Sequence[Digit]) -> str:
    """Why the boxes of a line may not be boxes of single digits, or ""."""
    height = median(digit.box.height for digit in line)
    if any(digit.box.width > _MAX_WIDTH * height for digit in line):
        return "because two digits may touch"
    if any(not _MIN_HEIGHT * height < digit.box.height < _MAX_HEIGHT * height for digit in line):
        return "because its parts have different sizes"
    return ""


def _doubt_of_answers(line: Sequence[Digit]) -> str:
    """Why one of the labels of a line may be wrong, or ""."""
    typical = median(digit.box.width for digit in line) if len(line) > 2 else 0.0
    for digit in line:
        lead = digit.confidence - digit.next_confidence
        if digit.confidence < _MIN_OUTPUT:
            return "because it resembles no known class"
        if lead < _MIN_LEAD:
            return "because two answers are close"
        # A wide digit may be two that touch, so it needs a greater lead, unless all are as wide.
        # With label smoothing, outputs are far from 1; so the lead may be a fraction of the output
        wide = digit.box.width / digit.box.height
        needed = min(_MIN_LEAD + 3.0 * (wide - _WIDE), _WIDE_RATIO)
        is_sure = lead >= min(needed, _WIDE_LEAD) and lead >= needed * digit.confidence
        if digit.box.width > _TYPICAL * typical and (wide > _TOO_WIDE or not is_sure):
            return "because it is wide: two digits may touch"
    return ""


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty, or ""."""
    return next(filter(None, texts), "")
