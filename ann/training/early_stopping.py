"""Early stopping: training ends when the errors on validation images have not improved for some
epochs, and the network gets the parameters of the best epoch instead of the last.
"""

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState
from ann.training.report import EpochReport


def best_first(report: EpochReport) -> tuple[float, float]:
    """A sort key, smaller for a better epoch: errors on validation images, then their loss."""
    if report.validation is None:
        raise ValueError("early stopping needs validation images")
    return report.validation.errors, report.validation.loss


class EarlyStopping(Callback):
    """Keeps the best parameters: fewest errors on the validation images, then smallest loss.

    Prechelt (1998), Early stopping - but when?: its UP criterion, with errors instead of the loss.

    Args:
        network: the network in training; it gets the best parameters at the end.
        patience: the number of epochs without improvement after which training ends.
        state: of the run; its reports show which epoch was best.

    Attributes:
        parameters: (..., P) device vector: the best parameters. A checkpoint stores them.
    """

    def __init__(self, network: NeuralNetwork, patience: int, state: TrainingState) -> None:
        self.parameters: Array = network.backend.xp.asarray(network.parameters, copy=True)
        self._network = network
        self._patience = patience
        self._state = state

    def after_epoch(self, report: EpochReport) -> bool:
        best = min(self._state.reports, key=best_first)  # the first one of equally good epochs
        if best is report:
            self.parameters[...] = self._network.parameters
        return report.epoch - best.epoch >= self._patience

    def at_end(self) -> None:
        if self._state.finished:
            self._network.parameters[...] = self.parameters
