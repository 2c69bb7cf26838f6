"""A progress bar for ``fit``."""

from typing import Any

from ann.data.datasets import Dataset
from ann.training.callback import Callback
from ann.training.recipe import Recipe
from ann.training.report import EpochReport


class ProgressBar(Callback):
    """A callback that shows progress and losses, in a notebook or on a terminal.

    Args:
        recipe, dataset: those of the training.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self._epochs = recipe.epochs
        self._images = len(dataset.train_images) - recipe.validation
        self._bar: Any = None

    def at_start(self) -> None:
        from tqdm.auto import tqdm  # slow to import

        self._bar = tqdm(total=self._epochs * self._images, unit=" images", unit_scale=True)

    def after_step(self, images: int) -> None:
        self._bar.update(images)

    def after_epoch(self, report: EpochReport) -> None:
        self._bar.n = report.epoch * self._images  # also right after training is resumed
        self._bar.set_postfix_str(report.result())

    def at_end(self) -> None:
        self._bar.close()
