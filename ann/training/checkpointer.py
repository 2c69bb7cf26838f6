"""Checkpoints of a run: when to write one, its contents, and how to resume from it. It does not
need the order of images and the dropout masks, which follow from the seed and the epoch.
"""

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ann.backends.base import Array
from ann.errors import CheckpointError
from ann.files.atomic import check_writable, user_path
from ann.neural_network import NeuralNetwork
from ann.training.checkpoint_file import (
    TrainingState,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
)
from ann.training.distributed import SINGLE_PROCESS, Processes, on_first
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


class Checkpointer:
    """Tracks the state of a run and, if wanted, keeps it in a checkpoint.

    Attributes:
        state: how far the run has come. After resuming, this, the network and the trainer are as
            they were when the checkpoint was written.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        network: NeuralNetwork,
        trainer: Trainer,
        stopping: EarlyStopping | None,
        run: Callable[[], dict[str, Any]],
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """Resume if there is a checkpoint.

        ``run`` returns plain values that identify the run; only a checkpoint with the same values
        is resumed. With several processes, the first one reads and writes the file, and the others
        get its contents.
        """
        self.state = TrainingState()
        self._checkpoints, self._processes = checkpoints, processes
        self._network, self._trainer, self._stopping = network, trainer, stopping
        self._written, self._started = time.monotonic(), time.perf_counter()
        self._changed = True  # since the last checkpoint
        self._trained = False  # whether any step was done
        if checkpoints:
            self._run = run()
            if on_first(processes, user_path(checkpoints.path).exists):
                self._resume(checkpoints.path)
            on_first(processes, lambda: check_writable(checkpoints.path))

    def start_clock(self) -> None:
        """Begin to measure training time."""
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """How long the current epoch has been trained."""
        return self.state.seconds + time.perf_counter() - self._started

    def after_step(self, done: int) -> None:
        """Record that ``done`` steps of the epoch are done; write a checkpoint if it is time."""
        self.state.step = done
        self._changed = self._trained = True
        if self._checkpoints and self._seconds_have_passed():
            self.state.seconds = self.seconds()
            self._write_or_warn()
            self.start_clock()

    def after_epoch(self, report: EpochReport) -> None:
        """Record that an epoch is done; write a checkpoint if it is time."""
        state, self._changed = self.state, True
        state.reports.append(report)
        state.epoch, state.step, state.seconds = report.epoch + 1, 0, 0.0
        every = self._checkpoints.epochs if self._checkpoints else None
        if (every and report.epoch % every == 0) or self._seconds_have_passed():
            self._write_or_warn()

    def stopped(self) -> None:
        """Record that training stops in the middle of an epoch."""
        self.state.seconds = self.seconds()

    def end(self) -> bool:
        """Write the last checkpoint. Returns whether any step was made.

        Raises OSError if it is needed to resume and cannot be written.
        """
        trained, self._trained = self._trained, False
        if self.state.finished:
            self._write_or_warn()
        else:
            self._gather()
            self._write()
        self._processes.any_process(False)  # all wait until it is written
        return trained

    def _write_or_warn(self) -> None:
        """Write a checkpoint; a full disk must not end a run that may take hours more."""
        self._gather()
        try:
            self._write()
        except (OSError, MemoryError) as error:
            self._written = time.monotonic()  # do not try again after every step
            reason = "not enough memory"
            if isinstance(error, OSError):
                reason = f"{error.filename}: {error.strerror}"
            message = f"no checkpoint was written: {reason}; training continues"
            warnings.warn(message, RuntimeWarning, stacklevel=4)

    def _gather(self) -> None:
        """Collect what the first process writes, if anything has changed in any process."""
        if self._checkpoints and self._processes.any_process(self._changed):
            self._trainer.gather(self.state.step)

    def _write(self) -> None:
        """Write a checkpoint if one is wanted and anything has changed since the last."""
        if self._processes.rank > 0:
            self._written, self._changed = time.monotonic(), False
        elif self._checkpoints and self._changed:
            to_host = self._network.backend.to_host
            arrays = {name: to_host(array) for name, array in self._arrays().items()}
            write_checkpoint(self._checkpoints.path, self._run, self.state, arrays)
            self._written, self._changed = time.monotonic(), False

    def _seconds_have_passed(self) -> bool:
        every = self._checkpoints.seconds if self._checkpoints else None
        if every is None:
            return False
        due = self._processes.rank == 0 and time.monotonic() - self._written >= every
        return self._processes.any_process(due)

    def _arrays(self) -> dict[str, Array]:
        """The device arrays in a checkpoint by name, to read or to fill."""
        arrays = {"network": self._network.parameters, **self._trainer.state(self.state.step)}
        if self._stopping:
            arrays["best"] = self._stopping.parameters
        return arrays

    def _resume(self, path: str | os.PathLike[str]) -> None:
        run, self.state, found = on_first(self._processes, lambda: read_checkpoint(path))
        check_same_run(path, run, self._run)
        state, epochs = self.state, self._run["recipe"]["epochs"]
        if state.step > self._trainer.steps or state.epoch > epochs + state.finished:
            raise CheckpointError(
                f"{path}: not a checkpoint, or damaged: epoch {state.epoch}, step {state.step}"
            )
        wanted = self._arrays()
        for name, array in wanted.items():
            expected = (array.shape, self._network.dtype_name)
            if name not in found or (found[name].shape, found[name].dtype.name) != expected:
                raise CheckpointError(
                    f"{path}: not a checkpoint of this run, or damaged: wrong {name}"
                )
        for name, array in wanted.items():
            array[...] = self._network.backend.from_host(found[name])
        if self._stopping:
            self._stopping.resume(self.state.reports)
        self._changed = False
