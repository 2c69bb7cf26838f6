"""Reads the digits on a picture with a network: one digit, or numbers in several lines.

Needs Pillow for files, and SciPy to find digits: the extra ``picture``.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import median

import numpy as np

from ann.data.boxes import Rectangle, around_pixels
from ann.data.catalog import DIGIT_CHECK, DIGITS, class_names
from ann.data.handwriting import Page, digit_image, find_page, prepare_digit
from ann.data.ink import even_strength, mask_of, without_frames
from ann.data.picture_file import longer_side, read_with_size, reduced
from ann.data.segmentation import cuts, group_digits, is_compact, order_lines, parts_of_digits
from ann.neural_network import NeuralNetwork, load_model
from ann.nn.layer_list import input_shape
from ann.validation import check_type, host_array

_PIXELS = 110_000  # pictures are reduced to about this number
# A sure answer has at least this output, and the next one is at most this fraction of it, as on the
# web page
_MIN_OUTPUT, _MAX_NEXT = 0.5, 0.7
# If the digit check gives more than the first limit, this is not one digit, and it is cut in two. If
# it gives more than the second, the answer is not sure where a good cut exists.
_STRANGE, _SUSPECT = 0.05, 0.005
# Both halves of a good cut get at most this from the digit check, and their answers have a lead
_STRANGE_HALF, _LEAD_OF_HALF = 0.0025, 0.7
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
    reader = _Reader(network, names, side, page, size[0] / page.labels.shape[1])
    parts = parts_of_digits(without_frames(page.labels, page.parts))
    digits = group_digits(parts, page.labels) if len(parts) <= _MAX_PARTS else []
    several = order_lines(digits) if len(digits) > 1 else []
    lines = [[mask_of(digit, page.labels) for digit in line] for line in several]
    read, notes = [reader.read(line) for line in lines], page.notes
    may_be_one = _first(map(_doubt_of_shape, read)) and is_compact(parts, page.labels)
    if not lines or may_be_one:
        prepared = prepare_digit(page, side)
        if prepared.problem:
            return Reading((), prepared.problem, prepared.notes, grey, size)
        lines = [[mask_of(parts, page.labels)]]
        read, notes = [reader.answers(lines[0], [prepared.image])], prepared.notes
    read, doubt = reader.checked(read, lines)
    if sum(map(len, read)) > 1:
        doubt = doubt or _first(map(_doubt_of_shape, read))
    return Reading(tuple(read), doubt or _first(map(_doubt_of_answers, read)), notes, grey, size)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the digits on a page with a network.

    Attributes:
        network: one for images (side, side).
        names: the names of its outputs.
        side: of its images, in pixels.
        page: the ink on the reduced picture.
        scale: the size of the picture, divided by that of the reduced picture.
    """

    network: NeuralNetwork
    names: Sequence[str]
    side: int
    page: Page
    scale: float

    @cached_property
    def _strength(self) -> np.ndarray:
        return even_strength(self.page.ink)

    def read(self, line: Sequence[np.ndarray]) -> tuple[Digit, ...]:
        """The network's answers for the digits of a line, given as masks (h, w) of the page."""
        return self.answers(line, [self._image_of(mask) for mask in line])

    def _image_of(self, mask: np.ndarray) -> np.ndarray:
        """The image (side, side) of a digit."""
        box = around_pixels(mask)
        rows = slice(max(0, box.top - _MARGIN), box.bottom + _MARGIN)
        columns = slice(max(0, box.left - _MARGIN), box.right + _MARGIN)
        return digit_image(self._strength[rows, columns], mask[rows, columns], self.side)[0]

    def answers(
        self, line: Sequence[np.ndarray], images: Sequence[np.ndarray]
    ) -> tuple[Digit, ...]:
        """The network's answers, for the mask and the image of each digit of a line."""
        digits = []
        outputs = self.network.apply(np.stack(images))
        for mask, image, values in zip(line, images, outputs, strict=True):
            first, second = (int(index) for index in np.argsort(-values, kind="stable")[:2])
            most, next_most = float(values[first]), float(values[second])
            box = around_pixels(mask).scaled(self.scale)
            label, next_label = self.names[first], self.names[second]
            digits.append(Digit(label, most, next_label, next_most, box, image))
        return tuple(digits)

    def checked(
        self, read: Sequence[tuple[Digit, ...]], lines: Sequence[Sequence[np.ndarray]]
    ) -> tuple[list[tuple[Digit, ...]], str]:
        """The lines, with digits that touch read as two; and why one may not be a digit, or ""."""
        if self.side != image_side(_digit_check()) or not set(self.names) <= set(DIGITS):
            return list(read), ""
        checked, doubt = [], ""
        for line, masks in zip(read, lines, strict=True):
            digits: list[Digit] = []
            for digit, mask, strangeness in zip(line, masks, _strangeness(line), strict=True):
                is_strange = strangeness > _STRANGE
                halves = self._cut(mask) if strangeness > _SUSPECT else ()
                if is_strange != bool(halves):  # no good cut, or a good cut of what may be one
                    doubt = "because it does not look like one digit"
                digits += halves if is_strange and halves else [digit]
            checked.append(tuple(digits))
        return checked, doubt

    def _cut(self, mask: np.ndarray) -> tuple[Digit, ...]:
        """The two digits that touch, if all good cuts give the same answers; or nothing."""
        answers = {}
        for halves in cuts(mask):
            two = self.read(halves)
            is_sure = min(half.lead for half in two) >= _LEAD_OF_HALF
            if is_sure and max(_strangeness(two)) <= _STRANGE_HALF:
                answers[two[0].label, two[1].label] = two
        return answers.popitem()[1] if len(answers) == 1 else ()


@cache
def _digit_check() -> NeuralNetwork:
    return load_model(DIGIT_CHECK)


def _strangeness(digits: Sequence[Digit]) -> list[float]:
    """How unlikely each is one digit, and not two that touch or something else; from 0 to 1."""
    outputs = _digit_check().apply(np.stack([digit.image for digit in digits]))
    return [float(output) for output in outputs[:, 1]]


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
    if any(digit.confidence < _MIN_OUTPUT for digit in line):
        return "because it resembles no known class"
    if any(digit.next_confidence > _MAX_NEXT * digit.confidence for digit in line):
        return "because two answers are close"
    return ""


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty, or ""."""
    return next(filter(None, texts), "")
