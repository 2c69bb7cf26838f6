"""Checkpoints of a run: when to write one, its contents, and how to resume from it. It need
not hold the order of images or the dropout masks, which follow from the seed and the epoch.
"""

import os
import warnings
from dataclasses import dataclass
from time import monotonic

from ann.backends.base import Array
from ann.errors import CheckpointError
from ann.files.atomic import check_writable, user_path
from ann.training.callback import Callback
from ann.training.checkpoint_file import check_same_run, read_checkpoint, write_checkpoint
from ann.training.distributed import on_first
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.training.run import Run
from ann.validation import check_count, check_number


@dataclass(frozen=True)
class Checkpoints:
    """Where ``fit`` keeps its checkpoint, and how often it writes one before the end.

    If the file exists, ``fit`` resumes from it.

    Attributes:
        path: of the file.
        epochs: write one every this many epochs, or None.
        seconds: write one after a step if this many seconds have passed since the last, or None.
    """

    path: str | os.PathLike[str]
    epochs: int | None = None
    seconds: float | None = 30.0

    def __post_init__(self) -> None:
        if self.epochs is not None:
            check_count("epochs", self.epochs, at_least=1)
        if self.seconds is not None:
            check_number("seconds", self.seconds, above=0)


class Checkpointer(Callback):
    """Resumes from the checkpoint, if there is one, and writes it again during training.

    Only a checkpoint of a run with the same ``identity`` is resumed. The run is then as it was when
    the checkpoint was written. With several processes, the first one reads and writes the file and
    sends its contents to the others.
    """

    def __init__(self, run: Run, checkpoints: Checkpoints) -> None:
        self._run = run
        self._identity = run.identity
        self._path, self._every = checkpoints.path, checkpoints
        self._written = monotonic()
        self._changed = True  # since the last checkpoint

    def at_start(self) -> None:
        """Resume from the checkpoint, if there is one.

        Raises CheckpointError if it is damaged or from another run, and OSError if the file cannot
        be written.
        """
        if on_first(self._run.processes, user_path(self._path).exists):
            self._resume()
        on_first(self._run.processes, lambda: check_writable(self._path))

    def before_epoch(self) -> None:
        done, every = self._run.state.epoch - 1, self._every.epochs
        if (every and done and done % every == 0) or self._seconds_have_passed():
            self._write()

    def after_step(self, images: int) -> None:
        self._changed = True
        if self._seconds_have_passed():
            self._write()

    def after_epoch(self, report: EpochReport) -> None:
        self._changed = True

    def at_end(self) -> None:
        """Write the last checkpoint. Raises OSError if it is needed to resume."""
        self._write(is_needed=not self._run.state.finished)
        self._run.processes.any_process(False)  # all wait until it is written

    def _seconds_have_passed(self) -> bool:
        every = self._every.seconds
        if every is None:
            return False
        due = self._run.processes.rank == 0 and monotonic() - self._written >= every
        return self._run.processes.any_process(due)

    def _write(self, is_needed: bool = False) -> None:
        """Write a checkpoint if anything has changed since the last.

        Unless ``is_needed``, a failure is only a warning: a full disk must not end a run that may
        take hours more.
        """
        run, to_host = self._run, self._run.network.backend.to_host
        if not run.processes.any_process(self._changed):
            return
        arrays = self._arrays()
        try:
            if run.processes.rank == 0:
                on_host = {name: to_host(array) for name, array in arrays.items()}
                write_checkpoint(self._path, self._identity, run.state, on_host)
            self._changed = False
        except (OSError, MemoryError) as error:
            if is_needed:
                raise
            reason = "not enough memory"
            if isinstance(error, OSError):
                reason = f"{error.filename}: {error.strerror}"
            message = f"no checkpoint was written: {reason}; training continues"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        self._written = monotonic()  # also after a failure: do not try again after every step

    def _arrays(self) -> dict[str, Array]:
        """The device arrays in a checkpoint by name, to read or to fill."""
        run = self._run
        arrays = {"network": run.network.parameters, **run.trainer.state(run.state.step)}
        return arrays if run.best is None else {**arrays, "best": run.best}

    def _resume(self) -> None:
        run = self._run
        identity, state, found = on_first(run.processes, lambda: read_checkpoint(self._path))
        if isinstance(identity, dict) and isinstance(identity.get("recipe"), dict):
            # A field that is newer than the checkpoint had its default value
            identity["recipe"] = Recipe().training_fields() | identity["recipe"]
        here, epochs = self._identity, run.recipe.epochs
        if state.is_shorter_than(epochs):
            here = {**here, "recipe": {**here["recipe"], "epochs": state.reports[-1].epochs}}
            state.finished = False
        check_same_run(self._path, identity, here)
        damaged = f"{self._path}: not a checkpoint of this run, or damaged"
        has_validation = run.recipe.validation > 0
        fits = all(bool(report.validation) == has_validation for report in state.reports)
        if state.step > run.trainer.steps or state.epoch > epochs + state.finished or not fits:
            raise CheckpointError(f"{damaged}: epoch {state.epoch}, step {state.step}")
        vars(run.state).update(vars(state))
        wanted = self._arrays()
        for name, array in wanted.items():
            expected = (array.shape, run.network.dtype_name)
            if name not in found or (found[name].shape, found[name].dtype.name) != expected:
                raise CheckpointError(f"{damaged}: wrong {name}")
        for name, array in wanted.items():
            array[...] = run.network.backend.from_host(found[name])
        self._changed = False
