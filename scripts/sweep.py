"""Try many networks, on as many machines as there are, and say which makes the fewest mistakes on held-out images."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib
import math
import os
import shlex
import socket
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import cli
from sweep_space import Space, add_flags, space_of
from tqdm import tqdm
from train_flags import number, whole

import ann
from ann.device_choice import seconds_an_epoch
from ann.files import check_writable, write_atomically
from ann.plots import pyplot

TENTHS = 10  # of a trial, after each of which hopeless ones end
EXAMPLES = """\
  python scripts/sweep.py
  # two hundred small networks, half a minute each; the same command goes on after Ctrl-C
  python scripts/sweep.py --trials 200 --time-per-trial 30 --hidden-layers 1-2 --width 16-128 --distort no
  # two workers on one machine, in two terminals
  OPENBLAS_NUM_THREADS=1 python scripts/sweep.py
  # many machines: a database, or a file on a disk that they share
  python scripts/sweep.py --storage postgresql://me:secret@server/sweeps
  python scripts/sweep.py --storage /shared/digits.journal"""


def main() -> None:
    """Parse, join the study, try, report."""
    flags = parse_flags()
    with cli.one_line_errors(names=vars(flags)):
        try:
            tools = importlib.import_module("sweep_study")
            pages = importlib.import_module("sweep_report")
        except ModuleNotFoundError as error:
            raise ImportError(f"sweeps need {error.name}: pip install -e '.[sweep]'") from None
        space = space_of(flags)
        pyplot()  # which the page will need
        if not flags.storage:
            raise ValueError("--storage: expected a file, or the address of a database")
        check_writable(flags.report)
        if os.path.abspath(flags.storage) == os.path.abspath(flags.report):
            raise ValueError(f"--report {flags.report}: this is where the study is kept; name another file")
        optuna = tools.optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        threading.excepthook = no_sign_of_life
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", ann.TrainingWarning)  # of networks that are tried, whatever comes of them
        backend = ann.get_backend(flags.device)
        dataset = without_test_images(ann.load_dataset(flags.data))
        check_sizes(space, len(dataset.train_images), flags.validation)
        with tools.one_line_storage_errors(flags.storage):
            storage = tools.open_storage(flags.storage, flags.grace)
            study = tools.join(storage, flags.study, rules(flags, space, dataset))
            cli.say(f"device {backend.name}: {backend.description}")
            count = len(tools.finished(study))
            cli.say(f"study {flags.study} in {tools.shown_place(flags.storage)}: {count} trials are done")
            with cli.Interruption() as interruption:
                try_many(flags, space, backend, dataset, study, interruption, tools)
            table, best = leaderboard(study, tools), tools.leaders(study, 1)
        cli.say(table)
        if best:
            cli.say(f"the best: {command(flags, best[0])}")
        with tools.one_line_storage_errors(flags.storage):
            page = pages.page(flags.study, study, table)
        write_atomically(flags.report, page.encode())
        cli.say(f"report:   {flags.report.resolve()}")
        if interruption.signal:
            again = shlex.join(["python", *map(tools.shown_place, sys.argv)])
            cli.leave(interruption.signal, f"interrupted: the study is kept; go on: {again}")


def without_test_images(dataset: ann.Dataset) -> ann.Dataset:
    """What a sweep may look at."""
    return dataclasses.replace(
        dataset, test_images=dataset.test_images[:0].copy(), test_labels=dataset.test_labels[:0].copy()
    )


def check_sizes(space: Space, images: int, validation: int) -> None:
    """Raise ValueError where there are too few images; the message begins with a flag's name."""
    left = images - validation
    if left < 1:
        raise ValueError(f"validation: {validation} images held out of {images} leave none to train on")
    if space.batch_size.high > left:
        raise ValueError(
            f"batch_size: {space.batch_size} is more than the {left} training images; give a smaller range"
        )


def rules(flags: argparse.Namespace, space: Space, dataset: ann.Dataset) -> dict[str, str]:
    """What the workers of a study must have in common."""
    data = hashlib.sha256(dataset.train_images.tobytes() + dataset.train_labels.tobytes()).hexdigest()
    words = {f"--{name.replace('_', '-')}": text for name, text in space.words().items()}
    words |= {
        f"--{name.replace('_', '-')}": str(getattr(flags, name))
        for name in ("time_per_trial", "max_epochs", "validation", "seed")
    }
    return {**words, "training data": data[:12], "ann": ann.__version__}


