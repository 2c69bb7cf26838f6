"""Training: the loop over epochs. The images go to the device once, and within an epoch only
checkpoints come back from it. All random numbers derive from the network's seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ann.data.datasets import Dataset
from ann.errors import DivergenceError
from ann.files.digest import digest
from ann.neural_network import SELF_TEST_IMAGES, Evaluation, NeuralNetwork
from ann.nn.rng import drawn
from ann.optim.schedules import get_schedule
from ann.training.batches import ImageSet, training_set
from ann.training.checkpoint_file import fingerprints
from ann.training.checkpointer import Checkpointer, Checkpoints
from ann.training.diagnostics import Diagnostics, lower_rate
from ann.training.distributed import SINGLE_PROCESS, Processes, check_same, on_all, shard
from ann.training.early_stopping import EarlyStopping
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.training.trainer import Trainer
from ann.training.training_data import TrainingData, check_training_data


def fit(
    network: NeuralNetwork,
    dataset: Dataset,
    recipe: Recipe,
    callbacks: Sequence[Callable[[EpochReport], object]] = (),
    on_batch: Callable[[int], object] | None = None,
    checkpoints: Checkpoints | None = None,
    weights: Any = None,
    processes: Processes = SINGLE_PROCESS,
) -> list[EpochReport]:
    """Train a network, in place, on a data set's training images. Its test images are not touched.

    The images may also be finite floats (N, I), which are used as they are, and the labels target
    rows (N, O), as in ``NeuralNetwork.train_batch``. If those are not one-hot, a validation image
    counts as correct if its outputs are above 0.5 exactly where its targets are.

    Args:
        network: its inputs and outputs must fit the data. All random numbers derive from its seed.
            Each member of a committee has its own order and distortions, and learns as it would
            alone. Only early stopping, callbacks and divergence look at all members together.
        dataset: its last ``recipe.validation`` training images are the validation images: the
            network is tested on them, and never trained.
        recipe: how to train. The network keeps its own layers, loss and number of members. Give the
            recipe the same activation and loss all the same: its default rates depend on them.
        callbacks: each is called with every epoch's report. If one returns True, training ends
            after this epoch. If callbacks change the parameters, training continues from the
            changed ones, except with averaged parameters or batch normalisation.
        on_batch: called after each batch with its number of images; on a GPU the batch may still be
            queued. If it returns True, training stops at once: a checkpoint is written, and the
            network has the parameters of that moment. If it changes the network's parameters, the
            trained ones replace them at the end of the epoch.
        checkpoints: where to keep a checkpoint. If there is one already, training continues from it
            and ends with exactly the parameters of a training without a stop. Callbacks see the
            remaining epochs.
        weights: (N,) numbers, at least 0: how much each training image counts in the gradient.
            None: all the same. Reported losses ignore them.
        processes: those that train together. Each has the same network and data, and trains on its
            share of every batch; see ``mpi``. Up to rounding, the result is that of a single
            process. All must call this function with the same arguments; the first one writes
            checkpoints.

    If something looks wrong, one ``TrainingWarning`` suggests what to try; see ``diagnostics``.
    Another warns if the validation images have different classes from the rest, which happens when
    the data are sorted.

    Returns:
        The reports of all epochs, including those before a checkpoint.

    Raises:
        ValueError: the recipe does not fit the data, or the data do not fit the network.
        DivergenceError: the loss or a parameter is no longer finite; the network is then useless.
        CheckpointError: the checkpoint is damaged, or belongs to another network, recipe or data
            set.
        OSError: training was stopped, and the checkpoint cannot be written. Without a stop that is
            only a warning.
    """
    functions = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    if not functions or not (checkpoints is None or isinstance(checkpoints, Checkpoints)):
        raise ValueError("callbacks: expected a list of functions, and for checkpoints ann.Checkpoints(path) or None")
    data = on_all(processes, lambda: check_training_data(network, dataset, recipe, weights, processes))
    with network.backend.ignore_overflow():
        images = training_set(network, data.images, data.labels, recipe, data.shape, data.weights)
        validation = ImageSet(network, data.validation_images, data.validation_labels) if recipe.validation else None
        trainer = Trainer(network, images, recipe, processes)
        early_stopping = EarlyStopping(network, recipe.early_stopping) if recipe.early_stopping else None
        diagnostics = Diagnostics(network, data.images, data.labels, recipe) if processes.rank == 0 else None
        run = _run(network, recipe, data)
        if processes.size > 1:
            check_same(processes, run())
        checkpointer = Checkpointer(checkpoints, network, trainer, early_stopping, run, processes)
    state = checkpointer.state
    network.self_test_images = data.images[:SELF_TEST_IMAGES] if data.images.dtype.name == "uint8" else None
    rate = get_schedule(recipe.schedule, recipe.learning_rate, trainer.steps * recipe.epochs, recipe.warmup)
    interrupted = False

    def on_step(done: int, size: int) -> bool:
        nonlocal interrupted
        interrupted = processes.any_process(on_batch is not None and on_batch(size) is True)
        checkpointer.after_step(done)
        return interrupted

    while not state.finished and not interrupted:
        epoch = state.epoch
        checkpointer.start_clock()
        first = (epoch - 1) * trainer.steps
        rates = [rate(step) for step in range(first, first + trainer.steps)]
        order = drawn(network.seeds, "order", epoch, lambda random: random.permutation(images.count))
        with network.backend.ignore_overflow():
            done = trainer.run_epoch(order, epoch, rates, on_step, start=state.step)
            if done < trainer.steps:
                checkpointer.stopped()
                break
            loss = float(trainer.loss.sum(order)) / images.count  # waits for the device
            _raise_if_diverged(network, loss, epoch, recipe)
            seconds = processes.gather(checkpointer.seconds())[0]
            measured = _evaluate(network, validation, processes) if validation else None
        speed = images.count / seconds
        report = EpochReport(epoch, recipe.epochs, loss, rates[-1], seconds, speed, measured)
        ended = early_stopping.update(report) if early_stopping else False
        for callback in callbacks:
            ended = callback(report) is True or ended
        state.finished = processes.any_process(ended) or epoch == recipe.epochs
        if state.finished and early_stopping:
            early_stopping.restore()
        checkpointer.after_epoch(report)
        if diagnostics and not state.finished:
            diagnostics.after_epoch(state.reports, state.warned_of)
    trained = checkpointer.end()
    if state.finished:
        network.recipe = recipe.training_fields()
        if diagnostics and trained:  # last of all, since users may turn warnings into errors
            diagnostics.after_epoch(state.reports, state.warned_of)
    return state.reports


def _run(network: NeuralNetwork, recipe: Recipe, data: TrainingData) -> Callable[[], dict[str, Any]]:
    """A function that returns what identifies this run: other checkpoints are refused.

    Calling it takes a moment.
    """
    return lambda: {
        "network": {
            "layers": network.layer_list,
            "loss": network.loss_name,
            "committee": network.committee,
            "dtype": network.dtype_name,
            "own activations": fingerprints(layer["activation"] for layer in network.layer_list),
        },
        "seed": network.seed,
        "first parameters": {"SHA-256": digest(network.backend.to_host(network.parameters))},
        "recipe": recipe.training_fields(),
        "data": {"SHA-256": digest(*data.arrays)},
    }


def _raise_if_diverged(network: NeuralNetwork, loss: float, epoch: int, recipe: Recipe) -> None:
    """Raise DivergenceError unless the loss and all parameters are finite; it names the members that diverged."""
    totals = network.backend.to_host(network.backend.xp.sum(network.parameters, axis=-1))  # finite only if each is
    finite = [math.isfinite(total) for total in totals.reshape(-1).tolist()]
    if math.isfinite(loss) and all(finite):
        return
    seeds = [str(seed) for seed, good in zip(network.seeds, finite, strict=True) if not good]
    plural = "s" * (len(seeds) > 1)
    whose = f", the member{plural} with seed{plural} {', '.join(seeds)}" if network.committee > 1 and seeds else ""
    raise DivergenceError(
        f"training diverged in epoch {epoch} of {recipe.epochs}{whose}: the numbers overflowed; {lower_rate(recipe)}"
    )


def _evaluate(network: NeuralNetwork, images: ImageSet, processes: Processes) -> Evaluation:
    """Loss and errors, where each process measures its share of the images."""
    part, share = shard(processes, slice(0, images.count))
    labels = None if images.labels is None else images.labels[part]
    found = network.measure(images.pixels[part, :], images.targets[part, :], labels) if share else (0.0, 0)
    losses, errors = zip(*processes.gather(found), strict=True)
    return Evaluation(sum(losses) / images.count, sum(errors), images.count)
