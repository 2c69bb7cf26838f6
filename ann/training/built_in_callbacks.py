"""The callbacks of this package that take part in a training run."""

from ann.training.callback import Callback
from ann.training.checkpointer import Checkpointer, Checkpoints
from ann.training.diagnostics import Diagnostics
from ann.training.distributed import check_same
from ann.training.early_stopping import EarlyStopping
from ann.training.run import Run


def with_built_in(
    callbacks: list[Callback], checkpoints: Checkpoints | None, run: Run
) -> list[Callback]:
    """The user's callbacks between those of this package, in the order in which they are called.

    Checkpoints come before the user's callbacks, which may raise exceptions, and diagnostics after
    them, because users may turn warnings into errors.

    Raises ValueError if the processes were started for different runs.
    """
    early_stopping = EarlyStopping(run) if run.recipe.early_stopping else None
    before: list[Callback] = [early_stopping] if early_stopping else []
    if checkpoints or run.processes.size > 1:
        identity = run.identity()
        check_same(run.processes, identity)
        if checkpoints:
            before.append(Checkpointer(run, identity, checkpoints, early_stopping))
    after = [Diagnostics(run)] if run.processes.rank == 0 else []
    return [*before, *callbacks, *after]
