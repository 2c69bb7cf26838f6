"""A worker of a sweep. It trains a network for each trial that Optuna gives it, and counts its
mistakes on validation images.
"""

import argparse
import dataclasses
import math
import os
import socket
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from tqdm import tqdm

import ann
from ann.cli.signals import Interruption
from ann.training.defaults import default_rates
from ann.training.fastest_device import seconds_an_epoch
from sweeping.results import describe_trial
from sweeping.space import Space
from sweeping.study import FINISHED, best_trials, finished

_CHECKS = 10  # points in a trial at which it can be pruned


class InterruptedTrialError(Exception):
    """A signal came during a trial, which will be tried again."""


@dataclass
class Worker:
    """Tries networks for a study that other workers may share. ``dataset`` has no test images."""

    flags: argparse.Namespace
    space: Space
    backend: ann.Backend
    dataset: ann.Dataset
    study: Any
    interruption: Interruption

    def work(self) -> None:
        """Train until there are enough trials, time is up or a signal comes."""
        threading.excepthook = _warn_of_lost_heartbeat
        warnings.simplefilter("ignore", ann.TrainingWarning)  # many trials are poor networks
        wanted, done = self.flags.trials, len(finished(self.study))
        if done >= wanted:
            print(f"{done} trials are done, and --trials is {wanted}: there is nothing to do")
            return
        until = time.monotonic() + self.flags.hours * 3600 if self.flags.hours else math.inf
        self._bar = tqdm(
            total=wanted,
            initial=done,
            dynamic_ncols=True,
            file=sys.stdout,
            disable=None,  # unless this is a terminal
            bar_format="{n}/{total} trials|{bar}| {remaining} left{postfix}",
        )
        with self._bar:
            while done < wanted and time.monotonic() < until and not self.interruption.signal:
                self._run_trial()
                done = len(finished(self.study))  # other workers' trials, too
                self._bar.update(done - self._bar.n)
            self._bar.leave = False

    def _run_trial(self) -> None:
        options: dict[str, Any] = {"n_trials": 1, "callbacks": [self._report]}
        try:
            self.study.optimize(self._measure, catch=(InterruptedTrialError,), **options)
        except ValueError as error:
            if "Cannot tell" not in str(error):  # Optuna's message about a reassigned trial
                raise
            reason = "this worker missed its heartbeat, so its trial was reassigned"
            self._bar.write(f"{reason}; continuing with the next one")

    def _report(self, study: Any, trial: Any) -> None:
        if trial.state in FINISHED:
            self._bar.write(describe_trial(trial, best_trials(study, 1)))
        elif self.interruption.signal:
            self._bar.write(f"trial {trial.number}: interrupted; it will be tried again first")

    def _measure(self, trial: Any) -> int:
        """Train one network; how many validation images it gets wrong."""
        try:
            network, recipe = self._network(trial)
            started = time.perf_counter()
            after_epoch = partial(self._after_epoch, trial, recipe.epochs)
            reports = ann.fit(network, self.dataset, recipe, [after_epoch, self.interruption])
        except (ann.DivergenceError, MemoryError) as error:
            is_memory = isinstance(error, MemoryError)
            trial.set_user_attr("ended", "not enough memory" if is_memory else "diverged")
            raise optuna.TrialPruned from None
        except KeyboardInterrupt:  # the second Ctrl-C, which does not wait for the step
            trial.study.enqueue_trial(trial.params)
            raise
        if len(reports) < recipe.epochs:
            trial.study.enqueue_trial(trial.params)
            raise InterruptedTrialError
        trial.set_user_attr("seconds", round(time.perf_counter() - started, 1))
        assert reports[-1].validation
        return reports[-1].validation.errors

    def _after_epoch(self, trial: Any, epochs: int, report: ann.EpochReport) -> None:
        """Prune a trial that is worse than half of the others were at the same point."""
        wrong = report.validation.errors if report.validation else 0
        epoch = f"epoch {report.epoch}/{epochs}, {wrong} wrong"
        self._bar.set_postfix_str(f"; trial {trial.number}: {epoch}")
        # Trials have different numbers of epochs, so they are compared at tenths of them
        before, tenth = (_CHECKS * done // epochs for done in (report.epoch - 1, report.epoch))
        if before < tenth < _CHECKS:
            trial.report(wrong, tenth)
            if trial.should_prune():
                trial.set_user_attr("ended", f"pruned after {report.epoch} of {epochs} epochs")
                raise optuna.TrialPruned

    def _network(self, trial: Any) -> tuple[ann.NeuralNetwork, ann.Recipe]:
        """The network of a trial, and its recipe with as many epochs as there is time for."""
        flags, dataset = self.flags, self.dataset
        recipe = dataclasses.replace(self.space.recipe(trial), validation=flags.validation)
        trial.set_user_attr("worker", f"{socket.gethostname()}, process {os.getpid()}")
        trial.set_user_attr("device", self.backend.name)
        trial.set_user_attr("threads", os.environ.get("OPENBLAS_NUM_THREADS"))
        trial.set_user_attr("recipe", recipe.to_json())
        epochs = int(flags.time_per_trial / seconds_an_epoch(self.backend, dataset, recipe))
        epochs = max(1, min(flags.max_epochs, epochs))
        rates = default_rates(recipe)
        given = {name: getattr(recipe, name) for name in rates if self.space.has_range(name)}
        recipe = recipe.changed(epochs=epochs, **given)
        network = recipe.network(dataset, self.backend, flags.seed)
        trial.set_user_attr("recipe", recipe.to_json())
        trial.set_user_attr("parameters", network.parameters.size)
        return network, recipe


def _warn_of_lost_heartbeat(failure: threading.ExceptHookArgs) -> None:
    """Called when the thread of the heartbeat has ended because of an error."""
    text = f"heartbeats do not reach the storage ({failure.exc_type.__name__})"
    text += "; another worker may repeat this trial"
    warnings.warn(text, RuntimeWarning, stacklevel=1)
