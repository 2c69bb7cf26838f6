"""Training: the loop over epochs and batches. Images go to the device once, nothing but checkpoints comes back from it
within an epoch, and all that is random is drawn from the network's seed.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ann.data.datasets import Dataset
from ann.errors import DivergenceError, TrainingWarning
from ann.files.digest import digest
from ann.neural_network import SELF_TEST_IMAGES, NeuralNetwork, slices
from ann.nn.rng import drawn
from ann.optim.schedules import get_schedule
from ann.training.checkpoint_file import fingerprints
from ann.training.checkpointer import Checkpointer, Checkpoints
from ann.training.diagnostics import Diagnostics, lower_rate
from ann.training.distributed import SINGLE_PROCESS, Processes, check_same, on_all, shard
from ann.training.early_stopping import EarlyStopping
from ann.training.images import Images
from ann.training.recipe import Recipe
from ann.training.report import EpochReport, Evaluation
from ann.training.trainer import Steps
from ann.validation import check_images, check_labels, check_targets, check_weights, host_array

_SURELY = 20  # if so many validation images of a class are expected, having none is no coincidence (1 in 10^8)
_LISTED = 10  # classes that a warning names


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

    From Python the images may also be finite floats, of shape (N, I), which are taken as they are, and the labels
    target rows (N, O), as in ``NeuralNetwork.train_batch``. Where those are not one-hot, a held-out image is wrong
    unless each of its outputs is above 0.5 just where its target is.

    Args:
        network: any network whose inputs and outputs fit the data; all that is random comes from its seed. In a
            committee each member gets its own order and distortions, and becomes what it would have become alone; only
            what ends a training, early stopping, callbacks and divergence, looks at all together.
        dataset: of its training images, the last ``recipe.validation`` are held out, and only measured.
        recipe: how to train. The network keeps its own layers, loss and number of members. Give the recipe the same
            activation and loss anyway: its default rates depend on them.
        callbacks: each is called with every epoch's report. Where one returns True, training ends with this epoch.
            Training goes on from the parameters that they leave, unless those are others than training has, as averages
            and with batch normalisation.
        on_batch: called after each batch with its number of images; on a GPU the batch may still be queued. Where it
            returns True, training stops there, in the middle of the run: a checkpoint is written, and the network has
            the parameters at that moment. At the end of an epoch they replace what is then in it.
        checkpoints: where to keep a checkpoint. Where there is one already, training goes on from it and ends with the
            very parameters that it would have had without a stop, and callbacks see the epochs that are left.
        weights: (N,) numbers of at least 0, one for each training image: how much it counts in what is learnt, next to
            the others; None: all alike. Losses that are reported count all alike.
        processes: those that train together, each with a network and a data set of its own that are the same as all
            others', and each on its share of every batch; see ``mpi``. It becomes the training that one process would
            have made, to rounding, for any number of them. All must call this alike; the first one writes checkpoints.

    Where something looks wrong, there is one ``TrainingWarning`` that says what to try; see ``diagnostics``. There is
    also one if the validation images have different classes from the rest, which happens when the data are sorted.

    Returns:
        The reports of all epochs, those before a checkpoint included.

    Raises:
        ValueError: the recipe does not fit the data, or the data not the network.
        DivergenceError: the loss or a parameter is no longer finite; the network is then of no use.
        CheckpointError: the checkpoint is damaged, or of another network, recipe or data.
        OSError: training was stopped, and no checkpoint can be written. Otherwise that is a warning, and training goes
            on.
    """
    functions = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    if not functions or not (checkpoints is None or isinstance(checkpoints, Checkpoints)):
        raise ValueError("callbacks: expected a list of functions, and for checkpoints ann.Checkpoints(path) or None")

    def parts() -> tuple[tuple[int, ...], tuple[Any, Any], tuple[Any, Any], Any]:
        shape, training, held_out = _split(network, dataset, recipe)
        if recipe.batch_size < processes.size:
            raise ValueError(
                f"batch_size: {recipe.batch_size} images a batch are too few for {processes.size} processes"
            )
        network.warn_of_unscaled("train_images", training[0], stacklevel=5)
        if processes.rank == 0 and (problem := _sorted_labels(training[1], held_out[1])):
            warnings.warn(f"validation: {problem}", TrainingWarning, stacklevel=4)
        count = len(training[0])
        return shape, training, held_out, _checked_weights(weights, count + recipe.validation, count)

    shape, training, held_out, weights = on_all(processes, parts)
    images, labels = training
    with network.backend.ignore_overflow():
        training_set = Images(network, images, labels, recipe.label_smoothing, shape, weights)
        validation = Images(network, *held_out) if recipe.validation else None
        steps = Steps(network, training_set, recipe, processes)
        stopping = EarlyStopping(network, recipe.early_stopping) if recipe.early_stopping else None
        diagnostics = Diagnostics(network, *training, recipe) if processes.rank == 0 else None
        arrays = [*training, *held_out, *([] if weights is None else [weights])]
        run = _run(network, recipe, arrays)
        if processes.size > 1:
            check_same(processes, run())
        checkpointer = Checkpointer(checkpoints, network, steps, stopping, run, processes)
    state, xp = checkpointer.state, network.xp
    network.self_test_images = images[:SELF_TEST_IMAGES] if images.dtype.name == "uint8" else None
    rate = get_schedule(recipe.schedule, recipe.learning_rate, steps.count * recipe.epochs, recipe.warmup)
    interrupted = False

    def on_step(done: int, size: int) -> bool:
        nonlocal interrupted
        interrupted = processes.any_process(on_batch is not None and on_batch(size) is True)
        checkpointer.after_step(done)
        return interrupted

    while not state.finished and not interrupted:
        epoch = state.epoch
        checkpointer.start_clock()
        first = (epoch - 1) * steps.count
        rates = [rate(step) for step in range(first, first + steps.count)]
        with network.backend.ignore_overflow():
            order = drawn(network.seeds, "order", epoch, lambda random: random.permutation(training_set.count))
            done = steps.epoch(order, first, rates, on_step, state.step)
            if done < steps.count:
                checkpointer.stopped()
                break
            totals = xp.sum(network.parameters, axis=-1)  # finite only where each is
            mean_loss = float(steps.loss(order)) / training_set.count  # the one wait for the device
            diverged = not (math.isfinite(mean_loss) and math.isfinite(float(xp.sum(totals))))
        seconds = processes.gather(checkpointer.seconds())[0]
        if diverged:
            finite = [math.isfinite(total) for total in network.backend.to_host(totals).reshape(-1).tolist()]
            raise DivergenceError(
                f"training diverged in epoch {epoch} of {recipe.epochs}{_whose(network, finite)}: the numbers "
                f"overflowed; {lower_rate(recipe)}"
            )
        with network.backend.ignore_overflow():
            measured = _evaluate(network, validation, processes) if validation else None
        report = EpochReport(
            epoch=epoch,
            epochs=recipe.epochs,
            loss=mean_loss,
            learning_rate=rates[-1],
            seconds=seconds,
            images_per_second=training_set.count / seconds,
            validation=measured,
        )
        ended = stopping.update(report) if stopping else False
        for callback in callbacks:
            ended = callback(report) is True or ended
        ended = processes.any_process(ended)
        if ended or epoch == recipe.epochs:
            state.finished = True
            if stopping:
                stopping.restore()
        checkpointer.after_epoch(report)
        if diagnostics and not state.finished:
            diagnostics.after_epoch(state.reports, state.warned_of)
    trained = checkpointer.end()
    if state.finished:
        network.recipe = recipe.training_fields()
        if diagnostics and trained:  # last of all, since users may turn warnings into errors
            diagnostics.after_epoch(state.reports, state.warned_of)
    return state.reports


