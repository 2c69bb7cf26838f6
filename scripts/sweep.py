"""Try many networks, on one machine or many, and report which makes the fewest mistakes."""

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

from sweeping.messages import leaderboard, training_command
from sweeping.space import Space, add_flags

import ann
from ann.cli.download_bar import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser, number, whole
from ann.cli.signals import Interruption, exit_with
from ann.errors import require
from ann.files.atomic import write_atomically

EXAMPLES = """\
  python scripts/sweep.py
  # 200 small networks, half a minute each; after Ctrl-C the same command continues
  python scripts/sweep.py --trials 200 --hidden-layers 1-2 --width 16-128 --distort no
  # convolutional networks: each trial chooses one of these lists of hidden layers
  python scripts/sweep.py --hidden conv8x5,pool2,64 conv16x5,pool2,conv32x5,pool2,128
  # two workers on one machine, in two terminals
  OPENBLAS_NUM_THREADS=1 python scripts/sweep.py
  # many machines that share a database or, with their disk, a journal
  python scripts/sweep.py --storage postgresql://me:secret@server/sweeps"""


def main() -> None:
    """Join the study, try networks, and report the best."""
    flags = parse_flags()
    kept = "the study is kept; run the same command again to continue"
    with one_line_errors(lambda: kept, vars(flags)):
        for module in ("optuna", "sqlalchemy", "matplotlib.pyplot"):
            require(module, "sweep", f"sweeps need {module.split('.')[0]}")
        from sweeping import page, storage, study, worker

        space = Space(flags)
        storage.check_files(flags)
        backend = ann.get_backend(flags.device)
        dataset = study.without_test_images(load_dataset(flags.data))
        space.check_sizes(len(dataset.train_images), flags.validation)
        space.check_layers(dataset)
        storage.silence_optuna()
        with storage.one_line_storage_errors(flags.storage):
            opened = storage.open_storage(flags.storage, flags.grace)
            joined = study.join(opened, flags.study, study.rules_of(flags, space, dataset))
            echo(f"device {backend.name}: {backend.description}")
            place, done = storage.without_passwords(flags.storage), len(study.finished(joined))
            echo(f"study {flags.study} in {place}: trials done: {done}")
            with Interruption() as interruption:
                worker.Worker(flags, space, backend, dataset, joined, interruption).work()
            best = study.best_trials(joined)
            echo(leaderboard(best))
            if best:
                echo(f"the best: {training_command(flags, best[0])}")
            text = page.sweep_page(flags.study, joined, leaderboard(best))
        write_atomically(flags.report, text.encode())
        echo(f"report:   {flags.report.resolve()}")
        if interruption.signal:
            again = shlex.join(["python", *map(storage.without_passwords, sys.argv)])
            exit_with(interruption.signal, f"interrupted: the study is kept; continue: {again}")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Try many networks, and report which makes the fewest mistakes.", EXAMPLES)
    parser.add_import()
    parser.add_common()

    def add(flag: str, kind: Any, default: Any, metavar: str | None, text: str) -> None:
        shown = f" (default: {default})" if default is not None else ""
        parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=text + shown)

    add("--storage", os.path.expanduser, "sweep.db", "FILE|URL", "SQLite or .journal file, or URL")
    add("--study", str, "digits", "NAME", "one of several in a storage")
    add("--trials", whole(1), 100, "N", "start no new trial after N have finished, of all workers")
    add("--hours", number(above=0), None, "N", "start no new trial after N hours")
    add(
        "--time-per-trial",
        number(above=0),
        30.0,
        "SECONDS",
        "training time of each trial, which takes at least 1 epoch",
    )
    add("--max-epochs", whole(1), 200, "N", "the most epochs of a trial")
    add("--validation", whole(1), 10_000, "N", "validation images, from the training images")
    add("--seed", whole(0), 0, None, "random seed of every network")
    add("--grace", whole(2), 120, "SECONDS", "repeat a trial after this time without a heartbeat")
    add("--report", Path, Path("sweep.html"), "FILE", "the page of figures")
    add_flags(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
