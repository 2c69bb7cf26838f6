"""What a network finds hard while it is trained: now and then, the image that it is least sure of, in the terminal. It
only looks, and so changes nothing in the training.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

import ann
from ann.analysis.inspection import probabilities
from ann.analysis.text_pictures import speaks_unicode, text_picture

LOOKED_AT = 2000  # images
_BAR = 24  # characters for a probability of 1
_EIGHTHS = " ▏▎▍▌▋▊▉"
_ANSWERS = 3


def is_due(epoch: int) -> bool:
    """After the epochs 1, 4, 16, 64 and so on: a network changes most at first."""
    return epoch.bit_length() % 2 == 1 and epoch.bit_count() == 1


def least_certain(network: ann.NeuralNetwork, dataset: ann.Dataset, held_out: int) -> list[str]:
    """Lines with the image whose first two answers are closest, of some that are held out or else of the last ones, and
    with its likeliest answers as bars.
    """
    images = dataset.train_images[-(held_out or LOOKED_AT) :][:LOOKED_AT]
    labels = dataset.train_labels[-(held_out or LOOKED_AT) :][:LOOKED_AT]
    rows = probabilities(network.apply(images))
    answers = np.argsort(-rows, axis=1, kind="stable")[:, :_ANSWERS]
    most = np.take_along_axis(rows, answers, axis=1)
    hardest = int(np.argmin(most[:, 0] - most[:, 1]))
    unicode = speaks_unicode(sys.stdout)
    of = "held-out" if held_out else "training"
    text = [f"least sure of {len(images):,} {of} images:"]
    names = [dataset.classes[place] for place in answers[hardest]]
    width = max(map(len, names))
    for name, share in zip(names, most[hardest].tolist(), strict=True):
        text.append(f"{name:>{width}} {_bar(share, unicode)} {100 * share:3.0f} %")
    text.append(f"it is labelled {dataset.classes[labels[hardest]]}")
    picture = text_picture(images[hardest], unicode)
    above = max(0, (len(picture) - len(text)) // 2)  # the text stands beside the middle of the picture
    lines = itertools.zip_longest(picture, [""] * above + text, fillvalue="")
    return [f"  {left:{len(picture[0])}}  {right}".rstrip() for left, right in lines]


def _bar(share: float, unicode: bool) -> str:
    """A bar as long as a share, in eighths of a character where there are such."""
    eighths = round(8 * _BAR * share)
    if not unicode:
        return f"{'#' * (eighths // 8):{_BAR}}"
    return f"{'█' * (eighths // 8) + _EIGHTHS[eighths % 8].strip():{_BAR}}"
