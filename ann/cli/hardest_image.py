"""The image that a network is least certain of, shown in the terminal now and then during training.

Looking at it does not change the training.
"""

import itertools
import sys

import numpy as np
from tqdm.std import Bar

from ann.analysis.text_pictures import speaks_unicode, text_picture
from ann.data.catalog import class_names
from ann.data.datasets import Dataset
from ann.neural_network import NeuralNetwork

SAMPLE = 2000  # images that are looked at
_BAR = 24  # characters for a probability of 1
_ANSWERS = 3


def is_due(epoch: int) -> bool:
    """After the epochs 1, 4, 16, 64 and so on: a network changes most at first."""
    return epoch.bit_length() % 2 == 1 and epoch.bit_count() == 1


def hardest_image(network: NeuralNetwork, dataset: Dataset, validation: int) -> list[str]:
    """Lines that show the image whose two most likely answers are closest, and its answers as bars.

    The candidates are the first ``SAMPLE`` validation images, which are the last ``validation``
    images of the training set; without validation images, the last ``SAMPLE`` training images.
    """
    images = dataset.train_images[-(validation or SAMPLE) :][:SAMPLE]
    labels = dataset.train_labels[-(validation or SAMPLE) :][:SAMPLE]
    rows = network.predict_proba(images)
    answers = np.argsort(-rows, axis=1, kind="stable")[:, :_ANSWERS]
    most = np.take_along_axis(rows, answers, axis=1)
    hardest = int(np.argmin(most[:, 0] - most[:, 1]))
    kind = "validation" if validation else "training"
    text = [f"least certain of {len(images):,} {kind} images:"]
    classes = class_names(dataset.classes, rows.shape[1])
    names = [classes[label] for label in answers[hardest]]
    width, unicode = max(map(len, names)), speaks_unicode(sys.stdout)
    for name, share in zip(names, most[hardest].tolist(), strict=True):
        bar = Bar(min(share, 1.0), _BAR, Bar.UTF if unicode else " #")
        text.append(f"{name:>{width}} {bar} {100 * share:3.0f} %")
    text.append(f"it is labelled {dataset.classes[labels[hardest]]}")
    picture = text_picture(images[hardest], unicode)
    above = max(0, (len(picture) - len(text)) // 2)  # beside the middle of the picture
    lines = itertools.zip_longest(picture, [""] * above + text, fillvalue="")
    return [f"  {left:{len(picture[0])}}  {right}".rstrip() for left, right in lines]
