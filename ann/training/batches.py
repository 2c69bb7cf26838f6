"""Batches of a training's images, made on the device: gathered, distorted, with some pixels silenced. All that is made
for one size of batch lasts, so that making another of that size can be played as part of a recorded step.
"""

from __future__ import annotations

from ann.backends.base import Array, Backend
from ann.data.distortion import DistortedBatch
from ann.neural_network import CHUNK, NeuralNetwork, slices
from ann.nn.dropout import Mask
from ann.training.images import Images, distorter
from ann.training.recipe import Recipe


class Batches:
    """Makes batches of a training's images.

    Attributes:
        rows, usual_rows: device arrays that bring the network's inputs into the order in which batches have them, those
            that are left out first, and back.
        black: how many inputs are left out: pixels that are black in all images.
        floats: whether the images are floats, and no pixels.
        scale: what times a batch is what the network reads: 1/255 for pixels, 1 for floats.
        white: what times the scale is 1, the input that biases weigh.
        weights: how much each image counts, or None.
    """

    def __init__(self, network: NeuralNetwork, images: Images, recipe: Recipe) -> None:
        xp, upload = network.xp, network.backend.from_host
        self.inputs, self.dtype, self.input_dropout = network.input_dim, network.dtype, recipe.input_dropout
        self.targets, self.numbers = images.targets, xp.arange(images.count, dtype=xp.uint32)
        self.floats = images.pixels.dtype != xp.uint8
        self.scale, self.white = (1.0, 1.0) if self.floats else (network.pixel_scale, 255.0)
        self.weights = images.weights
        self.distorter = distorter(network, images, recipe)
        self.random = bool(recipe.dropout or recipe.input_dropout or self.distorter)  # what follows from the image
        # A distorted image may be lit anywhere, and one that is moved is
        everywhere = self.distorter is not None or recipe.adversarial > 0
        self.black = 0 if everywhere else images.black
        rows = images.rows.copy()
        if everywhere:
            rows.sort()
        self.rows, self.usual_rows = upload(rows), upload(rows.argsort())
        if not self.distorter:
            # The pixels that are not black in all images, and one more, white, which the biases weigh
            size = images.count, self.inputs + 1 - self.black
            self.pixels = xp.full(size, self.white, dtype=images.pixels.dtype)
            seen = self.rows[self.black : -1]
            for chunk in slices(images.count, CHUNK):
                self.pixels[chunk, :-1] = xp.take(images.pixels[chunk, :], seen, axis=1)


class Batch:
    """Batches of one size.

    Args:
        backend: what computes.
        batches: what they are made of.
        chosen: (..., N) device array: the numbers of the images.
        pixel_key, distortion_key: (..., 1) device arrays, uint32, which decide, with the image, what is silenced and
            how it is distorted, and change from epoch to epoch.

    Attributes:
        x: (..., N, I + 1) device array of floats: pixels, from 0 to 255, and a column of 255, which the biases weigh;
            or floats, and a column of 1.
        targets: (..., N, O) device array: the target rows.
        weights: (..., N, 1) device array: how much each image counts; or None.
        numbers: (..., N) device array, uint32: the same as ``chosen``, as what is random knows them.
    """

    def __init__(
        self, backend: Backend, batches: Batches, chosen: Array, pixel_key: Array, distortion_key: Array
    ) -> None:
        xp = backend.xp
        self._backend, self._batches = backend, batches
        shape = (*chosen.shape, batches.inputs + 1 - batches.black)
        self.x = xp.empty(shape, dtype=batches.dtype)
        self.x[..., -1:] = xp.full((chosen.shape[-1], 1), batches.white, dtype=batches.dtype)
        self.targets = xp.empty((*chosen.shape, batches.targets.shape[1]), dtype=batches.dtype)
        self.numbers = xp.empty_like(chosen, dtype=xp.uint32)
        self.weights = None if batches.weights is None else xp.empty((*chosen.shape, 1), dtype=batches.dtype)
        self._pixels = self.x if batches.floats else xp.empty(shape, dtype=xp.uint8)
        lit = self.x[..., :-1]
        # The images of all members of a committee in a row
        self._chosen, self._flat_numbers = (xp.reshape(array, (-1,), copy=False) for array in (chosen, self.numbers))
        self._flat_x, self._flat_pixels, self._flat_targets = (
            xp.reshape(array, (self._chosen.shape[0], -1), copy=False) for array in (self.x, self._pixels, self.targets)
        )
        if self.weights is not None:
            self._flat_weights = xp.reshape(self.weights, (-1, 1), copy=False)
        self._distorted, self._mask, self._lit = None, None, lit
        if batches.distorter:
            out = self._flat_x[:, :-1]
            self._distorted = DistortedBatch(batches.distorter, backend, chosen, self.numbers, distortion_key, out)
        if batches.input_dropout:
            self._mask = Mask(backend, batches.input_dropout, self.numbers, pixel_key, lit)

    def draw(self) -> None:
        """Make the batch of the images and the keys that are now in their arrays."""
        backend, xp, batches = self._backend, self._backend.xp, self._batches
        if batches.random:
            xp.take(batches.numbers, self._chosen, axis=0, out=self._flat_numbers)
        xp.take(batches.targets, self._chosen, axis=0, out=self._flat_targets)
        if self.weights is not None:
            xp.take(batches.weights, self._chosen, axis=0, out=self._flat_weights)
        if self._distorted:
            self._distorted.draw()
        else:
            xp.take(batches.pixels, self._chosen, axis=0, out=self._flat_pixels)
            if not batches.floats:
                backend.copyto(self._pixels, out=self.x)
        if self._mask:
            self._mask.draw()
            xp.multiply(self._lit, self._mask.numbers, out=self._lit)
