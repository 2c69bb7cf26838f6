"""Training: the loop over epochs and batches. Images go to the device once, nothing comes back from it within an
epoch, and all that is random is drawn from the network's seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ann.backend import Array
from ann.datasets import Dataset
from ann.errors import DivergenceError
from ann.network import CHUNK, NeuralNetwork, slices
from ann.optimizers import get_optimizer
from ann.recipes import Recipe
from ann.schedules import get_schedule
from ann.streams import generator
from ann.validation import check_images, check_labels, check_targets


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
        callbacks: each is called with every epoch's report.
        on_batch: called after each batch with its number of images; on a GPU the batch may still be queued.

    Returns:
        The reports of all epochs.

    Raises:
        ValueError: the recipe does not fit the data, or the data not the network.
        DivergenceError: the loss or a parameter is no longer finite; the network is then of no use.
    """
    training, held_out = _split(network, dataset, recipe)
    batches = _Batches(network, *training, recipe)
    validation = _Images(network, *held_out) if recipe.validation else None
    xp = network.xp
    rate = get_schedule(recipe.schedule, recipe.learning_rate, batches.steps * recipe.epochs, recipe.warmup)
    optimizer = get_optimizer(
        recipe.optimizer,
        xp,
        network.parameters,
        network.gradients,
        network.weight_count,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    reports, step = [], 0
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        loss_sum = xp.zeros((), dtype=network.dtype)
        for x, targets in batches.of_epoch(epoch):
            loss = network.compute_gradients(x, targets)
            optimizer.step(rate(step))
            step += 1
            loss_sum += loss * float(x.shape[0])  # stays on the device
            if on_batch:
                on_batch(x.shape[0])
        finite = xp.all(xp.isfinite(network.parameters))
        mean_loss = float(loss_sum) / batches.count  # the one wait for the device
        seconds = time.perf_counter() - started
        if not (math.isfinite(mean_loss) and bool(finite)):
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
                learning_rate=rate(step - 1),
                seconds=seconds,
                images_per_second=batches.count / seconds,
                validation=measured,
            )
        )
        for callback in callbacks:
            callback(reports[-1])
    network.recipe = recipe.training_fields()
    return reports


class _Images:
    """Images and labels on the device."""

    def __init__(self, network: NeuralNetwork, images: Any, labels: Any) -> None:
        upload = network.backend.from_host
        targets = check_targets("labels", labels, len(images), network.output_dim, network.loss.targets)
        self.count = len(images)
        self.pixels = upload(images)
        self.labels = upload(labels)
        self.targets = upload(targets.astype(network.dtype_name))


class _Batches(_Images):
    """Training images in a new random order each epoch, as inputs and target rows of one batch after another."""

    def __init__(self, network: NeuralNetwork, images: Any, labels: Any, recipe: Recipe) -> None:
        super().__init__(network, images, labels)
        self.steps = -(-self.count // recipe.batch_size)  # the last batch may be smaller
        self._network, self._batch_size = network, recipe.batch_size
        self._inputs = network.xp.empty((recipe.batch_size, network.input_dim), dtype=network.dtype)

    def of_epoch(self, epoch: int) -> Iterator[tuple[Array, Array]]:
        """Each batch: inputs (N, I), valid until the next one, and target rows (N, O)."""
        network, xp = self._network, self._network.xp
        order = network.backend.from_host(generator(network.seed, "order", epoch).permutation(self.count))
        for batch in slices(self.count, self._batch_size):
            chosen = order[batch]
            pixels = xp.take(self.pixels, chosen, axis=0)
            x = network.inputs(pixels, out=self._inputs[: pixels.shape[0], :])
            yield x, xp.take(self.targets, chosen, axis=0)


def _evaluate(network: NeuralNetwork, images: _Images) -> Evaluation:
    """Apply a network to images. It draws no random number and changes nothing, so training goes on as without."""
    xp, output = network.xp, network.loss.output
    loss_sum = xp.zeros((), dtype=network.dtype)
    wrong = xp.zeros((), dtype=xp.int64)
    for chunk in slices(images.count, CHUNK):
        logits = network.logits(network.inputs(images.pixels[chunk, :]))
        loss_sum += network.loss.value(xp, logits, images.targets[chunk, :]) * float(logits.shape[0])
        output.function(xp, logits, logits)
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
