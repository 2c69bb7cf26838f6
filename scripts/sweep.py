"""Try many networks, on one machine or many, and report which makes the fewest mistakes.

Examples:
  python scripts/sweep.py
  # 200 small networks, half a minute each; after Ctrl-C the same command continues
  python scripts/sweep.py --trials 200 --hidden-layers 1-2 --width 16-128 --distort no
  # convolutional networks: each trial chooses one of these lists of hidden layers
  python scripts/sweep.py --hidden conv8x5,pool2,64 conv16x5,pool2,conv32x5,pool2,128
  # two workers on one machine, in two terminals
  OPENBLAS_NUM_THREADS=1 python scripts/sweep.py
  # many machines that share a database, or a journal file on a shared disk
  python scripts/sweep.py --storage postgresql://me:secret@server/sweeps
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

from sweeping import STUDY
from sweeping.space import Space, add_flags

import ann
from ann.cli.data_set import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, number, whole
from ann.cli.signals import Interruption, exit_with
from ann.errors import require
from ann.files.atomic import write_atomically


def main() -> None:
    """Join the study, try networks, and report the best."""
    flags = parse_flags()
    kept = "the study is kept; run the same command again to continue"
    with one_line_errors(lambda: kept, vars(flags)):
        for module in ("optuna", "sqlalchemy", "matplotlib.pyplot"):
            require(module, "sweep", f"sweeps need {module.split('.')[0]}")
        from sweeping import results, storage, study, worker

        space = Space(flags)
        flags.report = flags.report or storage.page_of(flags.storage, flags.study)
        storage.check_files(flags.storage, flags.report)
        backend = ann.get_backend(flags.device)
        dataset = study.without_test_images(load_dataset(flags.data))
        space.check(dataset, flags.validation)
        storage.silence_optuna()
        with storage.one_line_storage_errors(flags.storage):
            opened = storage.open_storage(flags.storage, flags.grace)
            joined = study.join(opened, flags.study, study.rules_of(flags, space, dataset))
            print(f"device {backend.name}: {backend.description}")
            place, done = storage.without_passwords(flags.storage), len(study.finished(joined))
            print(f"study {flags.study} in {place}: trials done: {done}")
            with Interruption() as interruption:
                worker.Worker(flags, space, backend, dataset, joined, interruption).work()
            best = study.best_trials(joined)
            table = results.leaderboard(best)
            print(table)
            if best:
                print(f"the best: {results.training_command(flags, best[0])}")
            text = results.sweep_page(flags.study, joined, table)
        write_atomically(flags.report, text.encode())
        print(f"report:   {flags.report.resolve()}")
        if interruption.signal:
            again = shlex.join(["python", *map(storage.without_passwords, sys.argv)])
            exit_with(interruption.signal, f"interrupted: the study is kept; continue: {again}")


@one_line_errors()
def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_common()
    text = "an SQLite file, a .journal file, or the URL of a database"
    parser.add("--storage FILE|URL", text, os.path.expanduser, "sweep.db")
    parser.add("--study NAME", "name of the study; a storage can hold several", default=STUDY)
    text = "start no new trial after the workers together have finished N"
    parser.add("--trials N", text, whole(1), 100)
    parser.add("--hours N", "start no new trial after N hours", number(above=0))
    text = "training time of each trial, which takes at least 1 epoch"
    parser.add("--time-per-trial SECONDS", text, number(above=0), 30.0)
    parser.add("--max-epochs N", "at most this many epochs per trial", whole(1), 200)
    parser.add("--validation N", "validation images, from the training images", whole(1), 10_000)
    parser.add("--seed SEED", "random seed of every network", whole(0), 0)
    text = "repeat a trial after this time without a heartbeat"
    parser.add("--grace SECONDS", text, whole(2), 120)
    text = "the page of figures (default: beside the storage, named after it and the study)"
    parser.add("--report FILE", text, Path)
    add_flags(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
