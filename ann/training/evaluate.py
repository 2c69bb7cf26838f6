"""Checks after each epoch: whether training has diverged, and the loss on validation images."""

import math

from ann.errors import DivergenceError
from ann.neural_network import Evaluation, NeuralNetwork
from ann.training.batches import ImageSet
from ann.training.diagnostics import lower_rate
from ann.training.distributed import Processes, shard
from ann.training.recipe import Recipe


def evaluate(network: NeuralNetwork, images: ImageSet, processes: Processes) -> Evaluation:
    """Loss and errors on these images. Each process measures its share of them."""
    part, share = shard(processes, slice(0, images.count))
    labels = None if images.labels is None else images.labels[part]
    found = (
        network.measure(images.pixels[part, :], images.targets[part, :], labels)
        if share
        else (0.0, 0)
    )
    losses, errors = zip(*processes.gather(found), strict=True)
    return Evaluation(sum(losses) / images.count, sum(errors), images.count)


def raise_if_diverged(network: NeuralNetwork, loss: float, epoch: int, recipe: Recipe) -> None:
    """Raise DivergenceError if the loss or a parameter is not finite. It names diverged members."""
    xp = network.backend.xp
    sums = network.backend.to_host(xp.sum(network.parameters, axis=-1))  # finite if all terms are
    finite = [math.isfinite(total) for total in sums.reshape(-1).tolist()]
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
        f"training diverged in epoch {epoch} of {recipe.epochs}{whose}: the numbers overflowed; "
        f"{lower_rate(recipe)}"
    )
