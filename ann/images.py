"""The images and labels of a training on their device, where they stay: which pixels can be left out, what the targets
are, and what distorts them.
"""

from __future__ import annotations

from typing import Any

from ann.augment import Distorter
from ann.network import NeuralNetwork
from ann.pixels import black_first
from ann.recipes import Recipe
from ann.validation import check_targets


class Images:
    """Images and labels on the device.

    ``rows`` and ``black``: see ``black_first``. ``shape`` is that of one image, for training that distorts them.
    With ``label_smoothing``, a target is that share of 1 / classes and the rest of what the label says: Szegedy et al.
    (2016), section 7.
    """

    def __init__(
        self,
        network: NeuralNetwork,
        images: Any,
        labels: Any,
        label_smoothing: float = 0.0,
        shape: tuple[int, ...] = (),
    ) -> None:
        upload = network.backend.from_host
        targets = check_targets("labels", labels, len(images), network.output_dim, network.loss.targets)
        self.count = len(images)
        self.shape = shape
        self.rows, self.black = black_first(images)
        self.pixels = upload(images)
        self.labels = upload(labels)
        targets = (1.0 - label_smoothing) * targets + label_smoothing / network.output_dim
        self.targets = upload(targets.astype(network.dtype_name))


def distorter(network: NeuralNetwork, images: Images, recipe: Recipe) -> Distorter | None:
    """What distorts the images as a recipe wants it, or None. Raises ValueError where they are no pictures."""
    if not recipe.strengths.any:
        return None
    if len(images.shape) != 2:
        raise ValueError("train_images: distortions need images of shape (N, height, width)")
    xp = network.xp
    turned_less = (images.labels == 1) | (images.labels == 7)  # which else would become others
    turning = 1.0 - 0.5 * xp.astype(turned_less, network.dtype)
    return Distorter(network.backend, images.pixels, images.shape, recipe.strengths, turning)
