"""Grouping parts of ink into digits, and digits into lines."""

import numpy as np
import pytest

from ann.data.boxes import Rectangle, around_pixels, gap, overlap
from ann.data.ink import Ink, box_around, find_parts
from ann.data.segmentation import cuts, group_digits, is_compact, order_lines
from support import optional

optional("scipy")


def parts_of(*boxes, shape=(200, 300)):
    """Parts that fill boxes (left, top, right, bottom), and their labels."""
    mask = np.zeros(shape, dtype=bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    labels, parts = find_parts(mask, Ink(mask.astype(np.float32), 255.0, ()))
    assert len(parts) == len(boxes)
    return parts, labels


def digits_of(*boxes):
    parts, labels = parts_of(*boxes)
    return [
        [box_around(digit).left for digit in line]
        for line in order_lines(group_digits(parts, labels))
    ]


def test_lines_in_reading_order():
    """This holds for uneven lines and for sloping lines."""
    assert digits_of((100, 12, 120, 50), (10, 10, 30, 50), (50, 5, 70, 52)) == [[10, 50, 100]]
    assert digits_of((60, 10, 80, 50), (10, 70, 30, 110), (50, 75, 70, 115)) == [[60], [10, 50]]
    slope = [(left, 10 + left // 4, left + 20, 50 + left // 4) for left in range(10, 250, 30)]
    assert digits_of(*slope) == [list(range(10, 250, 30))]
    assert digits_of() == []


@pytest.mark.parametrize(
    "boxes",
    [
        [(10, 30, 40, 80), (12, 20, 45, 25)],  # a 5 with a separate top stroke
        [(10, 10, 40, 40), (12, 44, 38, 80)],  # broken in the middle
        [(10, 10, 16, 50), (18, 44, 50, 50), (40, 20, 46, 42)],  # an open 4
        [(10, 10, 40, 80), (20, 84, 26, 90)],
    ],
)
def test_one_digit_of_several_parts(boxes):
    parts, labels = parts_of(*boxes)
    assert len(group_digits(parts, labels)) == 1 or is_compact(parts, labels)


def test_digits_that_are_near_stay_apart():
    assert digits_of((10, 10, 40, 80), (46, 10, 76, 80)) == [[10, 46]]
    slanted = np.zeros((100, 100), dtype=bool)  # //, whose boxes overlap
    for row in range(10, 80):
        slanted[row, 60 - row // 2 : 66 - row // 2] = slanted[
            row, 76 - row // 2 : 82 - row // 2
        ] = True
    labels, parts = find_parts(slanted, Ink(slanted.astype(np.float32), 255.0, ()))
    assert len(group_digits(parts, labels)) == 2


def test_compact():
    assert is_compact(*parts_of((10, 10, 40, 40), (12, 44, 38, 80)))
    wide = (10, 10, 40, 80), (46, 10, 76, 80), (82, 10, 112, 80)
    assert not is_compact(*parts_of(*wide))
    assert not is_compact(*parts_of((10, 10, 40, 40), (10, 150, 40, 180)))  # far apart


def test_a_cut_does_not_open_a_loop():
    mask = np.zeros((80, 120), dtype=bool)
    mask[10:70, 10:60] = True
    mask[12:68, 12:58] = False  # the paper inside a 0
    zero = mask.copy()
    mask[30:50, 60:66] = True  # the 0 touches a 1 along many pixels
    mask[10:70, 66:72] = True
    left, _ = cuts(mask)[0]
    assert (left & zero).sum() == zero.sum()


def test_boxes():
    box = Rectangle(10, 20, 30, 60)
    assert (box.width, box.height, box.length) == (20, 40, 40)
    assert box.scaled(1.5, 2.0) == Rectangle(15, 40, 45, 120)
    mask = np.zeros((70, 50), dtype=bool)
    mask[box.slices] = True
    assert around_pixels(mask) == box and mask.sum() == 20 * 40
    near, inside = Rectangle(33, 64, 40, 70), Rectangle(25, 50, 35, 60)
    assert (overlap(box, near), gap(box, near)) == ((-3, -4), 5)
    assert (overlap(box, inside), gap(box, inside)) == ((5, 10), 0)
