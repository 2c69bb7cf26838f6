"""Checkpoints of a run: when to write one, its contents, and how to resume from it. It does not
need the order of images and the dropout masks, which follow from the seed and the epoch.
"""

import os
import warnings
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ann.backends.base import Array
from ann.errors import CheckpointError
from ann.files.atomic import check_writable, user_path
from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.checkpoint_file import (
    TrainingState,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
)
from ann.training.distributed import Processes, on_first
from ann.training.early_stopping import EarlyStopping
from ann.training.report import EpochReport
from ann.training.trainer import Trainer
from ann.validation import check_count, check_number


@dataclass(frozen=True)
class Checkpoints:
    """Where ``fit`` keeps its checkpoint, and how often it writes one before the end.

    If the file exists, ``fit`` resumes from it.

    Attributes:
        path: of the file.
        epochs: write one every this many epochs, or None.
        seconds: write one after a step if this many seconds have passed since the last, or None.

    Raises:
        ValueError: a number is out of range.
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

    With several processes, the first one reads and writes the file and sends its contents to the
    others.

    Args:
        checkpoints: the file, and when to write it.
        network: the network in training.
        trainer: its trainer.
        state: of the run. After resuming, this, the network and the trainer are as they were when
            the checkpoint was written.
        run: plain values that identify the run; only a checkpoint with the same values is resumed.
        early_stopping: of the run, or None.
        processes: those that train together.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        network: NeuralNetwork,
        trainer: Trainer,
        state: TrainingState,
        run: dict[str, Any],
        early_stopping: EarlyStopping | None,
        processes: Processes,
    ) -> None:
        self._path = checkpoints.path
        self._every = checkpoints
        self._network = network
        self._trainer = trainer
        self._state = state
        self._run = run
        self._early_stopping = early_stopping
        self._processes = processes
        self._written = monotonic()
        self._changed = True  # since the last checkpoint

    def at_start(self) -> None:
        """Resume from the checkpoint, if there is one.

        Raises:
            CheckpointError: the checkpoint is damaged or from another run.
            OSError: the file cannot be written.
        """
        if on_first(self._processes, user_path(self._path).exists):
            self._resume()
        on_first(self._processes, lambda: check_writable(self._path))

    def before_epoch(self) -> None:
        """Write a checkpoint if one is due."""
        done, every = self._state.epoch - 1, self._every.epochs
        if (every and done and done % every == 0) or self._seconds_have_passed():
            self._write_or_warn()

    def after_step(self, images: int) -> None:
        """Write a checkpoint if one is due."""
        self._changed = True
        if self._seconds_have_passed():
            self._write_or_warn()

    def after_epoch(self, report: EpochReport) -> None:
        self._changed = True

    def at_end(self) -> None:
        """Write the last checkpoint. Raises OSError if it is needed to resume."""
        if self._state.finished:
            self._write_or_warn()
        else:
            self._gather()
            self._write()
        self._processes.any_process(False)  # all wait until it is written

    def _write_or_warn(self) -> None:
        """Write a checkpoint; a full disk must not end a run that may take hours more."""
        self._gather()
        try:
            self._write()
        except (OSError, MemoryError) as error:
            self._written = monotonic()  # do not try again after every step
            reason = "not enough memory"
            if isinstance(error, OSError):
                reason = f"{error.filename}: {error.strerror}"
            message = f"no checkpoint was written: {reason}; training continues"
            warnings.warn(message, RuntimeWarning, stacklevel=4)

    def _gather(self) -> None:
        """Collect what the first process writes, if anything has changed in any process."""
        if self._processes.any_process(self._changed):
            self._trainer.gather(self._state.step)

    def _write(self) -> None:
        """Write a checkpoint if anything has changed since the last."""
        if self._processes.rank == 0 and self._changed:
            to_host = self._network.backend.to_host
            arrays = {name: to_host(array) for name, array in self._arrays().items()}
            write_checkpoint(self._path, self._run, self._state, arrays)
        self._written, self._changed = monotonic(), False

    def _seconds_have_passed(self) -> bool:
        every = self._every.seconds
        if every is None:
            return False
        due = self._processes.rank == 0 and monotonic() - self._written >= every
        return self._processes.any_process(due)

    def _arrays(self) -> dict[str, Array]:
        """The device arrays in a checkpoint by name, to read or to fill."""
        arrays = {"network": self._network.parameters, **self._trainer.state(self._state.step)}
        if self._early_stopping:
            arrays["best"] = self._early_stopping.parameters
        return arrays

    def _resume(self) -> None:
        run, state, found = on_first(self._processes, lambda: read_checkpoint(self._path))
        epochs = self._run["recipe"]["epochs"]
        here = self._run
        if state.is_shorter_than(epochs):
            here = {**here, "recipe": {**here["recipe"], "epochs": state.reports[-1].epochs}}
            state.finished = False
        check_same_run(self._path, run, here)
        if state.step > self._trainer.steps or state.epoch > epochs + state.finished:
            raise CheckpointError(
                f"{self._path}: not a checkpoint, or damaged: epoch {state.epoch}, step {state.step}"
            )
        vars(self._state).update(vars(state))
        wanted = self._arrays()
        for name, array in wanted.items():
            expected = (array.shape, self._network.dtype_name)
            if name not in found or (found[name].shape, found[name].dtype.name) != expected:
                raise CheckpointError(
                    f"{self._path}: not a checkpoint of this run, or damaged: wrong {name}"
                )
        for name, array in wanted.items():
            array[...] = self._network.backend.from_host(found[name])
        self._changed = False
