"""Lists all callbacks of a run: the user's, and early stopping, checkpoints and diagnostics."""

from collections.abc import Sequence
from typing import Any

from ann.training.callback import Callback
from ann.training.checkpointer import Checkpointer, Checkpoints
from ann.training.diagnostics import Diagnostics
from ann.training.distributed import check_same
from ann.training.early_stopping import EarlyStopping
from ann.training.run import Run


def callbacks_of(run: Run, callbacks: Any, on_batch: Any, checkpoints: Any) -> list[Callback]:
    """All callbacks of a run, in the order of their calls. The arguments are those of ``fit``.

    Checkpoints come before the user's callbacks, which may raise exceptions. Diagnostics come last,
    because users may turn warnings into errors. Raises ValueError if an argument is wrong or if the
    processes were started for different runs.
    """
    if not isinstance(callbacks, Sequence) or not all(
        isinstance(one, Callback) or (callable(one) and not isinstance(one, type))
        for one in callbacks
    ):
        raise ValueError("callbacks: expected a list of functions or ann.Callback objects")
    if on_batch is not None and not callable(on_batch):
        raise ValueError("on_batch: expected a function or None")
    if not (checkpoints is None or isinstance(checkpoints, Checkpoints)):
        raise ValueError("checkpoints: expected ann.Checkpoints(path) or None")
    if run.processes.size > 1:
        check_same(run.processes, run.identity)
    found: list[Callback] = []
    if run.recipe.early_stopping:
        found.append(EarlyStopping(run))
    if checkpoints:
        found.append(Checkpointer(run, checkpoints))
    found += [
        one if isinstance(one, Callback) else _calling(one, "after_epoch") for one in callbacks
    ]
    if on_batch:
        found.append(_calling(on_batch, "after_step"))
    if run.processes.rank == 0:
        found.append(Diagnostics(run))
    return found


def _calling(function: Any, method: str) -> Callback:
    """A callback that calls this function instead of its method of this name."""
    callback = Callback()
    setattr(callback, method, function)
    return callback
