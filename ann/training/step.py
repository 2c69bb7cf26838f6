"""One step of training: fill the batch, forward, backward, update."""

from collections.abc import Callable, Sequence
from functools import partial

from ann.backends.base import Array
from ann.nn.network import Network
from ann.optim.optimizer import Optimizer
from ann.training.adversarial import Adversary
from ann.training.batches import BatchBuffer

Hook = Callable[[], None]


class Step:
    """A training step on batches of one size. Call it once per step.

    Its arrays last from step to step, so ``backend.compile`` can record a call and replay it.

    Args:
        network: in its training form; see ``TrainingModel``.
        batch: makes the batches.
        optimizer: updates the parameters.
        before_update, after_update: called before and after the update.
        share: the fraction of the batch that this process has.
        adversarial: how far each image is moved for a second pass; 0: no second pass.

    Attributes:
        logits: (..., N, O) device array: the logits of the last batch.
    """

    def __init__(
        self,
        network: Network,
        batch: BatchBuffer,
        optimizer: Optimizer,
        before_update: Sequence[Hook],
        after_update: Sequence[Hook],
        *,
        share: float,
        adversarial: float,
    ) -> None:
        self.backend = network.backend
        self.batch = batch
        self.optimizer = optimizer
        self.before_update = before_update
        self.after_update = after_update
        self.adversary = Adversary(self.backend, adversarial, batch.x) if adversarial else None
        self.logits: Array = self.backend.xp.empty_like(batch.targets)
        # The loss is a mean over this process's part of the batch. Of two passes, each counts half
        factor = share * (0.5 if adversarial else 1.0)
        scales = [] if batch.weights is None else [batch.weights]
        scales += [] if factor == 1.0 else [factor]
        self.backpropagate = partial(network.backpropagate, targets=batch.targets, scales=scales)

    def __call__(self) -> None:
        self.batch.fill()
        x, accumulate = self.batch.x, self.optimizer.accumulate
        if self.adversary:  # the gradient is the mean of those for original and moved images
            logits, dx = self.backpropagate(x, accumulate=accumulate, input_gradient=True)
            self.backend.copyto(logits, out=self.logits)
            self.adversary.move(dx)
            self.backpropagate(self.adversary.images, accumulate=1.0)
        else:
            self.logits, _ = self.backpropagate(x, accumulate=accumulate)
        for hook in self.before_update:
            hook()
        self.optimizer.update()
        for hook in self.after_update:
            hook()
