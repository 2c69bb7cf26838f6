"""Converts a picture of a digit into an image like those of MNIST: white on black, cropped, with
strokes of the usual width, and with the centre of mass where MNIST has it.

Needs SciPy: the extra ``picture``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ann.data.boxes import around_pixels, gap
from ann.data.ink import (
    MIN_AREA,
    Ink,
    Part,
    box_around,
    find_ink,
    find_parts,
    ink_mask,
    mask_of,
    ndimage,
    stroke_width,
    without_frames,
    without_rules,
)

_MAX_PARTS = 40  # of a digit with broken strokes
_MAX_EDGE = 0.5  # a digit covers at most this fraction of each edge of the picture
_BOX, _STROKE = 20 / 28, 2.3 / 28  # size and stroke width of MNIST's digits, in sides of the image
_MAX_DISC = 41  # pixels: strokes are widened or narrowed by at most this
_MARGIN = 6  # pixels around a digit that belong to its blurred edge
_BLUR = 0.6  # standard deviation of the blur that avoids aliasing, in pixels of the image


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image made from a picture.

    Attributes:
        mask: (h, w), bool, the pixels of the digit on the page.
        image: (side, side), uint8, white on black.
        notes: what was found and corrected, such as "dark on light" and "thin".
        problem: why no digit was found, or "".
    """

    mask: np.ndarray
    image: np.ndarray
    notes: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Page:
    """The ink on a picture.

    Attributes:
        ink: how much ink each pixel has.
        labels: (h, w), int32, the part that each pixel belongs to; 0 is paper.
        parts: the connected parts of the ink, without the lines of ruled paper.
        notes: what was found, such as "dark on light".
    """

    ink: Ink
    labels: np.ndarray
    parts: list[Part]
    notes: tuple[str, ...]


def find_page(picture: np.ndarray) -> Page:
    """Find the ink on a picture, grey values (h, w), uint8, and its parts.

    A tiny picture is enlarged.
    """
    picture = _enlarged(picture)
    ink = find_ink(picture)
    if ink.is_blank:
        return Page(ink, np.zeros(picture.shape, dtype=np.int32), [], ink.notes)
    inked = ink_mask(ink)
    mask = without_rules(inked)
    notes = (*ink.notes, "ruled paper") if (mask != inked).any() else ink.notes
    labels, parts = find_parts(mask, ink)
    return Page(ink, labels, parts, notes)


