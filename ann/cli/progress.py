"""How far a training is, on the screen."""

from __future__ import annotations

import sys

from tqdm import tqdm

import ann
from ann.cli.hardest_image import is_due, least_certain
from ann.cli.output import echo
from ann.training.checkpoint_file import TrainingState


class Progress:
    """On a terminal a bar with time left, and now and then an image; elsewhere one plain line an epoch."""

    def __init__(self, recipe: ann.Recipe, network: ann.NeuralNetwork, dataset: ann.Dataset) -> None:
        self._recipe, self._network, self._dataset = recipe, network, dataset
        self._images = len(dataset.train_images) - recipe.validation
        self._bar = tqdm(
            total=recipe.epochs * self._images,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stdout,
            disable=not sys.stdout.isatty(),
            bar_format="{percentage:3.0f} %|{bar}| {rate_fmt}, {remaining} left{postfix}",
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.leave = False
        self._bar.close()

    def skip(self, state: TrainingState) -> None:
        """Say what was done before, and start the bar there."""
        done = state.reports
        if state.finished:
            echo(f"this run is finished, after {len(done)} epochs; its files are written again")
            return
        echo(f"going on after {len(done)} of {done[-1].epochs} epochs" if done else "going on in the first epoch")
        steps_done = min(state.step * self._recipe.batch_size, self._images)
        self._bar.update(len(done) * self._images + steps_done)
        self._bar.unpause()

    def on_batch(self, images: int) -> None:
        """Move the bar."""
        self._bar.update(images)

    def on_epoch(self, report: ann.EpochReport) -> None:
        """Print the epoch's line, above the bar where there is one."""
        if self._bar.disable:
            left = (report.epochs - report.epoch) * report.seconds
            echo(f"{report}  {report.images_per_second:,.0f} images/s  {left:.0f} s left")
        else:
            self._bar.write(str(report), file=sys.stdout)
            if is_due(report.epoch):
                lines = least_certain(self._network, self._dataset, self._recipe.validation)
                self._bar.write("\n".join(lines), file=sys.stdout)
            wrong = f", {report.validation.errors} wrong" if report.validation else ""
            self._bar.set_postfix_str(f"loss {report.loss:.4f}{wrong}", refresh=report.epoch == report.epochs)