def try_many(
    flags: argparse.Namespace,
    space: Space,
    backend: ann.Backend,
    dataset: ann.Dataset,
    study: Any,
    interruption: cli.Interruption,
    tools: Any,
) -> None:
    """Trial after trial, until there are enough, the time is over, or a signal comes."""
    done = len(tools.finished(study))
    if done >= flags.trials:
        cli.say(f"there are {done} trials, and --trials {flags.trials} were wanted: nothing is left to try")
        return
    bar = tqdm(
        total=flags.trials,
        initial=done,
        dynamic_ncols=True,
        file=sys.stdout,
        disable=not sys.stdout.isatty(),
        bar_format="{n}/{total} trials|{bar}| {remaining} left{postfix}",
    )

    def after_trial(study: Any, trial: Any) -> None:
        if trial.state in tools.DONE:
            _write(bar, in_words(trial, tools.leaders(study, 1)))
        elif interruption.signal:
            _write(bar, f"trial {trial.number}: interrupted; its network is the first to be tried again")
        done = len(tools.finished(study))  # those of other workers too
        bar.update(done - bar.n)
        if done >= flags.trials or interruption.signal:
            study.stop()

    objective = partial(measure, flags, space, backend, dataset, interruption, bar, tools)
    timeout = flags.hours * 3600 if flags.hours else None
    with bar:
        until = time.monotonic() + timeout if timeout else math.inf
        while True:
            left = None if timeout is None else max(0.0, until - time.monotonic())
            try:
                study.optimize(objective, timeout=left, callbacks=[after_trial], catch=(InterruptedTrialError,))
                break
            except ValueError as error:
                if "Cannot tell" not in str(error):  # Optuna's words for a trial that others took for lost
                    raise
                _write(bar, "this worker was silent for too long, and its trial was given to another: going on")
        bar.leave = False


class InterruptedTrialError(Exception):
    """A signal came in the middle of a trial, which is to be tried again."""


def measure(
    flags: argparse.Namespace,
    space: Space,
    backend: ann.Backend,
    dataset: ann.Dataset,
    interruption: cli.Interruption,
    bar: Any,
    tools: Any,
    trial: Any,
) -> int:
    """Train one network, and count its mistakes on held-out images."""
    pruned = tools.optuna.TrialPruned
    try:
        recipe = dataclasses.replace(space.recipe(trial), validation=flags.validation)
        layers = recipe.layer_list(dataset.train_images[0].size, 10)
        numbers = sum((layer["input_dim"] + 1) * layer["output_dim"] for layer in layers)
        for name, value in {
            "worker": f"{socket.gethostname()}, process {os.getpid()}",
            "device": backend.name,
            "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
            "parameters": numbers,
            "recipe": recipe.to_json(),
        }.items():
            trial.set_user_attr(name, value)
        an_epoch = seconds_an_epoch(backend, dataset, recipe)
        epochs = max(1, min(flags.max_epochs, int(flags.time_per_trial / an_epoch)))
        recipe = dataclasses.replace(recipe, epochs=epochs)
        network = ann.NeuralNetwork(layers, recipe.loss, backend, flags.seed)
        trial.set_user_attr("recipe", recipe.to_json())
        hopeless = False
        started = time.perf_counter()

        def on_epoch(report: ann.EpochReport) -> bool:
            nonlocal hopeless
            wrong = report.validation.wrong if report.validation else 0
            bar.set_postfix_str(f"; trial {trial.number}: epoch {report.epoch}/{epochs}, {wrong} wrong")
            tenth, before = (math.floor(TENTHS * epoch / epochs) for epoch in (report.epoch, report.epoch - 1))
            if tenth > before and report.epoch < epochs:  # trials of other lengths are compared at these
                trial.report(wrong, tenth)
                hopeless = bool(trial.should_prune())
            return hopeless

        reports = ann.fit(network, dataset, recipe, [on_epoch], lambda images: interruption.signal != 0)
    except ann.DivergenceError:
        trial.set_user_attr("ended", "diverged")
        raise pruned from None
    except MemoryError:
        trial.set_user_attr("ended", "not enough memory")
        raise pruned from None
    trial.set_user_attr("seconds", round(time.perf_counter() - started, 1))
    if hopeless:
        trial.set_user_attr("ended", f"hopeless after {len(reports)} of {epochs} epochs")
        raise pruned
    if len(reports) < epochs:
        trial.study.enqueue_trial(trial.params)
        raise InterruptedTrialError
    assert reports[-1].validation
    return reports[-1].validation.wrong


