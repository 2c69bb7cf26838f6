"""The image that a network is least certain of, as train.py shows it in a terminal."""

import io
import sys

import numpy as np
import pytest

import ann
from ann.cli.progress import hardest_image, is_due

OUTPUTS = np.array([[0.9, 0.05, 0.05], [0.1, 0.46, 0.44], [0.2, 0.7, 0.1]], np.float32)


class Known:
    """A network with known outputs: for an image of only n, the n-th row."""

    def predict_proba(self, images):
        return OUTPUTS[images[:, 0, 0]]


def dataset_of(numbers, side=8):
    images = np.repeat(np.array(numbers, np.uint8), side * side).reshape(-1, side, side)
    labels = np.arange(len(numbers), dtype=np.uint8) % 3
    return ann.Dataset(images, labels, images, labels, ("ape", "bee", "crocodile"))


def test_when_it_is_shown():
    assert [epoch for epoch in range(1, 1001) if is_due(epoch)] == [1, 4, 16, 64, 256]


@pytest.mark.parametrize(("validation", "kind"), [(0, "4 training"), (2, "2 validation")])
def test_the_closest_answers_are_shown(monkeypatch, validation, kind):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    lines = hardest_image(Known(), dataset_of([0, 2, 1, 0]), validation)
    text = [line[8:] for line in lines]
    assert text == [
        f"least certain of {kind} images:",
        "      bee ███████████               46 %",
        "crocodile ██████████▌               44 %",
        "      ape ██▍                       10 %",
        "it is labelled crocodile",
    ]


def test_validation_images_come_first():
    lines = hardest_image(Known(), dataset_of([1, 1, 0, 2]), 2)
    assert (
        "least certain of 2 validation images:" in lines[0]
        and "bee" in lines[1]
        and "70 %" in lines[1]
    )


def test_in_ascii(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    lines = hardest_image(Known(), dataset_of([1], side=28), 0)
    assert all(line.isascii() for line in lines) and len(lines) == 7
    assert lines[2].endswith("      bee ###########               46 %")


def test_few_of_many_images_are_looked_at():
    lines = hardest_image(Known(), dataset_of([1] + [0] * 3000), 0)
    assert "least certain of 2,000 training images:" in lines[0] and "90 %" in lines[1]
