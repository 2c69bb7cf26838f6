"""Converts a picture of a digit into an image like those of MNIST: white on black, cropped, with
strokes of the usual width and its centre of mass in the middle. Notes list the corrections.

Needs SciPy: the extra ``picture``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.data.ink import Part, find_ink, find_parts, ink_mask, scipy_ndimage, without_rules

_EDGE = 0.5  # a digit covers less than this fraction of each edge of the picture
_BOX, _STROKE = 20 / 28, 2.3 / 28  # size and stroke width of MNIST's digits, in image sides


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image made from a picture.

    Attributes:
        image: (side, side), uint8, white on black.
        notes: what was found and corrected, such as "dark on light".
        problem: why no digit was found, or "".
    """

    image: np.ndarray
    notes: tuple[str, ...]
    problem: str = ""


def prepare(picture: np.ndarray, side: int = 28) -> Prepared:
    """Find the digit in grey values (h, w), uint8, and convert it to an image (side, side).

    Raises:
        ImportError: SciPy is not installed.
    """
    ink = find_ink(picture)
    notes = list(ink.notes)

    def failed(problem: str) -> Prepared:
        return Prepared(np.zeros((side, side), dtype=np.uint8), tuple(notes), problem)

    if ink.is_blank:
        return failed("it is blank: nothing differs from the paper")
    inked = ink_mask(ink)
    mask = without_rules(inked)
    if (mask != inked).any():
        notes.append("ruled paper")
    labels, parts = find_parts(mask, ink)
    mask = np.isin(labels, [part.label for part in without_specks(parts)])
    if not mask.any():
        return failed("there are only specks or lines on it")
    if max(edge.mean() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) > _EDGE:
        return failed("something other than a digit covers its edge: crop that")
    if mask.mean() > 0.6:
        return failed("most of it is ink, so no digit can be found")
    box = _bounding_box(mask)
    length = max(part.stop - part.start for part in box)
    if length < 6:
        return failed("the digit is too small")
    if length < 0.4 * max(picture.shape):
        notes.append("small")
    pairs = zip(box, picture.shape, strict=True)
    if any(abs((part.start + part.stop) / 2 / of - 0.5) > 0.12 for part, of in pairs):
        notes.append("off centre")
    image, corrections = digit_image(ink.strength, mask, side)
    return Prepared(image, (*notes, *corrections))


def without_specks(parts: Sequence[Part]) -> list[Part]:
    """The parts that are not much smaller than the largest."""
    least = max([4.0, *(0.08 * part.area for part in parts)])
    return [part for part in parts if part.area >= least]


def digit_image(
    strength: np.ndarray, mask: np.ndarray, side: int = 28
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert one digit to an image like those of MNIST.

    Args:
        strength: (h, w), the ink of a picture, 0 to 1.
        mask: (h, w), bool, the pixels of the digit.
        side: of the image.

    Returns:
        The image (side, side), uint8, white on black; and what was corrected, such as "thin".
    """
    ndimage = scipy_ndimage()
    near = ndimage.binary_dilation(mask, iterations=2)
    soft = np.clip(strength / 0.8, 0.0, 1.0) * near
    soft, corrections = _with_usual_strokes(ndimage, soft, mask)
    return _centred(ndimage, soft, side), corrections


def _with_usual_strokes(
    ndimage: Any, soft: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The digit with strokes about as wide as those of MNIST; and what was corrected."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    ridge = inside[(inside == ndimage.maximum_filter(inside, 3)) & mask]
    width = 2.0 * float(np.median(ridge))
    usual = _STROKE / _BOX * max(part.stop - part.start for part in _bounding_box(mask))
    if width < 0.7 * usual:
        size = round(usual - width) // 2 * 2 + 1
        return ndimage.grey_dilation(np.pad(soft, size), footprint=_disc(size)), ("thin",)
    if width > 1.8 * usual:
        size = round((width - 1.6 * usual) / 2) * 2 + 1
        return ndimage.grey_erosion(soft, footprint=_disc(size)), ("thick",)
    return soft, ()


def _disc(size: int) -> np.ndarray:
    """A disc with an odd diameter, as a mask (size, size)."""
    places = np.arange(size) - size // 2
    return np.asarray(np.hypot(places[:, None], places) <= size / 2)


def _centred(ndimage: Any, soft: np.ndarray, side: int) -> np.ndarray:
    """The digit cropped, its longer side 20 of 28 pixels, its centre of mass in the middle."""
    inked = soft > 0.3
    if not inked.any():
        return np.zeros((side, side), dtype=np.uint8)
    cut = soft[_bounding_box(inked)]
    scale = _BOX * side / max(cut.shape)
    if scale < 1.0:  # avoids aliasing
        cut = ndimage.gaussian_filter(cut, 0.4 / scale)
    # From the middles of the new pixels to positions between the old ones
    sizes = [max(1, round(length * scale)) for length in cut.shape]
    pairs = zip(sizes, cut.shape, strict=True)
    places = [(np.arange(size) + 0.5) * length / size - 0.5 for size, length in pairs]
    grid = np.meshgrid(*places, indexing="ij")
    small = ndimage.map_coordinates(cut, grid, order=1, mode="nearest")
    small = np.clip(small / max(1e-6, float(np.percentile(small, 99))), 0.0, 1.0)
    image = np.zeros((side, side), dtype=np.float32)
    corners = zip(ndimage.center_of_mass(small), sizes, strict=True)
    starts = [min(max(round(side / 2 - centre - 0.5), 0), side - size) for centre, size in corners]
    (top, left), (height, width) = starts, sizes
    image[top : top + height, left : left + width] = small
    return np.asarray(np.rint(255.0 * image), dtype=np.uint8)


def _bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of the smallest box around all True pixels."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
