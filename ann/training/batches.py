"""Training images on their device, and the batches made from them."""

import math
from typing import Any

from ann.backends.base import Array, Backend
from ann.data.distortion import DistortedBatch, Distorter
from ann.neural_network import NeuralNetwork
from ann.nn.dropout import Mask
from ann.nn.network import PIXEL_SCALE, fill_inputs
from ann.nn.rng import Purpose, drawn
from ann.training.recipe import Recipe
from ann.validation import are_one_hot, check_targets


class ImageSet:
    """Images and targets on the device.

    Args:
        network: is trained on them or applied to them.
        images: (N, I) host array: uint8 pixels, or floats.
        labels: (N,) integers or (N, O) target rows, a host array.
        recipe: how the network is trained on them; None if it is not.
        shape: of an image, for distortions.
        weights: (N,) host array: the weight of each image in the loss. None: equal weights.
        trim: whether to leave out pixels that training does not need; see ``lit_pixels``.

    Attributes:
        count: N.
        lit: (columns kept,) host array: the indices of the pixels; None for all.
        pixels: (N, columns kept) device array of uint8 or floats.
        one_hot: whether each image has one class, which is where its target is largest.
        targets: (N, O) device array of floats.
        weights: (N, 1) device array of floats with mean 1, or None.
    """

    def __init__(
        self,
        network: NeuralNetwork,
        images: Any,
        labels: Any,
        recipe: Recipe | None = None,
        shape: tuple[int, ...] = (),
        weights: Any = None,
        *,
        trim: bool = True,
    ) -> None:
        self.shape = shape
        self.lit = lit_pixels(network, images, recipe) if recipe and trim else None
        upload = network.backend.from_host
        dtype = network.dtype_name
        self.count = len(images)
        targets = check_targets(
            "labels", labels, self.count, network.output_dim, network.network.loss.targets
        )
        self.one_hot = are_one_hot(targets)
        if recipe:  # Szegedy et al. (2016), Rethinking the Inception architecture, section 7
            smoothing = recipe.label_smoothing
            targets = (1.0 - smoothing) * targets + smoothing / network.output_dim
        self.targets = upload(targets.astype(dtype))
        pixels = images if images.dtype.name == "uint8" else images.astype(dtype, copy=False)
        # pixels[:, lit] would be stored column by column, and copied whenever rows are taken
        self.pixels = upload(pixels if self.lit is None else pixels.take(self.lit, axis=1))
        self.weights = None
        if weights is not None:
            self.weights = upload((weights / weights.mean()).astype(dtype)[:, None])


