"""Early stopping: when held-out images have not been recognised any better for some epochs, training ends, and the
network gets the parameters with which they were recognised best. Without it, the last parameters are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork
from ann.training.report import EpochReport


def best_first(report: EpochReport) -> tuple[float, float]:
    """What is smaller for a better epoch: the mistakes on held-out images, and then their loss."""
    if report.validation is None:
        raise ValueError("early stopping needs held-out images")
    return report.validation.wrong, report.validation.loss


class EarlyStopping:
    """The best parameters so far: those with the fewest mistakes, and among these the smallest held-out loss.

    Prechelt (1998), Early stopping - but when?, whose UP criterion this is, with mistakes for the loss.

    Attributes:
        parameters: (..., P) device vector, the best.
        best: the report of their epoch, or None before the first.
    """

    def __init__(self, network: NeuralNetwork, patience: int) -> None:
        """``patience``: how many epochs without a better one are waited for."""
        self.parameters: Array = network.xp.asarray(network.parameters, copy=True)
        self.best: EpochReport | None = None
        self._network, self._patience = network, patience

    def update(self, report: EpochReport) -> bool:
        """Look at an epoch's held-out images; True where training should end."""
        if self.best is None or best_first(report) < best_first(self.best):
            self.best = report
            self.parameters[...] = self._network.parameters
        return report.epoch - self.best.epoch >= self._patience

    def resume(self, reports: Sequence[EpochReport]) -> None:
        """Take these for the epochs so far; ``parameters`` are already the best one's."""
        self.best = min(reports, key=best_first, default=None)

    def restore(self) -> None:
        """Give the network the best parameters."""
        self._network.parameters[...] = self.parameters
