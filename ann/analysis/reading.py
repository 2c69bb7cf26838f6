"""Reads the digits on a picture with a network: one digit, or numbers in several lines.

Needs Pillow for files, and SciPy to find digits: the extra ``picture``.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np

from ann.data.boxes import Rectangle, around_pixels
from ann.data.catalog import DIGIT_CHECK, DIGITS, class_names
from ann.data.handwriting import Page, digit_image, find_page, prepare_digit
from ann.data.ink import mask_of, without_frames
from ann.data.picture_file import read_with_size, reduced
from ann.data.segmentation import cuts, group_digits, is_compact, order_lines, parts_of_digits
from ann.neural_network import NeuralNetwork, load_model
from ann.nn.layer_list import input_shape
from ann.validation import check_type, host_array

_PIXELS = 110_000  # pictures are reduced to about this number
# A sure answer has at least this output, and the next one is at most this fraction of it, as on the
# web page
_MIN_OUTPUT, _MAX_NEXT = 0.5, 0.7
_STRANGE = 0.02  # if the digit check gives more than this, the answer is "not sure"
_MAX_PARTS = 300  # a picture with more is noise
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

    Digits that touch are cut apart, but such a reading is always "not sure".

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
        grey = reduced(picture, _PIXELS)
    else:
        grey, size = read_with_size(picture, _PIXELS)
    names = class_names(classes, network.output_dim)
    page = find_page(grey)
    height, width = page.labels.shape
    scale = size[0] / width, size[1] / height  # differ much if the shorter side is of few pixels
    reader = _Reader(network, names, side, page, scale)
    parts = parts_of_digits(without_frames(page.labels, page.parts))
    groups = group_digits(parts, page.labels) if len(parts) <= _MAX_PARTS else []
    masks = [[mask_of(group, page.labels) for group in line] for line in order_lines(groups)]
    doubt = _first(_doubt_of_shape([around_pixels(mask) for mask in line]) for line in masks)
    notes = page.notes
    if len(groups) < 2 or (doubt and is_compact(parts, page.labels)):
        prepared = prepare_digit(page, side)
        if prepared.problem:
            return Reading((), prepared.problem, prepared.notes, grey, size)
        masks, doubt, notes = [[prepared.mask]], "", prepared.notes
    lines = []
    for line in masks:
        read = [reader.read(mask) for mask in line]
        lines.append(tuple(digit for digits, _ in read for digit in digits))
        doubt = doubt or _first(found for _, found in read)
    return Reading(tuple(lines), doubt or _first(map(_doubt_of_answers, lines)), notes, grey, size)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the digits on a page with a network.

    Attributes:
        network: one for images (side, side).
        names: the names of its outputs.
        side: of its images, in pixels.
        page: the ink on the reduced picture.
        scale: the width and height of the picture, divided by those of the reduced picture.
    """

    network: NeuralNetwork
    names: Sequence[str]
    side: int
    page: Page
    scale: tuple[float, float]

    def read(self, mask: np.ndarray) -> tuple[Sequence[Digit], str]:
        """The digit in a mask (h, w), or two that touch; and why these may be wrong, or ""."""
        digit = self._answer(mask)
        can_check = self.side == image_side(_digit_check()) and set(self.names) <= set(DIGITS)
        if not can_check or _strangeness(digit) <= _STRANGE:
            return [digit], ""
        halves = ([self._answer(half) for half in pair] for pair in cuts(mask))
        best = max([digit], *halves, key=_plausibility)
        if len(best) == 1:
            return best, "because it does not look like one digit"
        return best, "because two digits may touch"  # often, several cuts give good digits

    def _answer(self, mask: np.ndarray) -> Digit:
        """The network's answer for the digit in a mask (h, w)."""
        image, _ = digit_image(self.page.ink.even, mask, self.side)
        (outputs,) = self.network.apply(image[None])
        first, second = (int(index) for index in np.argsort(-outputs, kind="stable")[:2])
        return Digit(
            self.names[first],
            float(outputs[first]),
            self.names[second],
            float(outputs[second]),
            around_pixels(mask).scaled(*self.scale),
            image,
        )


@cache
def _digit_check() -> NeuralNetwork:
    return load_model(DIGIT_CHECK)


def _strangeness(digit: Digit) -> float:
    """How likely it is, from 0 to 1, that this is not one digit, but two or something else."""
    return float(_digit_check().apply(digit.image[None])[0, 1])


def _plausibility(digits: Sequence[Digit]) -> float:
    """How certain the answers are, and how much each looks like one digit; at most 1."""
    return min(digit.lead for digit in digits) - max(map(_strangeness, digits))


def _doubt_of_shape(line: Sequence[Rectangle]) -> str:
    """Why the boxes of a line may not be boxes of single digits, or ""."""
    height = median(box.height for box in line)
    if any(box.width > _MAX_WIDTH * height for box in line):
        return "because two digits may touch"
    if any(not _MIN_HEIGHT * height < box.height < _MAX_HEIGHT * height for box in line):
        return "because its parts have different sizes"
    return ""


def _doubt_of_answers(line: Sequence[Digit]) -> str:
    """Why one of the labels of a line may be wrong, or ""."""
    if any(digit.confidence < _MIN_OUTPUT for digit in line):
        return "because it resembles no known class"
    if any(digit.next_confidence > _MAX_NEXT * digit.confidence for digit in line):
        return "because two answers are close"
    return ""


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty, or ""."""
    return next(filter(None, texts), "")
