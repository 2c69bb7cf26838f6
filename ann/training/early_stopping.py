"""Early stopping: training ends when the errors on validation images have not improved for some
epochs, and the network gets the parameters of the best epoch instead of the last.
"""

from ann.training.callback import Callback
from ann.training.report import EpochReport
from ann.training.run import Run


def best_first(report: EpochReport) -> tuple[float, float]:
    """A sort key, smaller for a better epoch: errors on validation images, then their loss."""
    if report.validation is None:
        raise ValueError("early stopping needs validation images")
    return report.validation.errors, report.validation.loss


class EarlyStopping(Callback):
    """Keeps the best parameters: fewest errors on the validation images, then smallest loss.

    Goodfellow, Bengio & Courville (2016), Deep Learning, algorithm 7.1: training ends when the best
    epoch is ``recipe.early_stopping`` epochs ago.
    """

    def __init__(self, run: Run) -> None:
        run.best = run.network.backend.xp.asarray(run.network.parameters, copy=True)
        self._run = run

    def after_epoch(self, report: EpochReport) -> bool:
        best = min(self._run.state.reports, key=best_first)  # the first one of equally good epochs
        if best is report:
            self._run.best[...] = self._run.network.parameters
        return report.epoch - best.epoch >= self._run.recipe.early_stopping

    def at_end(self) -> None:
        if self._run.state.finished:
            self._run.network.parameters[...] = self._run.best
