import sys

import numpy as np
import pytest

from ann.analysis.figures import check_figure_path, figure_of_images, save_figure, show_figure, text_picture, text_sheet


def test_braille_dots_are_the_pixels():
    image = np.zeros((8, 4), np.uint8)
    image[0, 0] = image[3, 1] = image[7, 3] = 255  # dots 1 and 8 of the first cell, dot 8 of the last
    assert text_picture(image) == ["\u2881\u2800", "\u2800\u2880"]


def test_ascii_shades():
    image = np.repeat(np.array([0, 60, 120, 180, 255], np.uint8), 2)[None].repeat(4, axis=0)
    assert text_picture(image, unicode=False) == [" .:*#"]


def test_odd_sizes_are_padded():
    assert [len(line) for line in text_picture(np.full((5, 3), 255, np.uint8))] == [2, 2]


@pytest.mark.parametrize("unicode", [True, False])
def test_sheet(unicode):
    images = np.full((7, 28, 28), 255, np.uint8)
    lines = text_sheet(images, [f"caption {index}" for index in range(7)], unicode=unicode).splitlines()
    assert len(lines) == 2 * (1 + 7)
    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == ["caption", "0", "caption", "1", "caption", "2", "caption", "3", "caption", "4"]
    assert lines[8].split() == ["caption", "5", "caption", "6"]
    assert all(line.isascii() for line in lines) != unicode


def test_figures(tmp_path):
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
    for name, start in (("a.png", b"\x89PNG"), ("a", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        save_figure(figure_of_images(images, ["1", "2", "3"]), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(ValueError, match="not supported"):
        save_figure(figure_of_images(images, ["1", "2", "3"]), tmp_path / "a.xyz")
    assert not show_figure(figure_of_images(images, ["1", "2", "3"]))  # agg has no windows


def test_what_cannot_be_written_is_said_before(tmp_path):
    for name in ("a", "a.png", "a.PNG", "a.svg"):
        check_figure_path(tmp_path / name)
    with pytest.raises(ValueError, match=r"a\.foo: pictures are not written as \.foo, but as .*\.png, "):
        check_figure_path(tmp_path / "a.foo")
    for ending in ("pgf", "raw"):
        with pytest.raises(ValueError, match=rf"not written as \.{ending}, but as \.avif|\.eps"):
            check_figure_path(tmp_path / f"a.{ending}")
    with pytest.raises(OSError, match="There is no folder"):
        check_figure_path(tmp_path / "absent" / "a.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install -e '\.\[plot\]'"):
        figure_of_images(np.zeros((1, 4, 4), np.uint8), [""])