def prepare_digit(page: Page, side: int) -> Prepared:
    """Find the only digit on a page, and convert it to an image (side, side)."""
    ink, labels, parts, notes = page.ink, page.labels, page.parts, list(page.notes)

    def failed(problem: str) -> Prepared:
        image = np.zeros((side, side), dtype=np.uint8)
        return Prepared(np.zeros_like(labels, dtype=bool), image, tuple(notes), problem)

    if ink.is_blank:
        return failed("it is blank: nothing differs from the paper")
    digit = _parts_of_digit(labels, without_frames(labels, parts))
    mask = mask_of(digit, labels)
    inner = sum(part.ink for part in parts if not part.touches_edge)
    if sum(part.ink for part in digit) <= 0.2 * inner or not digit:
        return failed("there are only specks or lines on it")
    if max(edge.mean() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) > _MAX_EDGE:
        return failed("something other than a digit covers its edge: crop that")
    if mask.mean() > 0.6:
        return failed("most of it is ink, so no digit can be found")
    box, (height, width) = around_pixels(mask), labels.shape
    if box.length < 6:
        return failed("the digit is too small")
    if box.length < 0.4 * max(height, width):
        notes.append("small")
    centre = (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height
    if any(abs(place - 0.5) > 0.12 for place in centre):
        notes.append("off centre")
    image, corrections = digit_image(ink.even, mask, side)
    return Prepared(mask, image, (*notes, *corrections))


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """A picture (h, w), uint8; a tiny one is enlarged, so that strokes are several pixels wide."""
    times = 128 // max(picture.shape)
    if times < 2:
        return picture
    return np.asarray(ndimage.zoom(picture, times, order=1, grid_mode=True, mode="nearest"))


def _parts_of_digit(labels: np.ndarray, parts: Sequence[Part]) -> list[Part]:
    """The parts that belong to the one digit of a picture.

    The main part is the one with most ink that does not touch an edge, if there is one: shadows,
    edges of the paper and parts of other digits touch an edge. Parts near the main part belong to
    the digit, and so do large parts anywhere. A line under the digit does not.
    The list is empty if there is no digit.
    """
    parts = [part for part in parts if part.area >= MIN_AREA]
    if not parts:
        return []
    main = _main_part(labels, parts)
    width = stroke_width(np.pad(labels[main.box.slices] == main.label, 1))
    digit, box = [main], main.box
    others = [part for part in parts if part is not main]

    def is_piece(part: Part) -> bool:
        if part.area < 0.3 * width**2:  # a speck, smaller than the tip of the pen
            return False
        reach = width if part.touches_edge else max(2.5 * width, 0.15 * main.box.length)
        return gap(part.box, box) <= reach and part.box.length < 0.9 * max(labels.shape)

    while len(digit) <= _MAX_PARTS and (near := [part for part in others if is_piece(part)]):
        digit += near
        others = [part for part in others if part not in near]
        box = box_around(digit)
    digit += [
        part
        for part in others
        if part.area >= 0.08 * main.area and (main.touches_edge or not part.touches_edge)
    ]
    if len(digit) > _MAX_PARTS:
        return []
    return [part for part in digit if not _is_underline(part, digit, width)]


def _main_part(labels: np.ndarray, parts: Sequence[Part]) -> Part:
    """The part with most ink, if possible one that does not touch an edge of the picture."""
    most = max(part.ink for part in parts)
    inner = [
        part
        for part in parts
        if not part.touches_edge
        and part.box.length >= 0.08 * max(labels.shape)
        and part.ink >= 0.15 * most
    ]
    return max(inner or parts, key=lambda part: part.ink)


def _is_underline(part: Part, digit: Sequence[Part], width: float) -> bool:
    """Whether a part is a flat line below all others, with a gap, or longer than they are wide."""
    others = [other for other in digit if other is not part]
    if not others:
        return False
    line, above = part.box, box_around(others)
    if line.width < max(4 * line.height, 0.5 * above.width):
        return False
    is_longer = line.left < above.left and line.right > above.right
    below = line.top - above.bottom
    return below >= width or (below >= 0 and is_longer)


def digit_image(
    strength: np.ndarray, mask: np.ndarray, side: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert one digit to an image like those of MNIST.

    ``strength`` (h, w) is the ink of a picture, from 0 to 1, and ``mask`` (h, w) marks the digit.

    Returns:
        The image (side, side), uint8, white on black; and the corrections, such as "thin".
    """
    box = around_pixels(mask)
    rows = slice(max(0, box.top - _MARGIN), box.bottom + _MARGIN)
    columns = slice(max(0, box.left - _MARGIN), box.right + _MARGIN)
    strength, mask = strength[rows, columns], mask[rows, columns]
    near = ndimage.binary_dilation(mask, iterations=2)
    soft = np.clip(strength / 0.8, 0.0, 1.0) * near
    soft, corrections = _with_usual_strokes(soft, mask)
    return _centred(soft, side), corrections


def _with_usual_strokes(soft: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The digit with strokes about as wide as MNIST's, and the corrections."""
    width = stroke_width(mask)
    usual = _STROKE / _BOX * around_pixels(mask).length
    if width < 0.7 * usual:
        size = min(_MAX_DISC, round(usual - width) // 2 * 2 + 1)
        return ndimage.grey_dilation(np.pad(soft, size), footprint=_disc(size)), ("thin",)
    if width > 1.8 * usual:
        size = min(_MAX_DISC, round((width - 1.6 * usual) / 2) * 2 + 1)
        return ndimage.grey_erosion(soft, footprint=_disc(size)), ("thick",)
    return soft, ()


def _disc(size: int) -> np.ndarray:
    """A disc with an odd diameter, as a mask (size, size)."""
    offsets = np.arange(size) - size // 2
    return np.asarray(np.hypot(offsets[:, None], offsets) <= size / 2)


def _centred(soft: np.ndarray, side: int) -> np.ndarray:
    """The digit with a longer side of 20/28 and its centre of mass where MNIST has it.

    That is index 14 of 0 to 27, half a pixel right of the middle and below it.
    """
    inked = soft > 0.3
    if not inked.any():
        return np.zeros((side, side), dtype=np.uint8)
    box = around_pixels(inked)
    pixel = box.length / (_BOX * side)  # a pixel of the image, in pixels of the picture
    cut = np.pad(soft[box.slices], max(1, round(2 * pixel)))
    cut = ndimage.gaussian_filter(cut, _BLUR * pixel)
    half = side / 2 * pixel
    centre = np.clip(ndimage.center_of_mass(cut), np.array(cut.shape) - half, half)
    scaling, shape = pixel * np.eye(2), (side, side)
    image = ndimage.affine_transform(cut, scaling, centre - half, output_shape=shape, order=1)
    image = np.clip(image / np.percentile(image[image > 0], 99), 0.0, 1.0)
    return np.asarray(np.rint(255.0 * image), dtype=np.uint8)
