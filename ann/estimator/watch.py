"""The callback of ``fit``: early stopping by a score or the training loss, and ``verbose``."""

import math
from collections.abc import Callable
from typing import Any

from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.report import EpochReport
from ann.validation import check_count, check_number


class Watch(Callback):
    """Records and prints losses and scores, stops training, and keeps the best network.

    Attributes:
        score: computes the score on validation samples; None: the training loss decides.
        losses, scores: a number for each epoch.
        best: the best score, or minus the smallest loss.
    """

    def __init__(self, network: NeuralNetwork, patience: Any, tol: Any, verbose: bool) -> None:
        if not (isinstance(patience, float) and patience == math.inf):
            patience = check_count("n_iter_no_change", patience, at_least=1)
        self._patience: float = patience
        self._tol = check_number("tol", tol, at_least=0)
        self._network, self._verbose = network, verbose
        self._parameters: Any = None  # of the best epoch
        self._waited = 0
        self.score: Callable[[], float] | None = None
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best = -math.inf

    def after_epoch(self, report: EpochReport) -> bool:
        self.losses.append(report.loss)
        value, text = -report.loss, str(report)
        if self.score:
            value = self.score()
            self.scores.append(value)
            text += f"  validation score {value:.4f}"
        if self._verbose:
            print(text)
        self._waited = 0 if value > self.best + self._tol else self._waited + 1
        if value >= self.best:
            self.best = value
            if self.score:
                self._parameters = self._network.backend.xp.asarray(
                    self._network.parameters, copy=True
                )
        return self._waited >= self._patience

    def at_end(self) -> None:
        if self._parameters is not None:
            self._network.parameters[...] = self._parameters
