import sys

import numpy as np
import pytest

from ann.analysis.figures import (
    check_figure_path,
    figure_of_confusion,
    figure_of_images,
    save_figure,
    show_figure,
)


def test_figures(tmp_path):
    images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
    for name, start in (
        ("a.png", b"\x89PNG"),
        ("a", b"\x89PNG"),
        ("a.svg", b"<?xml"),
        ("a.pdf", b"%PDF"),
    ):
        save_figure(figure_of_images(images, ["1", "2", "3"]), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(ValueError, match="not supported"):
        save_figure(figure_of_images(images, ["1", "2", "3"]), tmp_path / "a.xyz")
    assert not show_figure(figure_of_images(images, ["1", "2", "3"]))  # agg has no windows


def test_class_names_are_not_formulas(tmp_path):
    """To matplotlib, $...$ is a formula, and this one would be an error."""
    names = [r"$\nonsense$", "$5", "$"]
    figure = figure_of_confusion(np.eye(3, dtype=int), names)
    save_figure(figure, tmp_path / "a.png")
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == names


def test_unwritable_figures_are_reported_before_they_are_drawn(tmp_path):
    for name in ("a", "a.png", "a.PNG", "a.svg"):
        check_figure_path(tmp_path / name)
    with pytest.raises(
        ValueError, match=r"a\.foo: pictures cannot be written as \.foo, only as .*\.png, "
    ):
        check_figure_path(tmp_path / "a.foo")
    for ending in ("pgf", "raw"):
        with pytest.raises(
            ValueError, match=rf"cannot be written as \.{ending}, only as \.avif|\.eps"
        ):
            check_figure_path(tmp_path / f"a.{ending}")
    with pytest.raises(OSError, match="There is no folder"):
        check_figure_path(tmp_path / "absent" / "a.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pictures need matplotlib: pip install -e "\.\[plot\]"'):
        figure_of_images(np.zeros((1, 4, 4), np.uint8), [""])
