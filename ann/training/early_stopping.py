"""Early stopping: training ends when the errors on validation images have not improved for some
epochs, and the network gets the parameters of the best epoch instead of the last.
"""

from collections.abc import Sequence

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork
from ann.training.report import EpochReport


def best_first(report: EpochReport) -> tuple[float, float]:
    """A sort key, smaller for a better epoch: errors on validation images, then their loss."""
    if report.validation is None:
        raise ValueError("early stopping needs validation images")
    return report.validation.errors, report.validation.loss


class EarlyStopping:
    """Keeps the best parameters: fewest errors on the validation images, then smallest loss.

    Prechelt (1998), Early stopping - but when?: its UP criterion, with errors instead of the loss.

    Attributes:
        parameters: (..., P) device vector, the best.
        best: the report of their epoch, or None before the first.
    """

    def __init__(self, network: NeuralNetwork, patience: int) -> None:
        """``patience``: the number of epochs without improvement after which training ends."""
        self.parameters: Array = network.backend.xp.asarray(network.parameters, copy=True)
        self.best: EpochReport | None = None
        self._network, self._patience = network, patience

    def update(self, report: EpochReport) -> bool:
        """Compare an epoch with the best one. Returns whether training should end."""
        if self.best is None or best_first(report) < best_first(self.best):
            self.best = report
            self.parameters[...] = self._network.parameters
        return report.epoch - self.best.epoch >= self._patience

    def resume(self, reports: Sequence[EpochReport]) -> None:
        """Continue after these epochs; ``parameters`` already have the best values."""
        self.best = min(reports, key=best_first, default=None)

    def restore(self) -> None:
        """Give the network the best parameters."""
        self._network.parameters[...] = self.parameters
