"""The training loss of an epoch, and the loss on validation images after it.

Each step stores its logits here, and the training loss is computed from all of them at the end of
the epoch. Computing it in every step would take 10 % of a small network's training time.
"""

from typing import Any

from ann.backends.base import Array
from ann.neural_network import Evaluation, NeuralNetwork, slices
from ann.training.batches import ImageSet
from ann.training.distributed import Processes, shard

_AT_ONCE = 2**20  # logits whose losses are computed together, at most, to limit memory


class EpochLoss:
    """Stores logits, and computes the loss.

    Attributes:
        logits: (..., count, O) device array, in training order. With several processes, each sets
            only the rows of its own images.
    """

    def __init__(
        self, network: NeuralNetwork, images: ImageSet, batch_size: int, processes: Processes
    ) -> None:
        self._network = network
        self._images = images
        self._processes = processes
        batches = [shard(processes, batch) for batch in slices(images.count, batch_size)]
        self._own = [part for part, share in batches if share]
        shape = (*network.network.leading, images.count, network.output_dim)
        self.logits = network.backend.xp.zeros(shape, dtype=network.network.dtype)

    def sum(self, order: Any) -> Array:
        """The weighted sum of an epoch's losses, averaged over members: a 0-d device array.

        order: host array (..., count): the indices of the images in training order.
        """
        network, images, xp = self._network, self._images, self._network.backend.xp
        self.gather()
        order = network.backend.from_host(order)
        total = xp.zeros(network.network.leading, dtype=network.network.dtype)
        for chunk in slices(images.count, max(1, _AT_ONCE // network.output_dim)):
            logits, indices = self.logits[..., chunk, :], order[..., chunk]
            targets = _rows(xp, images.targets, indices)
            weights = None if images.weights is None else _rows(xp, images.weights, indices)
            mean = network.network.loss.value(network.backend, logits, targets, weights)
            total += mean * float(logits.shape[-2])
        return xp.mean(total)

    def gather(self) -> None:
        """Copy the logits of each process to all others."""
        if self._processes.size > 1:
            total = self._network.backend.xp.zeros_like(self.logits)
            for part in self._own:
                total[..., part, :] = self.logits[..., part, :]
            self._processes.sum(total)
            self.logits[...] = total


def _rows(xp: Any, array: Array, indices: Array) -> Array:
    """The rows (..., M) of an array (N, M) with these indices (...)."""
    rows = xp.take(array, xp.reshape(indices, (-1,)), axis=0)
    return xp.reshape(rows, (*indices.shape, -1), copy=False)


def evaluate(network: NeuralNetwork, images: ImageSet, processes: Processes) -> Evaluation:
    """The mean loss and the errors on these images. Each process measures its share of them."""
    part, share = shard(processes, slice(0, images.count))
    found = (0.0, 0)
    if share:
        own = images.pixels[part, :], images.targets[part, :]
        found = network.measure(*own, one_hot=images.one_hot)
    losses, errors = zip(*processes.gather(found), strict=True)
    return Evaluation(sum(losses) / images.count, sum(errors), images.count)