def _run(network: NeuralNetwork, recipe: Recipe, arrays: Sequence[Any]) -> Callable[[], dict[str, Any]]:
    """What must be the same for a run to be this one; it takes a moment to find out."""
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
        "data": {"SHA-256": digest(*arrays)},
    }


def _whose(network: NeuralNetwork, finite: Sequence[bool]) -> str:
    """Which members of a committee diverged, where that is known."""
    seeds = [str(seed) for seed, good in zip(network.seeds, finite, strict=True) if not good]
    if not network.leading or not seeds:
        return ""
    return f", the member{'s' * (len(seeds) > 1)} with seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"


def _sorted_labels(trained_on: Any, held_out: Any) -> str:
    """A warning if the validation images (the last ones) have different classes from the rest, otherwise ""."""
    before, last = (_counts(labels) for labels in (trained_on, held_out))
    advice = "if the images are sorted, shuffle them with their labels"
    if unknown := sorted(last.keys() - before.keys()):
        images = min(sum(last[label] for label in unknown), len(held_out))  # an image may have several labels
        return (
            f"{images} of {len(held_out)} validation images show classes that are not in the training images "
            f"({_listed(unknown)}); {advice}"
        )
    share = len(held_out) / len(trained_on)
    if absent := sorted(label for label in before.keys() - last.keys() if before[label] * share >= _SURELY):
        return f"no validation image shows some classes that are in the training images ({_listed(absent)}); {advice}"
    return ""


