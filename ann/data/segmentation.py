"""Groups the parts of the ink on a picture into digits, and digits into lines of text.

A digit may consist of several parts: a 5 with a separate top stroke, or strokes that are broken.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np

from ann.data.boxes import Rectangle, around_pixels, overlap
from ann.data.ink import MIN_AREA, Part, box_around, mask_of, ndimage, stroke_width

_SPECK = 0.08  # parts of a smaller area, compared with the largest, are specks
# Parts at the edges are ignored if the largest inner part has this fraction of the largest's area
_INNER = 0.15
_TALL = 0.55  # a part of at least this fraction of the tallest part's height may be a digit
# Gaps within a digit, at most, in heights of the tallest part:
_NEAR = 0.12  # between a small part and the others
_TOUCHING = 0.08  # between parts as tall as digits; or the width of a stroke,
_STROKE = 0.12  # up to this
_BASE = 0.5  # a digit and its separate base overlap horizontally by this fraction of one of them
_LINE = 0.4  # neighbours in a line overlap vertically by at least this fraction of the shorter one
# Lines that may cut two digits apart: how many, and how they lean, in columns per row
_CUTS, _SLOPES = 6, (-0.35, 0.0, 0.35)
_MARGIN = 0.15  # a cut keeps this distance from both sides, as a fraction of the width,
_MIN_HALF = 0.05  # and each half has at least this fraction of the ink


def parts_of_digits(parts: Sequence[Part]) -> list[Part]:
    """The parts without specks and, if there are others, without those that reach an edge.

    The list is empty only if all parts are tiny.
    """
    chosen = [part for part in parts if part.area >= MIN_AREA]
    inner = [part for part in chosen if not part.touches_edge]
    largest = max((part.area for part in chosen), default=0)
    largest_inner = max((part.area for part in inner), default=0)
    if largest_inner >= _INNER * largest:
        chosen, largest = inner, largest_inner
    return [part for part in chosen if part.area >= _SPECK * largest]


def group_digits(parts: Sequence[Part], labels: np.ndarray) -> list[list[Part]]:
    """The parts of each digit, in no particular order. Dashes and underlines are left out.

    ``labels`` (h, w) has the label of each part at its pixels.
    """
    digits: list[list[Part]] = []
    if not parts:
        return digits
    height = max(part.box.height for part in parts)
    width = stroke_width(mask_of(parts, labels))
    touching = max(_TOUCHING * height, min(width, _STROKE * height))
    for part in sorted(parts, key=lambda part: -part.box.height):
        near = [digit for digit in digits if _belongs(part, digit, height, touching, labels)]
        for digit in near[1:]:
            near[0].extend(digit)
            digits.remove(digit)
        if near:
            near[0].append(part)
        else:
            digits.append([part])
    dashes = [digit for digit in digits if _is_dash(box_around(digit), height)]
    whole = [digit for digit in digits if digit not in dashes]
    for dash in dashes:
        line = box_around(dash)
        above = (digit for digit in whole if _completes(line, box_around(digit), height))
        next(above, []).extend(dash)
    return whole


def _belongs(
    part: Part, digit: Sequence[Part], height: int, touching: float, labels: np.ndarray
) -> bool:
    """Whether a part belongs to a digit, whose parts so far are all taller.

    ``height`` is that of the tallest part. Tall parts of one digit are at most ``touching`` pixels
    apart.
    """
    box = part.box
    across, down = overlap(box, box_around(digit))
    if box.height < _TALL * height:  # too small for a digit
        return min(across, down) >= -_NEAR * height
    if across <= 0 or down < -touching:
        return False
    # The boxes of slanted digits may overlap although the digits are apart
    is_inside = across == box.width and down == box.height
    return is_inside or _distance(part, digit, labels) <= touching


def _is_dash(box: Rectangle, height: int) -> bool:
    """Whether a box is that of a flat line, not of a digit; ``height`` is the tallest part's."""
    return box.width > 2.5 * box.height and box.height < 0.4 * height


def _completes(line: Rectangle, box: Rectangle, height: int) -> bool:
    """Whether a flat line is the base of the digit in a box, such as a 2, and not an underline.

    With its base, a digit is hardly taller than the tallest part of the picture.
    """
    across, _ = overlap(line, box)
    is_above = across > _BASE * min(line.width, box.width) and box.top < line.top
    return is_above and line.bottom - box.top <= 1.05 * height


def _distance(part: Part, digit: Sequence[Part], labels: np.ndarray) -> float:
    """The distance between the pixels of a part and of a digit."""
    cut = labels[box_around([part, *digit]).slices]
    paper = ~mask_of(digit, cut)
    distances = ndimage.distance_transform_edt(paper)
    return float(distances[cut == part.label].min())


def order_lines(digits: Sequence[list[Part]]) -> list[list[list[Part]]]:
    """The digits of each line, from left to right; the lines from top to bottom."""
    lines: list[list[list[Part]]] = []
    for digit in sorted(digits, key=lambda digit: box_around(digit).left):
        shares = [_shared_height(box_around(digit), box_around(line[-1])) for line in lines]
        best = max(shares, default=0.0)
        if best >= _LINE:
            lines[shares.index(best)].append(digit)
        else:
            lines.append([digit])
    return sorted(lines, key=lambda line: median(box_around(digit).top for digit in line))


def _shared_height(box: Rectangle, other: Rectangle) -> float:
    """The vertical overlap of two boxes, as a fraction of the shorter one."""
    return overlap(box, other)[1] / min(box.height, other.height)


def is_compact(parts: Sequence[Part], labels: np.ndarray) -> bool:
    """Whether the parts look like one broken digit: small gaps, and hardly wider than tall."""
    box = box_around(parts)
    mask = mask_of(parts, labels)
    near = max(2.5 * stroke_width(mask), _NEAR * box.height)
    left = list(parts)
    cluster = [left.pop()]
    for part in cluster:  # which grows
        touching = [other for other in left if min(overlap(part.box, other.box)) >= -near]
        cluster += touching
        left = [other for other in left if other not in touching]
    return not left and box.width <= 1.1 * box.height


def cuts(mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pixels (h, w) left and right of straight lines, each of which may separate two digits.

    These lines cross the least ink; the best come first. The paper in a loop counts as ink, because
    a 9 with an open loop looks like a 7.
    """
    box, filled = around_pixels(mask), ndimage.binary_fill_holes(mask)
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    inner = np.arange(round(_MARGIN * box.width), round((1 - _MARGIN) * box.width))
    found: list[tuple[int, np.ndarray, np.ndarray]] = []
    for slope in _SLOPES:
        # The column, counted from the box, in which a line through the pixel crosses the middle
        crossing = columns - box.left - slope * (rows - (box.top + box.bottom) / 2)
        ink, _ = np.histogram(crossing[filled], np.arange(box.width + 1))
        for third in filter(len, np.array_split(inner, 3)):
            column = third[ink[third].argmin()]
            is_left = crossing < column
            found.append((int(ink[column]), mask & is_left, mask & ~is_left))
    found.sort(key=lambda cut: cut[0])
    least = _MIN_HALF * np.count_nonzero(mask)
    return [
        (left, right)
        for _, left, right in found[:_CUTS]
        if min(np.count_nonzero(left), np.count_nonzero(right)) >= least
    ]
