"""Early stopping: when held-out images have not been recognised any better for some epochs, training ends, and the
network gets the parameters with which they were recognised best. Without it, the last parameters are taken.
"""

from __future__ import annotations

from typing import Any

from ann.network import NeuralNetwork
from ann.operations import Array
from ann.reports import EpochReport


class EarlyStopping:
    """The best parameters so far: those with the fewest mistakes, and among these the smallest held-out loss.

    Prechelt (1998), Early stopping - but when?, whose UP criterion this is, with mistakes for the loss.

    Attributes:
        parameters: (P,) device vector, the best.
        best: their epoch, mistakes and loss, or None before the first epoch.
    """

    def __init__(self, network: NeuralNetwork, patience: int) -> None:
        """``patience``: how many epochs without a better one are waited for."""
        self.parameters: Array = network.xp.asarray(network.parameters, copy=True)
        self.best: dict[str, Any] | None = None
        self._network, self._patience = network, patience

    def update(self, report: EpochReport) -> bool:
        """Look at an epoch's held-out images; True where training should end."""
        measured = report.validation
        assert measured is not None  # the recipe saw to it
        if self.best is None or (measured.wrong, measured.loss) < (self.best["wrong"], self.best["loss"]):
            self.best = {"epoch": report.epoch, "wrong": measured.wrong, "loss": measured.loss}
            self.parameters[...] = self._network.parameters
        return report.epoch - int(self.best["epoch"]) >= self._patience

    def restore(self) -> None:
        """Give the network the best parameters."""
        self._network.parameters[...] = self.parameters
