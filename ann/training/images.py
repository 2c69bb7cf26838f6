"""The images and labels of a training on their device, where they stay: which pixels can be left out, what the targets
are, how much each counts, and what distorts them.
"""

from __future__ import annotations

from typing import Any

from ann.data.distortion import Distorter
from ann.neural_network import NeuralNetwork
from ann.training.black_pixels import black_first
from ann.training.recipe import Recipe
from ann.validation import check_targets


class Images:
    """Images and labels on the device.

    ``rows`` and ``black``: see ``black_first``. ``shape`` is that of one image, for training that distorts them.
    With ``label_smoothing``, a target is that share of 1 / classes and the rest of what the label says: Szegedy et al.
    (2016), section 7. Where labels are target rows that are not one-hot, ``labels`` is None. ``weights`` (N, 1), or
    None: how much each image counts, 1 on average.
    """

    def __init__(
        self,
        network: NeuralNetwork,
        images: Any,
        labels: Any,
        label_smoothing: float = 0.0,
        shape: tuple[int, ...] = (),
        weights: Any = None,
    ) -> None:
        upload = network.backend.from_host
        targets = check_targets("labels", labels, len(images), network.output_dim, network.loss.targets)
        self.count = len(images)
        self.shape = shape
        self.rows, self.black = black_first(images)
        self.pixels = upload(images if images.dtype.name == "uint8" else images.astype(network.dtype_name, copy=False))
        places = _places(labels)
        self.labels = None if places is None else upload(places)
        self.weights = None
        if weights is not None:
            self.weights = upload((weights / weights.mean()).astype(network.dtype_name)[:, None])
        targets = (1.0 - label_smoothing) * targets + label_smoothing / network.output_dim
        self.targets = upload(targets.astype(network.dtype_name))


def _places(labels: Any) -> Any:
    """Labels, or those of one-hot target rows; None for other rows."""
    if labels.ndim == 1:
        return labels
    one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
    return labels.argmax(axis=1) if one_hot else None


def distorter(network: NeuralNetwork, images: Images, recipe: Recipe) -> Distorter | None:
    """Distorts the images as the recipe wants, or None. Raises ValueError if they are not pictures."""
    if not recipe.strengths.any:
        return None
    xp = network.xp
    if len(images.shape) != 2 or images.pixels.dtype != xp.uint8:
        raise ValueError("train_images: distortions need images of shape (N, height, width), of uint8 pixels")
    rotation_shares = xp.ones(images.count, dtype=network.dtype)
    if images.labels is not None:
        rotated_less = (images.labels == 1) | (images.labels == 7)  # otherwise they would become other digits
        rotation_shares = 1.0 - 0.5 * xp.astype(rotated_less, network.dtype)
    return Distorter(network.backend, images.pixels, images.shape, recipe.strengths, rotation_shares)