def no_sign_of_life(failure: threading.ExceptHookArgs) -> None:
    """The thread that shows that this worker is alive has ended."""
    warnings.warn(
        f"no sign of life reaches the storage ({failure.exc_type.__name__}); others may make this trial again",
        RuntimeWarning,
        stacklevel=1,
    )


def _write(bar: Any, line: str) -> None:
    if bar.disable:
        cli.say(line)
    else:
        bar.write(line, file=sys.stdout)


def in_words(trial: Any, best: list[Any]) -> str:
    """What came of a trial, in a line."""
    recipe = ann.Recipe.from_json(trial.user_attrs["recipe"])
    found = trial.user_attrs.get("ended") or f"{trial.value:.0f} wrong, {trial.user_attrs['seconds']:.0f} s"
    record = f"; the best: {best[0].value:.0f}, trial {best[0].number}" if best else ""
    return f"trial {trial.number}: {in_short(recipe)}: {found}{record}"


def in_short(recipe: ann.Recipe) -> str:
    """A recipe in some words."""
    shape = "-".join(map(str, recipe.hidden)) or "no hidden layer"
    strengths = (recipe.rotation, recipe.scaling, recipe.shear, recipe.shift, recipe.elastic)
    distorted = ", distorted" if any(strengths) else ""
    return (
        f"{shape} {recipe.activation}, {recipe.output_activation}, {recipe.loss}, {recipe.optimizer} "
        f"{recipe.learning_rate:g}{distorted}"
    )


def leaderboard(study: Any, tools: Any) -> str:
    """The best trials as a table."""
    rows = [
        f"{trial.number:>5}  {trial.value:>5.0f}  {trial.user_attrs['parameters']:>10,}  "
        f"{trial.user_attrs['seconds']:>7.1f}  {in_short(ann.Recipe.from_json(trial.user_attrs['recipe']))}"
        for trial in tools.leaders(study)
    ]
    if not rows:
        return "no trial was trained to its end yet"
    return "\n".join([f"{'trial':>5}  {'wrong':>5}  {'parameters':>10}  {'seconds':>7}  network", *rows])


def command(flags: argparse.Namespace, trial: Any) -> str:
    """The command that trains a trial's network once more, with as many threads, and saves it."""
    threads = trial.user_attrs["threads"]
    recipe = ann.Recipe.from_json(trial.user_attrs["recipe"])
    data = [] if flags.data == cli.DATA else ["--data", flags.data]
    imported = [word for path in flags.imported for word in ("--import", path)]
    words = ["--device", trial.user_attrs["device"], "--seed", flags.seed, *recipe.flags(), *data, *imported]
    text = cli.command("train.py", *words, "--output", "best.pickle")
    return f"OPENBLAS_NUM_THREADS={threads} {text}" if threads else text


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = cli.Parser(
        "Try many networks, on as many machines as there are, and say which is best on held-out images.",
        EXAMPLES,
    )
    parser.add_import()
    parser.add_common()
    parser.add_argument(
        "--storage",
        default="sweep.db",
        metavar="FILE|URL",
        help="where the study is kept: a file for SQLite, a file that ends in .journal, or the address of a database; "
        "the same command elsewhere joins in (default: sweep.db)",
    )
    parser.add_argument("--study", default="digits", metavar="NAME", help="of several in one storage (default: digits)")
    parser.add_argument("--trials", type=whole(1), default=100, metavar="N", help="of all workers (default: 100)")
    parser.add_argument("--hours", type=number(above=0), metavar="N", help="begin no trial after so many")
    parser.add_argument(
        "--time-per-trial",
        type=number(above=0),
        default=30.0,
        metavar="SECONDS",
        help="a network gets as many epochs as it can make in that time, at least one (default: 30)",
    )
    parser.add_argument("--max-epochs", type=whole(1), default=200, metavar="N", help="default: 200")
    parser.add_argument(
        "--validation", type=whole(1), default=10_000, metavar="N", help="training images held out (default: 10000)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of every network (default: 0)")
    parser.add_argument(
        "--grace",
        type=whole(2),
        default=120,
        metavar="SECONDS",
        help="a worker without a sign of life for so long is taken for dead, and its trial made again (default: 120)",
    )
    parser.add_argument(
        "--report", type=Path, default=Path("sweep.html"), metavar="FILE", help="a page (default: sweep.html)"
    )
    add_flags(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
