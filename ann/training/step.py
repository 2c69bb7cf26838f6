"""One step of training: fill the batch, forward, backward, update."""

from collections.abc import Callable
from functools import partial

from ann.backends.base import Array
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.network import Network
from ann.optim.constraints import GradientClipping, MaxNorm, MovingAverage
from ann.optim.registry import get_optimizer
from ann.optim.scalars import Scalars
from ann.training.adversarial import Adversary
from ann.training.batches import BatchBuffer
from ann.training.recipe import Recipe

# For batch normalisation: averages over about ten batches. If the parameters are averaged over more
# steps, so are the statistics
_STATISTICS_DECAY = 0.9


class Update:
    """Computes new parameters from the gradients. Call it once per step.

    It sums the gradients over all processes, clips them, runs the optimizer, limits the norms of
    the weights and updates the moving averages, each only if it is needed.

    Args:
        network, statistics: of the ``TrainingModel``.
        scalars: provides the numbers that change from step to step, such as the learning rate.
        all_reduce: sums an array over all processes; None for a single process.

    Attributes:
        accumulate: the backward pass multiplies the old gradients by this before it adds new ones;
            see ``Optimizer``.
        state: the vectors that last from step to step, by name. A checkpoint stores them.
        parts: the functions to call, in order.
    """

    def __init__(
        self,
        network: Network,
        statistics: Array,
        recipe: Recipe,
        scalars: Scalars,
        all_reduce: Callable[[Array], None] | None,
    ) -> None:
        backend = network.backend
        self.parts: list[Callable[[], object]] = []
        if all_reduce:
            self.parts.append(partial(backend.call, partial(all_reduce, network.gradients)))
        if recipe.clip:
            self.parts.append(GradientClipping(backend, network.gradients, recipe.clip))
        optimizer = get_optimizer(
            recipe.optimizer,
            backend,
            network.parameters,
            network.gradients,
            [weight.shape[-2:] for weight in network.weights()],
            scalars,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            accumulate=not self.parts,
        )
        self.parts.append(optimizer.update)
        self.accumulate = optimizer.accumulate
        self.state = {"parameters": network.parameters, **optimizer.state}
        if recipe.max_norm:
            self.parts.append(MaxNorm(backend, network.weights()[:-1], recipe.max_norm))
        for name, vector, decay in (
            ("average", network.parameters, recipe.average),
            ("statistics", statistics, max(_STATISTICS_DECAY, recipe.average)),
        ):
            if decay and vector is not None:
                average = MovingAverage(backend, vector, decay, scalars)
                self.parts.append(average)
                self.state[name] = average.parameters

    def __call__(self) -> None:
        for part in self.parts:
            part()


class Step:
    """A training step on batches of one size: fill the batch, forward, backward, update.

    Each call is one step. Its arrays are allocated once, so ``backend.compile`` can record a call
    and replay it.

    Args:
        network: in its training form; see ``TrainingModel``.
        share: the fraction of the batch that this process has.
        adversarial: how far each image is moved for a second pass; see ``Adversary``. 0: none.

    Attributes:
        network: a copy that shares the parameters but has its own working arrays.
        logits: (..., N, O) device array: the logits of the last batch.
    """

    def __init__(
        self, network: Network, batch: BatchBuffer, update: Update, share: float, adversarial: float
    ) -> None:
        self.backend = network.backend
        self.batch = batch
        self.update = update
        self.adversary = Adversary(self.backend, adversarial, batch.x) if adversarial else None
        self.logits: Array = self.backend.xp.empty_like(batch.targets)
        network = self.network = network.with_own_arrays()
        for layer in network.layers:
            if isinstance(layer, Dropout):
                layer.images = batch.image_ids
            elif isinstance(layer, BatchNorm):
                layer.share = share
        # The network's loss is a mean over this process's part of the batch, so ``share`` makes the
        # sum over all processes the mean over the batch. If there are two passes, each counts half
        scale = share * (0.5 if adversarial else 1.0)
        self.backpropagate = partial(
            network.backpropagate, targets=batch.targets, weights=batch.weights, scale=scale
        )

    def __call__(self) -> None:
        self.batch.fill()
        x, accumulate = self.batch.x, self.update.accumulate
        if self.adversary:  # the gradient is the mean of those for original and moved images
            logits, dx = self.backpropagate(x, accumulate=accumulate, input_gradient=True)
            self.backend.copyto(logits, out=self.logits)
            self.adversary.move(dx)
            self.backpropagate(self.adversary.images, accumulate=1.0)
        else:
            self.logits, _ = self.backpropagate(x, accumulate=accumulate)
        self.update()
