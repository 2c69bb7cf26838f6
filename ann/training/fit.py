"""The training loop: ``fit`` trains a network for some epochs and measures it after each.

The images are uploaded to the device once. Within an epoch, only checkpoints are read back.
Everything random follows from the network's seed.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ann.data.datasets import Dataset
from ann.files.model_schema import SELF_TEST_IMAGES
from ann.neural_network import NeuralNetwork
from ann.nn.rng import drawn
from ann.optim.schedules import get_schedule
from ann.training.batches import ImageSet
from ann.training.callback import Callback
from ann.training.callback_list import callbacks_of
from ann.training.checkpointer import Checkpoints
from ann.training.diagnostics import raise_if_diverged
from ann.training.distributed import SINGLE_PROCESS, Processes
from ann.training.epoch_loss import evaluate
from ann.training.recipe import Recipe
from ann.training.report import EpochReport, EpochReports
from ann.training.run import Run
from ann.training.trainer import Trainer
from ann.training.training_data import check_training_data


def fit(
    network: NeuralNetwork,
    dataset: Dataset,
    recipe: Recipe,
    callbacks: Sequence[Callback | Callable[[EpochReport], object]] = (),
    on_batch: Callable[[int], object] | None = None,
    checkpoints: Checkpoints | None = None,
    weights: Any = None,
    processes: Processes = SINGLE_PROCESS,
) -> EpochReports:
    """Train a network in place on a data set's training images. The test images are not used.

        data = ann.load_dataset("mnist")  # or ann.Dataset(x_train, y_train, x_test, y_test)
        recipe = ann.Recipe(epochs=3)
        net = recipe.network(data)
        reports = ann.fit(net, data, recipe, callbacks=[print])

    From Python, images may also be finite floats (N, I), which are used unchanged, and labels may
    be target rows (N, O), as in ``NeuralNetwork.train_batch``. If these are not one-hot, a
    validation image counts as right if each output is above 0.5 exactly where its target is.

    Args:
        network: a network whose inputs and outputs fit the data. Everything random follows from its
            seed. Each member of a committee has its own order and distortions, so it learns the
            same as it would alone. Only early stopping, callbacks and divergence concern all
            members at once.
        dataset: its last ``recipe.validation`` training images are the validation images, which are
            not trained on.
        recipe: how to train. The network keeps its own layers, loss and number of members. Give the
            recipe the same activation and loss anyway: its default rates depend on them.
        callbacks: ``Callback`` objects, or functions that are called with the report of every
            epoch. If one returns True, training ends. Training continues from parameters that a
            callback changes, except with averaging or batch normalisation: then it continues from
            its own copy.
        on_batch: called after each batch with its number of images. If it returns True, training
            stops in the middle of the epoch: a checkpoint is written, and the network gets the
            current parameters. Otherwise the network gets them at the end of each epoch.
        checkpoints: where to keep a checkpoint. If it exists, training resumes from it, and ends
            with exactly the parameters that it would have had without the stop. Callbacks are
            called for the remaining epochs. A finished run is trained further if the recipe now
            has more epochs; the learning rate then follows the schedule for the new number.
        weights: (N,) numbers of at least 0, one for each training image: its relative weight in the
            loss; None: equal weights. The reported training losses are weighted as well.
        processes: the processes that train together, each on its share of every batch; see ``mpi``.
            All must call ``fit`` with the same arguments, including equal networks and data sets.
            The result is that of a single process, up to rounding. The first process writes the
            checkpoints.

    If something looks wrong, a ``TrainingWarning`` says what to try; see ``diagnostics``. Another
    warns if the validation images have different classes from the rest, as in sorted data.

    Returns:
        The reports of all epochs, including those before a checkpoint. A notebook shows them as
        curves.

    Raises:
        ValueError: the network, the data and the recipe do not fit together.
        DivergenceError: the loss or a parameter is no longer finite, and the network is useless.
        CheckpointError: the checkpoint is damaged, or from a different network, recipe or data set.
        KeyboardInterrupt: Ctrl-C, or an interrupted notebook cell. The network keeps the parameters
            of the last step, and the message gives the number of epochs.
        OSError: training was stopped, and its checkpoint cannot be written. At other times such a
            failure is only a warning, and training continues.
    """
    data = check_training_data(network, dataset, recipe, weights, processes)
    with network.backend.ignore_overflow():
        images = ImageSet(network, data.images, data.labels, recipe, data.shape, data.weights)
        trainer = Trainer(network, images, recipe, processes)
        validation = ImageSet(network, data.validation_images, data.validation_labels)
    run = Run(network, recipe, data, trainer, processes)
    state, steps = run.state, trainer.steps  # the progress, as in a checkpoint; steps in an epoch
    rate = get_schedule(recipe.schedule, recipe.learning_rate, steps * recipe.epochs, recipe.warmup)
    all_callbacks = callbacks_of(run, callbacks, on_batch, checkpoints)
    for callback in all_callbacks:
        callback.at_start()  # the checkpointer restores the state
    has_pixels = data.images.dtype.name == "uint8"  # the model file keeps a few for its self-test
    network.self_test_images = data.images[:SELF_TEST_IMAGES] if has_pixels else None
    stopped = False
    try:
        while not (state.finished or stopped):
            for callback in all_callbacks:
                callback.before_epoch()
            epoch = state.epoch
            order = drawn(network.seeds, "order", epoch, lambda rng: rng.permutation(images.count))
            rates = [rate(step) for step in range((epoch - 1) * steps, epoch * steps)]
            # A resumed epoch begins at ``state.step``, after ``state.seconds`` of training
            started = time.perf_counter() - state.seconds
            with network.backend.ignore_overflow():
                # Each turn is a step on one batch: forward, backward, update
                for count in trainer.epoch(order, epoch, rates, start=state.step):
                    state.step, state.seconds = state.step + 1, time.perf_counter() - started
                    stopped = run.stops([callback.after_step(count) for callback in all_callbacks])
                    if stopped:
                        break
                if state.step < steps:
                    break  # stopped within the epoch, which gets no report
                loss = float(trainer.loss.sum(order)) / images.count  # waits for the device
                seconds = processes.gather(time.perf_counter() - started)[0]
                raise_if_diverged(network, loss, epoch, recipe)
                measured = evaluate(network, validation, processes) if recipe.validation else None
            speed = images.count / seconds
            report = EpochReport(epoch, recipe.epochs, loss, rates[-1], seconds, speed, measured)
            state.reports.append(report)
            state.epoch, state.step, state.seconds = epoch + 1, 0, 0.0
            ended = run.stops([callback.after_epoch(report) for callback in all_callbacks])
            state.finished = ended or epoch == recipe.epochs
    except KeyboardInterrupt as error:
        progress = f"{state.epoch - 1 + state.step / steps:.2f} of {recipe.epochs} epochs"
        text = f"training was interrupted after {progress}; the network keeps what it has learnt"
        raise type(error)(text) from None  # SIGTERM raises a subclass
    if state.finished:
        network.recipe = recipe.training_fields()
        if dataset.classes != tuple(map(str, range(len(dataset.classes)))):
            network.recipe["classes"] = list(dataset.classes)
    for callback in all_callbacks:
        callback.at_end()
    return EpochReports(state.reports)
