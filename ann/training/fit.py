"""The training loop. The images are uploaded to the device once, and within an epoch only
checkpoints are read back. Everything random follows from the network's seed.
"""

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
    """Train a network in place on a data set's training images. The test images are not used.

    From Python, images may also be finite floats (N, I), which are used unchanged, and labels may
    be target rows (N, O), as in ``NeuralNetwork.train_batch``. If these are not one-hot, a
    validation image is right if each output is above 0.5 exactly where its target is.

    Args:
        network: a network whose inputs and outputs fit the data. Everything random follows from its
            seed. Each member of a committee has its own order and distortions, and becomes the
            network that it would become alone. Only early stopping, callbacks and divergence
            concern all members at once.
        dataset: its last ``recipe.validation`` training images are the validation images, which are
            not trained on.
        recipe: how to train. The network keeps its own layers, loss and number of members. Give the
            recipe the same activation and loss anyway: its default rates depend on them.
        callbacks: each is called with the report of every epoch. If one returns True, training
            ends. Training continues from parameters that a callback changes, except with averaging
            or batch normalisation: then it continues from its own copy.
        on_batch: called after each batch with its number of images; on a GPU the batch may still be
            queued. If it returns True, training stops in the middle of the epoch: a checkpoint is
            written, and the network gets the current parameters. Otherwise the network gets them at
            the end of each epoch.
        checkpoints: where to keep a checkpoint. If it exists, training resumes from it, and ends
            with exactly the parameters that it would have had without the stop. Callbacks are
            called for the remaining epochs.
        weights: (N,) numbers of at least 0, one for each training image: its relative weight in the
            loss; None: equal weights. Reported losses are not weighted.
        processes: those that train together, each on its share of every batch; see ``mpi``. Each
            has its own network and data set, which must be the same in all. The result is that of a
            single process, up to rounding. All must make the same call; the first one writes
            checkpoints.

    If something looks wrong, a ``TrainingWarning`` says what to try; see ``diagnostics``. There is
    also one if the validation images have different classes from the rest, as in sorted data.

    Returns:
        The reports of all epochs, including those before a checkpoint.

    Raises:
        ValueError: the network, the data and the recipe do not fit together.
        DivergenceError: the loss or a parameter is no longer finite, and the network is useless.
        CheckpointError: the checkpoint is damaged, or from a different network, recipe or data set.
        OSError: training was stopped, and its checkpoint cannot be written. At other times that is
            only a warning, and training continues.
    """
    functions = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    if not functions or not (checkpoints is None or isinstance(checkpoints, Checkpoints)):
        raise ValueError(
            "callbacks: expected a list of functions, and for checkpoints ann.Checkpoints(path) or None"
        )
    data = on_all(
        processes, lambda: check_training_data(network, dataset, recipe, weights, processes)
    )
    with network.backend.ignore_overflow():
        images = training_set(network, data.images, data.labels, recipe, data.shape, data.weights)
        validation = (
            ImageSet(network, data.validation_images, data.validation_labels)
            if recipe.validation
            else None
        )
        trainer = Trainer(network, images, recipe, processes)
        early_stopping = (
            EarlyStopping(network, recipe.early_stopping) if recipe.early_stopping else None
        )
        diagnostics = (
            Diagnostics(network, data.images, data.labels, recipe) if processes.rank == 0 else None
        )
        run = _run(network, recipe, data)
        if processes.size > 1:
            check_same(processes, run())
        checkpointer = Checkpointer(checkpoints, network, trainer, early_stopping, run, processes)
    state = checkpointer.state
    network.self_test_images = (
        data.images[:SELF_TEST_IMAGES] if data.images.dtype.name == "uint8" else None
    )
    rate = get_schedule(
        recipe.schedule, recipe.learning_rate, trainer.steps * recipe.epochs, recipe.warmup
    )
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
        order = drawn(
            network.seeds, "order", epoch, lambda random: random.permutation(images.count)
        )
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


def _run(
    network: NeuralNetwork, recipe: Recipe, data: TrainingData
) -> Callable[[], dict[str, Any]]:
    """A function that returns what identifies the run, as plain values. It takes a moment."""
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
    """Raise DivergenceError, naming diverged members, unless loss and parameters are finite."""
    totals = network.backend.to_host(
        network.backend.xp.sum(network.parameters, axis=-1)
    )  # finite if all are
    finite = [math.isfinite(total) for total in totals.reshape(-1).tolist()]
    if math.isfinite(loss) and all(finite):
        return
    seeds = [str(seed) for seed, good in zip(network.seeds, finite, strict=True) if not good]
    plural = "s" * (len(seeds) > 1)
    whose = (
        f", the member{plural} with seed{plural} {', '.join(seeds)}"
        if network.committee > 1 and seeds
        else ""
    )
    raise DivergenceError(
        f"training diverged in epoch {epoch} of {recipe.epochs}{whose}: the numbers overflowed; {lower_rate(recipe)}"
    )


def _evaluate(network: NeuralNetwork, images: ImageSet, processes: Processes) -> Evaluation:
    """Loss and errors on the images, of which each process measures its share."""
    part, share = shard(processes, slice(0, images.count))
    labels = None if images.labels is None else images.labels[part]
    found = (
        network.measure(images.pixels[part, :], images.targets[part, :], labels)
        if share
        else (0.0, 0)
    )
    losses, errors = zip(*processes.gather(found), strict=True)
    return Evaluation(sum(losses) / images.count, sum(errors), images.count)
