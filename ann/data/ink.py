"""Finds the ink on a picture, and its connected parts. Needs SciPy: the extra ``picture``.

The steps are those of R. C. Gonzalez and R. E. Woods, "Digital Image Processing": top-hat,
threshold, opening and connected components.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.errors import require

_FAINT = 18.0  # of 255: a smaller difference from the paper is not ink


@dataclass(frozen=True, eq=False)
class Ink:
    """How much ink each pixel of a picture has.

    Attributes:
        strength: (h, w), float32; 0 is paper, and 1 is ink as strong as the strongest.
        contrast: between paper and the strongest ink, in grey values.
        notes: what was found, such as "dark on light".
    """

    strength: np.ndarray
    contrast: float
    notes: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        """Whether nothing differs from the paper."""
        return self.contrast < _FAINT


@dataclass(frozen=True)
class Part:
    """Ink pixels that are connected, also diagonally.

    Attributes:
        label: the value of its pixels in the array of labels.
        box: its rows and columns.
        area: the number of its pixels.
        strength: their mean strength.
    """

    label: int
    box: tuple[slice, slice]
    area: int
    strength: float


def find_ink(picture: np.ndarray) -> Ink:
    """Compare each pixel of a picture (h, w), uint8, with the paper around it.

    Raises:
        ImportError: SciPy is not installed.
    """
    ndimage = scipy_ndimage()
    grey = ndimage.gaussian_filter(picture.astype(np.float32), 0.7)
    size = max(3, round(0.4 * max(grey.shape)))
    # The paper is the median of the surroundings, computed on few pixels because the filter is slow
    step = max(1, max(grey.shape) // 48)
    coarse = ndimage.median_filter(grey[::step, ::step], size=max(3, size // step))
    paper = np.kron(coarse, np.ones((step, step), dtype=grey.dtype))
    sharp = grey - paper[: grey.shape[0], : grey.shape[1]]
    darker, lighter = -float(np.percentile(sharp, 0.1)), float(np.percentile(sharp, 99.9))
    edges = np.concatenate([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]])
    if 0.6 * darker < lighter < darker / 0.6:  # strokes so thick that they are the median
        is_dark = float(np.median(edges)) > (float(grey.min()) + float(grey.max())) / 2
    else:
        is_dark = darker >= lighter
    ink = (ndimage.black_tophat if is_dark else ndimage.white_tophat)(grey, size=size)
    contrast = float(np.percentile(ink, 99.9))
    notes = ["dark on light"] if is_dark else []
    if float(np.ptp(edges)) > 40:
        notes.append("unevenly lit")
    if contrast < 3 * _FAINT:
        notes.append("faint")
    return Ink(ink / max(contrast, 1e-6), contrast, tuple(notes))


def ink_mask(ink: Ink) -> np.ndarray:
    """The pixels (h, w) that are ink, bool."""
    return ink.strength > 0.45


def without_rules(mask: np.ndarray) -> np.ndarray:
    """The mask without the lines of ruled paper: thin, straight and nearly as long as a side."""
    ndimage = scipy_ndimage()
    found = mask.copy()
    for axis, along, across in ((1, (1, 9), (7, 1)), (0, (9, 1), (1, 7))):
        long = max(5, round(0.9 * mask.shape[axis]))
        whole = mask | ndimage.binary_closing(mask, np.ones(along))  # lines may have gaps
        lines = _opened(ndimage, whole, long, axis) & mask
        lines &= ~ndimage.binary_opening(lines, np.ones(across))  # too thick
        if lines.any():
            found &= ~lines
            # where a stroke crossed a line, there is ink on both sides of it
            found |= ndimage.binary_closing(found, np.ones(across)) & mask
    return found


def _opened(ndimage: Any, mask: np.ndarray, length: int, axis: int) -> np.ndarray:
    """``binary_opening`` by a line along the axis; the time does not depend on its length."""
    shift = -1 if length % 2 == 0 else 0  # the middle of an even length, seen from its other end
    eroded = ndimage.minimum_filter1d(mask, length, axis, mode="constant")
    opened = ndimage.maximum_filter1d(eroded, length, axis, mode="constant", origin=shift)
    return np.asarray(opened)


def find_parts(mask: np.ndarray, ink: Ink) -> tuple[np.ndarray, list[Part]]:
    """The labels (h, w), int32, of the mask's connected parts, 0 for paper; and the parts."""
    ndimage = scipy_ndimage()
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    strengths = ndimage.mean(ink.strength, labels, numbers)
    boxes = ndimage.find_objects(labels)
    found = zip(numbers, boxes, areas, strengths, strict=True)
    return labels, [Part(int(n), box, int(area), float(mean)) for n, box, area, mean in found]


def scipy_ndimage() -> Any:
    """The module ``scipy.ndimage``."""
    return require("scipy.ndimage", "picture", "pictures of your own need scipy")
