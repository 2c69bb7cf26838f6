"""Training: the loop over epochs and batches. Images go to the device once, nothing comes back from it within an
epoch, and all that is random is drawn from the network's seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ann.datasets import Dataset
from ann.errors import DivergenceError
from ann.network import CHUNK, NeuralNetwork, slices
from ann.recipes import Recipe
from ann.schedules import get_schedule
from ann.steps import Images, Steps
from ann.streams import generator
from ann.validation import check_images, check_labels


@dataclass(frozen=True)
class Evaluation:
    """The mean loss over some images, how many of them were labelled wrongly, and how many there are."""

    loss: float
    wrong: int
    total: int


@dataclass(frozen=True)
class EpochReport:
    """What is known after an epoch.

    Attributes:
        epoch: counted from 1.
        epochs: how many there will be.
        loss: the mean training loss over the epoch, while the parameters were changing.
        learning_rate: of the epoch's last step.
        seconds: the epoch took, without the validation.
        images_per_second: of training.
        validation: what the held-out images gave, None where there are none.
    """

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float
    validation: Evaluation | None = None

    def result(self) -> str:
        """The losses and mistakes in words."""
        text = f"loss {self.loss:.4f}"
        if self.validation:
            loss, wrong, total = self.validation.loss, self.validation.wrong, self.validation.total
            text += f"  held out: loss {loss:.4f}, {wrong} wrong ({100 * wrong / total:.2f} %)"
        return text

    def __str__(self) -> str:
        return f"epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}  {self.result()}"


def fit(
    network: NeuralNetwork,
    dataset: Dataset,
    recipe: Recipe,
    callbacks: Sequence[Callable[[EpochReport], object]] = (),
    on_batch: Callable[[int], object] | None = None,
) -> list[EpochReport]:
    """Train a network, in place, on a data set's training images. Its test images are not touched.

    Args:
        network: any network whose inputs and outputs fit the data; all that is random comes from its seed.
        dataset: of its training images, the last ``recipe.validation`` are held out, and only measured.
        recipe: how to train. Its layers and loss are not read: the network has its own.
        callbacks: each is called with every epoch's report. Training goes on from the parameters that it leaves,
            unless they are averages (``recipe.average``).
        on_batch: called after each batch with its number of images; on a GPU the batch may still be queued. The network
            gets the parameters at the end of the epoch, in place of what is then in it.

    Returns:
        The reports of all epochs.

    Raises:
        ValueError: the recipe does not fit the data, or the data not the network.
        DivergenceError: the loss or a parameter is no longer finite; the network is then of no use.
    """
    training, held_out = _split(network, dataset, recipe)
    training_set = Images(network, *training, recipe.label_smoothing)
    validation = Images(network, *held_out) if recipe.validation else None
    steps = Steps(network, training_set, recipe)
    xp = network.xp
    rate = get_schedule(recipe.schedule, recipe.learning_rate, steps.count * recipe.epochs, recipe.warmup)
    reports = []
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        first = (epoch - 1) * steps.count
        rates = [rate(step) for step in range(first, first + steps.count)]
        with network.backend.quiet():
            order = generator(network.seed, "order", epoch).permutation(training_set.count)
            loss_sum = steps.epoch(order, first, rates, on_batch)
            total = xp.sum(network.parameters)  # finite only where each is
            mean_loss = float(loss_sum) / training_set.count  # the one wait for the device
        seconds = time.perf_counter() - started
        if not (math.isfinite(mean_loss) and math.isfinite(float(total))):
            raise DivergenceError(
                f"training diverged in epoch {epoch} of {recipe.epochs}: the numbers grew beyond all bounds; "
                f"try a learning rate below {recipe.learning_rate:g}"
            )
        measured = _evaluate(network, validation) if validation else None
        reports.append(
            EpochReport(
                epoch=epoch,
                epochs=recipe.epochs,
                loss=mean_loss,
                learning_rate=rates[-1],
                seconds=seconds,
                images_per_second=training_set.count / seconds,
                validation=measured,
            )
        )
        for callback in callbacks:
            callback(reports[-1])
    network.recipe = recipe.training_fields()
    return reports


def _evaluate(network: NeuralNetwork, images: Images) -> Evaluation:
    """Apply a network to images. It draws no random number and changes nothing, so training goes on as without."""
    xp, output = network.xp, network.loss.output
    loss_sum = xp.zeros((), dtype=network.dtype)
    wrong = xp.zeros((), dtype=xp.int64)
    x = None
    for chunk in slices(images.count, CHUNK):
        x, scale = network.inputs(images.pixels[chunk, :], room=x)
        logits = network.logits(x, scale)
        loss = network.loss.value(network.backend, logits, images.targets[chunk, :])
        loss_sum += loss * float(logits.shape[0])
        output.function(network.backend, logits, logits)
        wrong += xp.count_nonzero(xp.argmax(logits, axis=-1) != images.labels[chunk])
    return Evaluation(float(loss_sum) / images.count, int(wrong), images.count)


def _split(network: NeuralNetwork, dataset: Dataset, recipe: Recipe) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """((training images, labels), (held-out images, labels)), checked against the network and the recipe."""
    images = check_images("train_images", dataset.train_images, network.input_dim)
    if images.dtype.name != "uint8":
        raise ValueError(f"train_images: expected uint8 pixels, got dtype {images.dtype}")
    labels = check_labels("train_labels", dataset.train_labels, network.output_dim, len(images))
    count = len(images) - recipe.validation
    if count < 1:
        raise ValueError(f"validation: {recipe.validation} images held out of {len(images)} leave none to train on")
    if recipe.batch_size > count:
        raise ValueError(f"batch_size: {recipe.batch_size} is more than the {count} training images")
    return (images[:count], labels[:count]), (images[count:], labels[count:])
