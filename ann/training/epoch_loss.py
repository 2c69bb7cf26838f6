"""The training loss of an epoch. Each step stores its logits here, and the loss is computed from
all of them at the end of the epoch: in every step it would take a tenth of a small network's time.
"""

from typing import Any

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork, slices
from ann.training.batches import ImageSet
from ann.training.distributed import Processes, shard

_NUMBERS = 16_000  # logits in a chunk: arrays of 64 kB stay in the cache


class EpochLoss:
    """Stores logits, and computes the loss.

    Attributes:
        logits: (..., count, O) device array, in training order. With several processes, each fills
            the rows of its own images.
    """

    def __init__(
        self, network: NeuralNetwork, images: ImageSet, batch_size: int, processes: Processes
    ) -> None:
        xp = network.backend.xp
        self._network = network
        self._images = images
        self._processes = processes
        # zeros: rows of other processes are multiplied by 0, and 0 times NaN is NaN
        self.logits = xp.zeros(
            (*network.network.leading, images.count, network.output_dim),
            dtype=network.network.dtype,
        )
        if processes.size > 1:
            shares = [shard(processes, batch) for batch in slices(images.count, batch_size)]
            parts = [part for part, share in shares if share]
            self._own = xp.zeros((images.count, 1), dtype=network.network.dtype)
            for part in parts:
                self._own[part, :] = xp.ones(
                    (part.stop - part.start, 1), dtype=network.network.dtype
                )
            self._own_rows = xp.concat(
                [xp.arange(part.start, part.stop, dtype=xp.int64) for part in parts]
            )

    def sum(self, order: Any) -> Array:
        """The weighted sum of an epoch's losses, averaged over members: a 0-d device array.

        order: host array (..., count): the indices of the images in training order.
        """
        network, xp = self._network, self._network.backend.xp
        order = network.backend.from_host(order)
        all_logits = self.logits
        if self._processes.size > 1:
            order = xp.take(order, self._own_rows, axis=-1)
            all_logits = xp.take(all_logits, self._own_rows, axis=-2)
        total = xp.zeros(network.network.leading, dtype=network.network.dtype)
        for chunk in slices(order.shape[-1], max(1, _NUMBERS // network.output_dim)):
            logits = all_logits[..., chunk, :]
            targets = xp.take(self._images.targets, xp.reshape(order[..., chunk], (-1,)), axis=0)
            targets = xp.reshape(targets, logits.shape, copy=False)
            total += self._sum(logits, targets, order[..., chunk])
        if self._processes.size == 1:
            return xp.mean(total)
        mean = xp.reshape(xp.mean(total), (1,))
        self._processes.sum(mean)
        return mean[0, ...]

    def _sum(self, logits: Array, targets: Array, indices: Array) -> Array:
        """The sum (...) of the losses of these images, each times its weight."""
        backend, xp = self._network.backend, self._network.backend.xp
        value = self._network.network.loss.value
        if self._images.weights is None:
            return value(backend, logits, targets) * float(logits.shape[-2])
        weights = xp.take(self._images.weights, xp.reshape(indices, (-1,)), axis=0)
        # The mean loss of a batch of one image is the loss of this image
        shape = (*logits.shape[:-1], 1, logits.shape[-1])
        each = value(backend, *(xp.reshape(rows, shape) for rows in (logits, targets)))
        return xp.sum(each * xp.reshape(weights, each.shape), axis=-1)

    def gather(self) -> None:
        """Give every process the logits of all."""
        if self._processes.size > 1:
            self._network.backend.xp.multiply(self.logits, self._own, out=self.logits)
            self._processes.sum(self.logits)
