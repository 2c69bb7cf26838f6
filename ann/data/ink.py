"""Finds the ink on a picture, and its connected parts. Needs SciPy: the extra ``picture``.

R. C. Gonzalez and R. E. Woods, "Digital Image Processing", explain the methods: top-hat transform,
border clearing, Otsu's threshold, hysteresis, opening and connected components.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ann.data.boxes import Rectangle, around_pixels
from ann.errors import OptionalModule

ndimage = OptionalModule("scipy.ndimage", "picture", "pictures of your own need scipy")

_MIN_CONTRAST = 12.0  # grey values: a smaller difference from the paper is not ink
_STRONG, _WEAK = 0.45, 0.2  # strong pixels are ink; weak ones are ink if connected to strong ones
_TOUCHING = 0.3  # a region that touches more than this fraction of an edge is not ink
MIN_AREA = 4  # pixels: a smaller part is a speck
_MIN_FRAME = 8  # pixels: a smaller part cannot surround a digit, which has at least 6
_SOLID = 0.13  # a sheet is at least this thick: half its thickness, as a fraction of its length


@dataclass(frozen=True, eq=False)
class Ink:
    """How much ink each pixel of a picture has.

    Attributes:
        strength: (h, w), float32; 0 is paper, and 1 is as strong as the strongest ink.
        contrast: the difference between the paper and the strongest ink, in grey values.
        notes: what was found, such as "dark on light".
    """

    strength: np.ndarray
    contrast: float
    notes: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        """Whether the picture shows only paper. The grain of paper is everywhere; ink is not."""
        return self.contrast < _MIN_CONTRAST or float(np.median(self.strength)) > 0.25

    @cached_property
    def even(self) -> np.ndarray:
        """The strength (h, w), divided by that of the strongest ink nearby.

        The middle of a faint stroke then has a strength of 1, like that of other strokes.
        """
        size = max(self.strength.shape) // 20
        nearby = ndimage.maximum_filter(self.strength, max(3, size))
        return np.asarray(self.strength / np.maximum(nearby, _WEAK / _STRONG))


@dataclass(frozen=True)
class Part:
    """A connected component of the ink. Diagonal neighbours are connected.

    Attributes:
        label: the value of its pixels in the array of labels.
        box: its bounding box.
        area: the number of its pixels.
        ink: the sum of its pixels' strengths.
        touches_edge: whether it reaches an edge of the picture.
    """

    label: int
    box: Rectangle
    area: int
    ink: float
    touches_edge: bool


def box_around(parts: Sequence[Part]) -> Rectangle:
    """The smallest box that contains all parts, of which there is at least one."""
    left, top, right, bottom = zip(*(part.box for part in parts), strict=True)
    return Rectangle(min(left), min(top), max(right), max(bottom))


def mask_of(parts: Sequence[Part], labels: np.ndarray) -> np.ndarray:
    """The pixels (h, w) of the parts, bool; ``labels`` has the label of each part at its pixels."""
    return np.isin(labels, [part.label for part in parts])


def find_ink(picture: np.ndarray) -> Ink:
    """Compare each pixel of a picture (h, w), uint8, with the paper around it."""
    grey = ndimage.gaussian_filter(picture.astype(np.float32), 0.7)
    grey = _without_surroundings(grey)
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
    dark = grey if is_dark else 255.0 - grey
    hat = ndimage.black_tophat(dark, size=size)
    ink = np.minimum(hat, _border_cleared(dark))
    contrast = float(np.percentile(ink, 99.9))
    if contrast < _MIN_CONTRAST:  # a digit that covers an edge
        ink, contrast = hat, float(np.percentile(hat, 99.9))
    notes = ["dark on light"] if is_dark else []
    if float(np.ptp(edges)) > 40:
        notes.append("unevenly lit")
    if contrast < 54:
        notes.append("faint")
    return Ink(ink / max(contrast, 1e-6), contrast, tuple(notes))


def _without_surroundings(grey: np.ndarray) -> np.ndarray:
    """Give everything around a sheet of paper, such as a table, the colour of the paper."""
    step = max(1, max(grey.shape) // 96)  # fewer pixels are enough
    coarse = grey[::step, ::step]
    is_light = coarse > _otsu(coarse)
    for mask in (is_light, ~is_light):
        labels, _ = ndimage.label(np.pad(mask, 1))
        areas = np.bincount(labels.ravel(), minlength=2)
        areas[0] = 0
        sheet = labels == np.argmax(areas)
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(sheet, iterations=3))
        if _is_sheet(sheet, filled, filled & ~np.pad(mask, 1)):
            inner = ndimage.binary_erosion(filled)[1:-1, 1:-1]
            inner = np.kron(inner, np.ones((step, step), dtype=bool))
            inner = inner[: grey.shape[0], : grey.shape[1]]
            return np.where(inner, grey, np.median(coarse[sheet[1:-1, 1:-1]]))
    return grey


def _is_sheet(mask: np.ndarray, filled: np.ndarray, ink: np.ndarray) -> bool:
    """Whether the mask is a solid rectangle that is mostly inside the picture, with ink on it."""
    edges = (mask[1], mask[-2], mask[:, 1], mask[:, -2])
    if mask.mean() < 0.1 or sum(edge.mean() > _TOUCHING for edge in edges) > 1:
        return False
    strokes, _ = ndimage.label(ink, np.ones((3, 3)))
    thickness = ndimage.distance_transform_edt(mask).max()
    length = around_pixels(mask).length
    if thickness < _SOLID * length or _rectangularity(filled) < 0.8:
        return False
    inside = ndimage.distance_transform_edt(ink)
    cuts = [inside[box] for box in ndimage.find_objects(strokes)]
    return any(max(cut.shape) > 0.12 * length and cut.max() < 0.2 * max(cut.shape) for cut in cuts)


def _rectangularity(mask: np.ndarray) -> float:
    """The area of a shape, divided by that of the smallest rectangle around it at any angle."""
    y, x = np.nonzero(mask)
    angles = np.linspace(0, np.pi / 2, 18, endpoint=False)[:, None]
    wide = np.ptp(x * np.cos(angles) + y * np.sin(angles), axis=1) + 1
    high = np.ptp(y * np.cos(angles) - x * np.sin(angles), axis=1) + 1
    return float(len(x) / (wide * high).min())


def _otsu(grey: np.ndarray) -> float:
    """The threshold between two classes of grey values that maximises the variance between them.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    counts, limits = np.histogram(grey, bins=128)
    values = (limits[:-1] + limits[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * values)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(limits[1:-1][np.argmax(np.nan_to_num(between))])


def _border_cleared(grey: np.ndarray) -> np.ndarray:
    """How much darker each pixel is than the lightest barrier between it and the border.

    At each grey level, the connected dark regions that touch little of every edge are ink. A shadow
    or a table at the border is not ink. Ink in a shadow is compared with the shadow.
    """
    ink = np.zeros_like(grey)
    steps, step = np.linspace(grey.min(), grey.max(), 32, endpoint=False, retstep=True)
    for level in steps[1:]:
        labels, count = ndimage.label(grey < level)
        inner = np.ones(count + 1, dtype=bool)
        inner[0] = False
        for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            inner &= np.bincount(edge, minlength=count + 1) <= _TOUCHING * len(edge)
        ink += inner[labels] * np.float32(step)
    return ink


def ink_mask(ink: Ink) -> np.ndarray:
    """The pixels (h, w) that are ink, bool: strong ones, and faint ones connected to them.

    This is thresholding with hysteresis: J. Canny, "A computational approach to edge detection",
    1986.
    """
    weak = ink.even > _STRONG
    labels, count = ndimage.label(weak, np.ones((3, 3)))
    strong = np.zeros(count + 1, dtype=bool)
    strong[labels[ink.strength > _STRONG]] = True
    strong[0] = False
    return np.asarray(strong[labels])


def without_rules(mask: np.ndarray) -> np.ndarray:
    """The mask without the lines of ruled paper: thin, straight and nearly as long as a side."""
    found = mask.copy()
    for axis, along, across in ((1, (1, 9), (7, 1)), (0, (9, 1), (1, 7))):
        long = max(5, round(0.9 * mask.shape[axis]))
        whole = mask | ndimage.binary_closing(mask, np.ones(along))  # lines may have gaps
        size = (1, long) if axis == 1 else (long, 1)
        lines = ndimage.grey_opening(whole, size, mode="constant") & mask
        lines &= ~ndimage.binary_opening(lines, np.ones(across))  # too thick
        if lines.any():
            found &= ~lines
            # Where a stroke crossed the line, there is ink on both sides of the gap
            found |= ndimage.binary_closing(found, np.ones(across)) & mask
    return found


def find_parts(mask: np.ndarray, ink: Ink) -> tuple[np.ndarray, list[Part]]:
    """The connected parts of a mask (h, w), and the label of each pixel's part, int32; 0: paper."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    sums = ndimage.sum_labels(ink.strength, labels, numbers)
    boxes = [
        Rectangle(columns.start, rows.start, columns.stop, rows.stop)
        for rows, columns in ndimage.find_objects(labels)
    ]
    at_edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return labels, [
        Part(int(n), box, int(area), float(total), bool(n in at_edge))
        for n, box, area, total in zip(numbers, boxes, areas, sums, strict=True)
    ]


def without_frames(labels: np.ndarray, parts: Sequence[Part]) -> list[Part]:
    """The parts without frames: boxes or rings that surround another large part."""
    boxes = np.array([part.box for part in parts]).reshape(-1, 4)
    starts, stops = boxes[:, :2], boxes[:, 2:]
    lengths = (stops - starts).max(axis=1, initial=0)

    def is_frame(index: int) -> bool:
        if lengths[index] < _MIN_FRAME:
            return False
        inner = ((starts[index] < starts) & (stops < stops[index])).all(axis=1)
        inner &= lengths >= 0.3 * lengths[index]
        return any(
            _surrounds(labels, parts[index], parts[int(other)]) for other in np.flatnonzero(inner)
        )

    return [part for index, part in enumerate(parts) if not is_frame(index)]


def _surrounds(labels: np.ndarray, part: Part, other: Part) -> bool:
    cut = labels[part.box.slices]
    ring = ndimage.binary_dilation(np.pad(cut == part.label, 2), iterations=2)  # closes small gaps
    filled = ndimage.binary_fill_holes(ring)[2:-2, 2:-2]
    return bool(filled[cut == other.label].all())


def stroke_width(mask: np.ndarray) -> float:
    """The median width of a mask's strokes, in pixels."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    ridge = inside[(inside == ndimage.maximum_filter(inside, 3)) & mask]
    return 2.0 * float(np.median(ridge))
