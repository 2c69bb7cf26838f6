import io

import numpy as np
import pytest

from ann.analysis.text_pictures import speaks_unicode, text_picture, text_sheet


def test_braille_dots_are_the_pixels():
    image = np.zeros((8, 4), np.uint8)
    image[0, 0] = image[3, 1] = image[7, 3] = (
        255  # dots 1 and 8 of the first cell, dot 8 of the last
    )
    assert text_picture(image) == ["\u2881\u2800", "\u2800\u2880"]


def test_ascii_shades():
    image = np.repeat(np.array([0, 60, 120, 180, 255], np.uint8), 2)[None].repeat(4, axis=0)
    assert text_picture(image, unicode=False) == [" .:*#"]


def test_odd_sizes_are_padded():
    assert [len(line) for line in text_picture(np.full((5, 3), 255, np.uint8))] == [2, 2]


@pytest.mark.parametrize("unicode", [True, False])
def test_sheet(unicode):
    images = np.full((7, 28, 28), 255, np.uint8)
    lines = text_sheet(
        images, [f"caption {index}" for index in range(7)], unicode=unicode
    ).splitlines()
    assert len(lines) == 2 * (1 + 7)
    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == [
        "caption",
        "0",
        "caption",
        "1",
        "caption",
        "2",
        "caption",
        "3",
        "caption",
        "4",
    ]
    assert lines[8].split() == ["caption", "5", "caption", "6"]
    assert all(line.isascii() for line in lines) != unicode


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", True), ("UTF-16", True), ("ascii", False)]
)
def test_which_streams_can_show_any_character(encoding, expected):
    assert speaks_unicode(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is expected
    assert not speaks_unicode(io.StringIO())  # whose encoding is None