def lit_pixels(network: NeuralNetwork, images: Any, recipe: Recipe) -> Any:
    """Indices of the pixels that training needs, a host array; None for all.

    These are the pixels that are not black in every training image. Black pixels add nothing to a
    sum, so skipping them is exact. For MNIST it saves 8 % of the first layer. Their weights become
    0, because nothing is learnt about them. All pixels are used if training distorts the images or
    moves them, if the optimizer is Muon, whose steps depend on the shape of the weights, or if the
    network's first weights are not its initial ones: they may have learnt about these pixels. A
    network with convolution needs all pixels, too. A few black pixels are kept, because processors
    prefer multiples of 8.
    """
    changes = recipe.strengths.any or recipe.adversarial or recipe.optimizer == "muon"
    if changes or "type" in network.layer_list[0] or not _is_new(network):
        return None
    lit = images.any(axis=0)
    black, count = (~lit).nonzero()[0], int(lit.sum())
    lit[black[: max(8, -(-count // 8) * 8) - count]] = True
    return None if lit.all() else lit.nonzero()[0]


def _is_new(network: NeuralNetwork) -> bool:
    """Whether the first weights are still the random ones of the seed.

    ``network.recipe`` does not tell: stopped training does not set it, nor does ``train_batch``.
    """
    first: Any = network.network.layers[0]
    initial = drawn(
        network.seeds, "weights", 0, lambda random: first.initial_values(random)["weight"]
    )
    weight = network.backend.to_host(first.weight)
    return bool((weight == initial.astype(network.dtype_name)).all())


def distorter(network: NeuralNetwork, images: ImageSet, recipe: Recipe) -> Distorter | None:
    """The distorter of the recipe, or None. Raises ValueError if the images are not pictures."""
    if not recipe.strengths.any:
        return None
    xp = network.backend.xp
    if len(images.shape) != 2 or images.pixels.dtype != xp.uint8:
        raise ValueError(
            "train_images: distortions need images of shape (N, height, width) with uint8 pixels"
        )
    rotation_shares = xp.ones(images.count, dtype=network.network.dtype)
    if images.one_hot:
        labels = xp.argmax(images.targets, axis=-1)
        rotated_less = (labels == 1) | (labels == 7)  # else they look like other digits
        rotation_shares = 1.0 - 0.5 * xp.astype(rotated_less, network.network.dtype)
    return Distorter(
        network.backend, images.pixels, images.shape, recipe.strengths, rotation_shares
    )


class EpochKeys:
    """Random keys, new in each epoch: dropout masks and distortions are computed from them.

    They are device arrays of uint32. In a committee, each has a row per member.

    Attributes:
        dropout: (..., L): column l is for the inputs of layer l with weights, counted from 0.
        channels: (..., L): the same for channel dropout.
        distortion: (..., 1).
    """

    def __init__(self, network: NeuralNetwork) -> None:
        xp, leading = network.backend.xp, network.network.leading
        self._network = network
        self.dropout = xp.zeros((*leading, len(network.layer_list)), dtype=xp.uint32)
        self.channels = xp.zeros_like(self.dropout)
        self.distortion = xp.zeros((*leading, 1), dtype=xp.uint32)

    def set(self, epoch: int) -> None:
        """Set the keys of an epoch, counted from 1."""
        self._draw("dropout", self.dropout, epoch)
        self._draw("channels", self.channels, epoch)
        self._draw("distortion", self.distortion, epoch)

    def _draw(self, purpose: Purpose, keys: Array, epoch: int) -> None:
        size = keys.shape[-1]
        numbers = drawn(
            self._network.seeds, purpose, epoch - 1, lambda rng: rng.integers(2**32, size=size)
        )
        keys[...] = self._network.backend.from_host(numbers.astype("uint32"))


class BatchBuffer:
    """Arrays for batches of one size. ``fill`` makes a batch, and can be compiled.

    Args:
        images: the images to choose from.
        keys: with the image, they determine its input dropout and its distortion.
        indices: the images in the first batch.

    Attributes:
        indices: (..., N) device array: the images in the batch. Set it before ``fill``.
        x: (..., N, I) device array: the inputs.
        targets: (..., N, O) device array: the target rows.
        weights: (..., N, 1) device array: the weight of each image; or None.
        image_ids: (..., N) device array, uint32: the same as ``indices``, for random bits.
    """

    def __init__(
        self,
        backend: Backend,
        images: ImageSet,
        distorter: Distorter | None,
        recipe: Recipe,
        keys: EpochKeys,
        indices: Array,
    ) -> None:
        xp, dtype = backend.xp, images.targets.dtype
        self.backend = backend
        self.uses_ids = bool(
            distorter or recipe.dropout or recipe.input_dropout or recipe.channel_dropout
        )

        def rows(numbers: Array) -> Array:
            return xp.empty((*indices.shape, numbers.shape[1]), dtype=dtype)

        def flat(array: Array) -> Array:  # the images of all members one after another
            return xp.reshape(array, (math.prod(indices.shape), -1), copy=False)

        self.indices = xp.asarray(indices, copy=True)
        self.flat_indices = xp.reshape(self.indices, (-1,), copy=False)
        self.x, self.targets = rows(images.pixels), rows(images.targets)
        self.image_ids = ids = xp.empty_like(indices, dtype=xp.uint32)
        self.flat_x = self.gathered = flat(self.x)
        if images.pixels.dtype != dtype:
            self.gathered = xp.empty_like(self.flat_x, dtype=images.pixels.dtype)
        # Rows for all images, and where to copy those of the batch
        self.copies = [(images.targets, flat(self.targets))]
        self.weights = None
        if images.weights is not None:
            self.weights = rows(images.weights)
            self.copies.append((images.weights, flat(self.weights)))
        self.distorted = self.mask = None
        if distorter:
            self.distorted = DistortedBatch(
                distorter, backend, self.indices, ids, keys.distortion, self.flat_x
            )
        else:
            self.copies.append((images.pixels, self.gathered))
        if recipe.input_dropout:
            self.mask = Mask(backend, recipe.input_dropout, ids, keys.dropout[..., :1], self.x)

    def fill(self) -> None:
        """Make the batch for the current ``indices``."""
        backend, xp = self.backend, self.backend.xp
        for rows, out in self.copies:
            xp.take(rows, self.flat_indices, axis=0, out=out)
        if self.uses_ids:
            backend.copyto(self.indices, out=self.image_ids)
        if self.distorted:
            self.distorted.fill()
            xp.multiply(self.x, PIXEL_SCALE, out=self.x)
        elif self.gathered is not self.flat_x:
            fill_inputs(backend, self.gathered, out=self.flat_x)
        if self.mask:
            self.mask.fill()
            xp.multiply(self.x, self.mask.values, out=self.x)
