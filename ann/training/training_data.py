"""Checks the arguments of ``fit``: the network, the data and the recipe must fit together."""

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ann.data.datasets import Dataset
from ann.errors import TrainingWarning, printable
from ann.neural_network import NeuralNetwork
from ann.training.distributed import Processes, on_all
from ann.training.recipe import Recipe
from ann.validation import (
    check_images,
    check_labels,
    check_targets,
    check_type,
    check_weights,
    host_array,
)

# If this many validation images of a class are expected, having none is hardly ever a coincidence
# (1 in 10^8)
_SURELY = 20
_LISTED = 10  # how many classes a warning names


@dataclass(frozen=True)
class TrainingData:
    """Host arrays: the images to train on and the validation images.

    Attributes:
        images, labels: (N, I), and (N,) or (N, O): to train on.
        validation_images, validation_labels: the same for validation; they may be empty.
        shape: of an image.
        weights: (N,): the weight of each training image in the loss; or None.
    """

    images: Any
    labels: Any
    validation_images: Any
    validation_labels: Any
    shape: tuple[int, ...]
    weights: Any

    @property
    def arrays(self) -> list[Any]:
        """All arrays, in a fixed order."""
        arrays = [self.images, self.labels, self.validation_images, self.validation_labels]
        return arrays if self.weights is None else [*arrays, self.weights]


def check_training_data(
    network: NeuralNetwork, dataset: Dataset, recipe: Recipe, weights: Any, processes: Processes
) -> TrainingData:
    """The checked training and validation data.

    Raises an error in all processes if something is wrong in one of them.
    """
    if not isinstance(processes, Processes):
        expected = "ann.training.mpi.MpiProcesses() in programs that mpiexec starts"
        raise ValueError(f"processes: expected {expected}, got {printable(processes)}")
    return on_all(processes, lambda: _data(network, dataset, recipe, weights, processes))


def _data(
    network: NeuralNetwork, dataset: Dataset, recipe: Recipe, weights: Any, processes: Processes
) -> TrainingData:
    check_type("network", network, NeuralNetwork)
    check_type("dataset", dataset, Dataset, "; ann.load_dataset makes data sets")
    check_type("recipe", recipe, Recipe)
    if recipe.committee not in (1, network.committee):
        has = f"a committee of {network.committee}" if network.committee > 1 else "not a committee"
        raise ValueError(
            f"committee: {recipe.committee} in the recipe, but the network is {has}; "
            "pass the same committee to both"
        )
    _check_layers(network, recipe)
    images = check_images(
        "train_images", dataset.train_images, network.input_shape, network.dtype_name
    )
    labels = host_array("train_labels", dataset.train_labels)
    if labels.ndim == 2:
        targets = network.network.loss.targets
        labels = check_targets("train_labels", labels, len(images), network.output_dim, targets)
    else:
        labels = check_labels("train_labels", labels, network.output_dim, len(images))
    count = len(images) - recipe.validation
    if count < 1:
        raise ValueError(
            f"validation: {recipe.validation} validation images of {len(images)} leave none "
            "to train on"
        )
    if recipe.batch_size > count:
        raise ValueError(
            f"batch_size: {recipe.batch_size} is more than the {count} training "
            f"image{'s' * (count > 1)}"
        )
    if recipe.batch_size < processes.size:
        raise ValueError(
            f"batch_size: {recipe.batch_size} images per batch are too few for "
            f"{processes.size} processes"
        )
    if weights is not None:
        weights = check_weights("weights", weights, len(images))[:count]
        if not weights.any():
            raise ValueError(
                "weights: all training images have weight zero, so nothing would be learnt"
            )
    network.warn_of_unscaled("train_images", images[:count], stacklevel=7)
    if processes.rank == 0 and (problem := _sorted_labels(labels[:count], labels[count:])):
        warnings.warn(f"validation: {problem}", TrainingWarning, stacklevel=6)
    return TrainingData(
        images[:count],
        labels[:count],
        images[count:],
        labels[count:],
        dataset.train_images.shape[1:],
        weights,
    )


def _check_layers(network: NeuralNetwork, recipe: Recipe) -> None:
    """Raise ValueError if the recipe changes layers that the network does not have."""
    layers = network.layer_list
    if recipe.channel_dropout and not any(layer.get("type") == "conv2d" for layer in layers):
        raise ValueError(
            "channel_dropout: there is no convolution; add a layer such as conv16x5, or use dropout"
        )
    hidden = layers[:-1]
    learning = [layer for layer in hidden if "activation" in layer]  # all but pooling
    for name, changed in (("dropout", hidden), ("batch_norm", learning), ("max_norm", learning)):
        if getattr(recipe, name) and not changed:
            raise ValueError(
                f"{name}: it is for hidden layers, and the network has none; "
                "add hidden layers, or switch it off"
            )


def _sorted_labels(trained_on: Any, last: Any) -> str:
    """A warning if the classes of the last labels, for validation, differ from the rest; or ""."""
    before, after = _counts(trained_on), _counts(last)
    share = len(last) / len(trained_on)
    classes = after.keys() - before.keys()
    if classes:
        images = min(sum(after[label] for label in classes), len(last))  # several labels per image
        problem = f"{images} of {len(last)} validation images show classes that are not"
    else:
        classes = {
            label for label in before.keys() - after.keys() if before[label] * share >= _SURELY
        }
        problem = "no validation image shows some classes that are"
    if not classes:
        return ""
    names = ", ".join(map(str, sorted(classes)[:_LISTED])) + ", ..." * (len(classes) > _LISTED)
    advice = "if the images are sorted, shuffle them with their labels"
    return f"{problem} in the training images ({names}); {advice}"


def _counts(labels: Any) -> Counter[int]:
    """The number of images per class; empty for target rows other than 0 and 1, without classes."""
    if labels.ndim == 1:
        return Counter(labels.tolist())
    if not ((labels == 0) | (labels == 1)).all():
        return Counter()
    return +Counter(dict(enumerate(labels.sum(axis=0).astype("int64").tolist())))
