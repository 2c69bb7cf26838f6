"""Shows the progress of training on the screen and, now and then in a terminal, the image that the
network is least certain of. Looking at it does not change the training.
"""

import itertools
import sys
from typing import Self

import numpy as np
from tqdm import tqdm
from tqdm.std import Bar

from ann.analysis.text_pictures import speaks_unicode, text_picture
from ann.data.catalog import class_names
from ann.data.datasets import Dataset
from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState
from ann.training.recipe import Recipe
from ann.training.report import EpochReport

SAMPLE = 2000  # images that are looked at
_BAR = 24  # characters for a probability of 1
_ANSWERS = 3


class Progress(Callback):
    """On a terminal, a bar with the time left, and images; elsewhere, a line for each epoch."""

    def __init__(
        self, recipe: Recipe, network: NeuralNetwork, dataset: Dataset, state: TrainingState
    ) -> None:
        self._recipe = recipe
        self._network = network
        self._dataset = dataset
        images = len(dataset.train_images) - recipe.validation
        steps_done = min(state.step * recipe.batch_size, images)
        self._bar = tqdm(
            total=recipe.epochs * images,
            initial=len(state.reports) * images + steps_done,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stdout,
            disable=None,  # unless this is a terminal
            bar_format="{desc} |{bar}| {rate_fmt}, {remaining} left{postfix}",
        )
        self._begin_epoch(len(state.reports) + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.leave = False
        self._bar.close()

    def _begin_epoch(self, epoch: int) -> None:
        """Show the number of the epoch, or of the last one if none is left."""
        epochs = self._recipe.epochs
        self._bar.set_description_str(f"epoch {min(epoch, epochs)}/{epochs}", refresh=False)

    def after_step(self, images: int) -> None:
        """Move the bar."""
        self._bar.update(images)

    def after_epoch(self, report: EpochReport) -> None:
        """Print the epoch's line, above the bar if there is one."""
        if self._bar.disable:
            left = (report.epochs - report.epoch) * report.seconds
            print(f"{report}  {report.images_per_second:,.0f} images/s  {left:.0f} s left")
            return
        self._bar.write(str(report))
        if is_due(report.epoch):
            lines = hardest_image(self._network, self._dataset, self._recipe.validation)
            self._bar.write("\n".join(lines))
        wrong = f", {report.validation.errors} wrong" if report.validation else ""
        self._begin_epoch(report.epoch + 1)
        is_last = report.epoch == report.epochs
        self._bar.set_postfix_str(f"loss {report.loss:.4f}{wrong}", refresh=is_last)


def is_due(epoch: int) -> bool:
    """After the epochs 1, 4, 16, 64 and so on: a network changes most at first."""
    return epoch in (4**exponent for exponent in range(16))


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
