"""Shows the progress of training on the screen."""

import sys
from typing import Self

from tqdm import tqdm

from ann.cli.hardest_image import hardest_image, is_due
from ann.data.datasets import Dataset
from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState
from ann.training.recipe import Recipe
from ann.training.report import EpochReport


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