def _counts(labels: Any) -> Counter[int]:
    """How many images each class has. Empty for target rows with other values than 0 and 1, which have no classes."""
    if labels.ndim == 1:
        return Counter(labels.tolist())
    if not ((labels == 0) | (labels == 1)).all():
        return Counter()
    return +Counter(dict(enumerate(labels.sum(axis=0).astype("int64").tolist())))


def _listed(classes: Sequence[int]) -> str:
    return ", ".join(map(str, classes[:_LISTED])) + ", ..." * (len(classes) > _LISTED)


def _checked_weights(weights: Any, given: int, trained_on: int) -> Any:
    """The weights of the images that are trained on, or None. Raises ValueError where they are none, or all 0."""
    if weights is None:
        return None
    checked = check_weights("weights", weights, given)[:trained_on]
    if not checked.any():
        raise ValueError("weights: they are zero for all images that are trained on, so that nothing would be learnt")
    return checked


def _evaluate(network: NeuralNetwork, images: Images, processes: Processes) -> Evaluation:
    """Apply a network to images, each process to its share.

    It draws no random number and changes nothing, so training goes on as without.
    A committee's mistakes are those of its outputs, and its loss is the mean of its members'.
    """
    xp = network.xp
    loss_sum = xp.zeros((), dtype=network.dtype)
    wrong = xp.zeros((), dtype=xp.int64)
    x = None
    part, share = shard(processes, slice(0, images.count))
    for place in slices(part.stop - part.start, network.chunk):
        chunk = slice(part.start + place.start, part.start + place.stop)
        x, scale = network.inputs(images.pixels[chunk, :], room=x)
        logits = network.logits(x, scale)
        loss = network.loss.value(network.backend, logits, images.targets[chunk, :])
        loss_sum += xp.mean(loss) * float(logits.shape[-2])
        outputs = network.outputs(logits)
        if images.labels is None:
            wrong += xp.count_nonzero(xp.any((outputs > 0.5) != (images.targets[chunk, :] > 0.5), axis=-1))
        else:
            wrong += xp.count_nonzero(xp.argmax(outputs, axis=-1) != images.labels[chunk])
    found = (float(loss_sum), int(wrong)) if share else (0.0, 0)
    losses, mistakes = zip(*processes.gather(found), strict=True)
    return Evaluation(sum(losses) / images.count, sum(mistakes), images.count)


def _split(
    network: NeuralNetwork, dataset: Dataset, recipe: Recipe
) -> tuple[tuple[int, ...], tuple[Any, Any], tuple[Any, Any]]:
    """(the shape of an image, (training images, labels), (validation images, labels)), checked against the network and
    the recipe.
    """
    kinds: dict[str, tuple[Any, type]] = {
        "network": (network, NeuralNetwork),
        "dataset": (dataset, Dataset),
        "recipe": (recipe, Recipe),
    }
    for name, (value, kind) in kinds.items():
        if not isinstance(value, kind):
            hint = "; ann.load_dataset makes data sets" if kind is Dataset else ""
            raise ValueError(f"{name}: expected an ann.{kind.__name__}, got {type(value).__name__}{hint}")
    if recipe.committee not in (1, network.committee):
        has = f"a committee of {network.committee}" if network.leading else "one network"
        raise ValueError(f"committee: {recipe.committee} in the recipe, and this is {has}; hand committee= to both")
    pictures = host_array("train_images", dataset.train_images)
    images = check_images("train_images", pictures, network.input_dim, network.dtype_name)
    labels = host_array("train_labels", dataset.train_labels)
    if labels.ndim == 2:
        labels = check_targets("train_labels", labels, len(images), network.output_dim, network.loss.targets)
    else:
        labels = check_labels("train_labels", labels, network.output_dim, len(images))
    count = len(images) - recipe.validation
    if count < 1:
        raise ValueError(f"validation: {recipe.validation} images held out of {len(images)} leave none to train on")
    if recipe.batch_size > count:
        raise ValueError(f"batch_size: {recipe.batch_size} is more than the {count} training images")
    return pictures.shape[1:], (images[:count], labels[:count]), (images[count:], labels[count:])
