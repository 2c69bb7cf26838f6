"""Checkpoints of a run: when to write one, what goes into it, and how a run goes on from it. What is in none, the order
of images and what dropout silences, follows from the seed and the epoch.
"""

from __future__ import annotations

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
from ann.training.checkpoint_file import TrainingState, check_same_run, read_checkpoint, write_checkpoint
from ann.training.distributed import SINGLE_PROCESS, Processes, on_first
from ann.training.early_stopping import EarlyStopping
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.training.trainer import Steps
from ann.validation import check_count, check_number


@dataclass(frozen=True)
class Checkpoints:
    """Where ``fit`` keeps a checkpoint, and how often it writes one; it always does at the end, or when it is stopped.

    Where the file is there already, ``fit`` goes on from it.

    Attributes:
        path: of the file.
        epochs: write one after so many epochs; None for no such rule.
        seconds: write one after the step when so many seconds have passed; None for no such rule.

    Raises:
        ValueError: a number makes no sense.
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
    """Knows how far a run is, and keeps that in a checkpoint where one is wanted.

    Attributes:
        state: how far it is. Where there was a checkpoint, the network, the steps and this are as they were then.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        network: NeuralNetwork,
        steps: Steps,
        stopping: EarlyStopping | None,
        run: Callable[[], dict[str, Any]],
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """``run`` says what must be the same for a run to be this one, as plain values.

        Of several processes, the first reads and writes, and what it reads all get.
        """
        self.state, self._processes = TrainingState(), processes
        self._checkpoints, self._network, self._steps, self._stopping = checkpoints, network, steps, stopping
        self._written, self._started, self._changed = time.monotonic(), time.perf_counter(), True
        self._done = False  # whether there was a step
        if checkpoints:
            self._run = run()
            if on_first(processes, user_path(checkpoints.path).exists):
                self._resume(checkpoints.path)
            on_first(processes, lambda: check_writable(checkpoints.path))

    def start_clock(self) -> None:
        """From here on, time is training's."""
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """How long the present epoch has been trained."""
        return self.state.seconds + time.perf_counter() - self._started

    def after_step(self, done: int) -> None:
        """Note that so many steps of the epoch are done, and write a checkpoint if it is time."""
        self.state.step, self._changed, self._done = done, True, True
        if self._checkpoints and self._seconds_have_passed():
            self.state.seconds = self.seconds()
            self._write_or_warn()
            self.start_clock()

    def after_epoch(self, report: EpochReport) -> None:
        """Note that an epoch is done, and write a checkpoint if it is time."""
        state, self._changed = self.state, True
        state.reports.append(report)
        state.epoch, state.step, state.seconds = report.epoch + 1, 0, 0.0
        every = self._checkpoints.epochs if self._checkpoints else None
        if (every and report.epoch % every == 0) or self._seconds_have_passed():
            self._write_or_warn()

    def stopped(self) -> None:
        """Note that training stops in the middle of an epoch."""
        self.state.seconds = self.seconds()

    def end(self) -> bool:
        """Write the last checkpoint; whether anything was done since there was one.

        Raises OSError where it is needed, to go on, and cannot be written.
        """
        done, self._done = self._done, False
        if self.state.finished:
            self._write_or_warn()
        else:
            self._gather()
            self._write()
        self._processes.any_process(False)  # none goes on, or leaves, before it is written
        return done

    def _write_or_warn(self) -> None:
        """A full disk must not end a training that may take hours yet."""
        self._gather()
        try:
            self._write()
        except (OSError, MemoryError) as error:
            self._written = time.monotonic()  # do not try again after every step
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "not enough memory"
            message = f"no checkpoint was written: {why}; training goes on"
            warnings.warn(message, RuntimeWarning, stacklevel=4)

    def _gather(self) -> None:
        """All processes together: make whole what is going to be written. The first may not have written the last."""
        if self._checkpoints and self._processes.any_process(self._changed):
            self._steps.gather(self.state.step)

    def _write(self) -> None:
        """Write a checkpoint, if one is wanted and anything has changed since the last."""
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
        return self._processes.any_process(self._processes.rank == 0 and time.monotonic() - self._written >= every)

    def _arrays(self) -> dict[str, Array]:
        """All that has to be kept, by name: device arrays, to read or to fill."""
        arrays = {"network": self._network.parameters, **self._steps.state(self.state.step)}
        if self._stopping:
            arrays["best"] = self._stopping.parameters
        return arrays

    def _resume(self, path: str | os.PathLike[str]) -> None:
        run, self.state, found = on_first(self._processes, lambda: read_checkpoint(path))
        check_same_run(path, _as_known_now(run), self._run)
        state, epochs = self.state, self._run["recipe"]["epochs"]
        if state.step > self._steps.count or state.epoch > epochs + state.finished:
            raise CheckpointError(f"{path}: not a checkpoint, or damaged: epoch {state.epoch}, step {state.step}")
        wanted = self._arrays()
        for name, array in wanted.items():
            kind = (array.shape, self._network.dtype_name)
            if name not in found or (found[name].shape, found[name].dtype.name) != kind:
                raise CheckpointError(f"{path}: not a checkpoint of this run, or damaged: {name} is not as expected")
        for name, array in wanted.items():
            array[...] = self._network.backend.from_host(found[name])
        if self._stopping:
            self._stopping.resume(self.state.reports)
        self._changed = False


def _as_known_now(run: Any) -> Any:
    """A run that may have begun under an earlier version: what that did not know has its default, which is off."""
    if not (isinstance(run, dict) and isinstance(run.get("network"), dict) and isinstance(run.get("recipe"), dict)):
        return run
    network = {"committee": 1, **run["network"]}
    return {**run, "network": network, "recipe": {**Recipe().training_fields(), **run["recipe"]}}
