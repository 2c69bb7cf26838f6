"""One of the workers of a sweep: it trains a network for each trial that Optuna gives it, and counts its mistakes on
held-out images, until there are enough trials, its time is over, or a signal comes.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import optuna
from sweep_space import RATES, Space
from sweep_study import DONE, finished, leaders
from sweep_words import in_words
from tqdm import tqdm

import ann
from ann.cli.output import echo
from ann.cli.signals import Interruption
from ann.training.fastest_device import seconds_an_epoch

TENTHS = 10  # of a trial, after each of which hopeless ones end


class InterruptedTrialError(Exception):
    """A signal came in the middle of a trial, which is to be tried again."""


@dataclass
class Worker:
    """What a worker works with.

    Attributes:
        flags: of the command line.
        space: what networks there are to try.
        backend: what computes.
        dataset: without test images.
        study: Optuna's, which other workers may share.
        interruption: knows of signals.
    """

    flags: argparse.Namespace
    space: Space
    backend: ann.Backend
    dataset: ann.Dataset
    study: Any
    interruption: Interruption

    def work(self) -> None:
        """Make trial after trial."""
        wanted, done = self.flags.trials, len(finished(self.study))
        if done >= wanted:
            echo(f"there are {done} trials, and --trials {wanted} were wanted: nothing is left to try")
            return
        until = time.monotonic() + self.flags.hours * 3600 if self.flags.hours else math.inf
        self._bar = tqdm(
            total=wanted,
            initial=done,
            dynamic_ncols=True,
            file=sys.stdout,
            disable=not sys.stdout.isatty(),
            bar_format="{n}/{total} trials|{bar}| {remaining} left{postfix}",
        )
        with self._bar:
            while done < wanted and time.monotonic() < until and not self.interruption.signal:
                self._make_a_trial()
                done = len(finished(self.study))  # those of other workers too
                self._bar.update(done - self._bar.n)
            self._bar.leave = False

    def _make_a_trial(self) -> None:
        try:
            self.study.optimize(self._measure, n_trials=1, callbacks=[self._tell], catch=(InterruptedTrialError,))
        except ValueError as error:
            if "Cannot tell" not in str(error):  # Optuna's words for a trial that others took for lost
                raise
            self._write("this worker was silent for too long, and its trial was given to another: going on")

    def _tell(self, study: Any, trial: Any) -> None:
        if trial.state in DONE:
            self._write(in_words(trial, leaders(study, 1)))
        elif self.interruption.signal:
            self._write(f"trial {trial.number}: interrupted; its network is the first to be tried again")

    def _write(self, line: str) -> None:
        if self._bar.disable:
            echo(line)
        else:
            self._bar.write(line, file=sys.stdout)

    def _measure(self, trial: Any) -> int:
        """Train one network, and count its mistakes."""
        try:
            recipe = dataclasses.replace(self.space.recipe(trial), validation=self.flags.validation)
            network, recipe = self._network(trial, recipe)
            started = time.perf_counter()
            watch = _Watch(trial, recipe.epochs, self._bar)
            stop = self.interruption
            reports = ann.fit(network, self.dataset, recipe, [watch], lambda images: stop.signal != 0)
        except ann.DivergenceError:
            trial.set_user_attr("ended", "diverged")
            raise optuna.TrialPruned from None
        except MemoryError:
            trial.set_user_attr("ended", "not enough memory")
            raise optuna.TrialPruned from None
        except KeyboardInterrupt:  # the second Ctrl-C, which does not wait for the step
            trial.study.enqueue_trial(trial.params)
            raise
        trial.set_user_attr("seconds", round(time.perf_counter() - started, 1))
        if watch.hopeless:
            trial.set_user_attr("ended", f"hopeless after {len(reports)} of {recipe.epochs} epochs")
            raise optuna.TrialPruned
        if len(reports) < recipe.epochs:
            trial.study.enqueue_trial(trial.params)
            raise InterruptedTrialError
        assert reports[-1].validation
        return reports[-1].validation.errors

    def _network(self, trial: Any, recipe: ann.Recipe) -> tuple[ann.NeuralNetwork, ann.Recipe]:
        """The network of a trial, and its recipe with as many epochs as there is time for."""
        flags = self.flags
        layers = recipe.layer_list(self.dataset.train_images[0].size, 10)
        for name, value in {
            "worker": f"{socket.gethostname()}, process {os.getpid()}",
            "device": self.backend.name,
            "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
            "parameters": sum((layer["input_dim"] + 1) * layer["output_dim"] for layer in layers),
            "recipe": recipe.to_json(),
        }.items():
            trial.set_user_attr(name, value)
        an_epoch = seconds_an_epoch(self.backend, self.dataset, recipe)
        epochs = max(1, min(flags.max_epochs, int(flags.time_per_trial / an_epoch)))
        given = {name: getattr(recipe, name) for name in RATES if getattr(self.space, name)}
        recipe = recipe.changed(epochs=epochs, **given)
        network = ann.NeuralNetwork(layers, recipe.loss, self.backend, flags.seed)
        trial.set_user_attr("recipe", recipe.to_json())
        return network, recipe


class _Watch:
    """Looks at a training after each epoch, and ends it if it is hopeless.

    Attributes:
        hopeless: whether half of the others were better at the same point.
    """

    def __init__(self, trial: Any, epochs: int, bar: Any) -> None:
        self._trial, self._epochs, self._bar, self.hopeless = trial, epochs, bar, False

    def __call__(self, report: ann.EpochReport) -> bool:
        wrong = report.validation.errors if report.validation else 0
        self._bar.set_postfix_str(f"; trial {self._trial.number}: epoch {report.epoch}/{self._epochs}, {wrong} wrong")
        tenth, before = (math.floor(TENTHS * epoch / self._epochs) for epoch in (report.epoch, report.epoch - 1))
        if tenth > before and report.epoch < self._epochs:  # trials of other lengths are compared at these
            self._trial.report(wrong, tenth)
            self.hopeless = bool(self._trial.should_prune())
        return self.hopeless
