"""Try many networks, on as many machines as there are, and say which makes the fewest mistakes on held-out images."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import shlex
import sys
import threading
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

from sweep_space import Space, add_flags, space_of
from sweep_words import command, leaderboard

import ann
from ann.analysis.figures import pyplot
from ann.cli.download_bar import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser, check_suffix, number, whole
from ann.cli.signals import Interruption, exit_with
from ann.files.atomic import check_writable, write_atomically

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
    with one_line_errors(lambda: "the study is kept; run the same command again to continue", vars(flags)):
        try:
            import sweep_report
            import sweep_study
            import sweep_worker
        except ModuleNotFoundError as error:
            raise ImportError(f"sweeps need {error.name}: pip install -e '.[sweep]'") from None
        space = space_of(flags)
        pyplot()  # which the page will need
        if not flags.storage:
            raise ValueError("--storage: expected a file, or the address of a database")
        check_suffix(flags.report, ".html")
        check_writable(flags.report)
        if os.path.abspath(flags.storage) == os.path.abspath(flags.report):
            raise ValueError(f"--report {flags.report}: this is where the study is kept; name another file")
        sweep_study.hush()
        threading.excepthook = no_sign_of_life
        warnings.simplefilter("ignore", ann.TrainingWarning)  # of networks that are tried, whatever comes of them
        backend = ann.get_backend(flags.device)
        dataset = without_test_images(load_dataset(flags.data))
        check_sizes(space, len(dataset.train_images), flags.validation)
        with sweep_study.one_line_storage_errors(flags.storage):
            storage = sweep_study.open_storage(flags.storage, flags.grace)
            study = sweep_study.join(storage, flags.study, rules(flags, space, dataset))
            echo(f"device {backend.name}: {backend.description}")
            count = len(sweep_study.finished(study))
            echo(f"study {flags.study} in {sweep_study.shown_place(flags.storage)}: trials done: {count}")
            with Interruption() as interruption:
                sweep_worker.Worker(flags, space, backend, dataset, study, interruption).work()
            best = sweep_study.leaders(study)
        table = leaderboard(best)
        echo(table)
        if best:
            echo(f"the best: {command(flags, best[0])}")
        with sweep_study.one_line_storage_errors(flags.storage):
            page = sweep_report.page(flags.study, study, table)
        write_atomically(flags.report, page.encode())
        echo(f"report:   {flags.report.resolve()}")
        if interruption.signal:
            again = shlex.join(["python", *map(sweep_study.shown_place, sys.argv)])
            exit_with(interruption.signal, f"interrupted: the study is kept; go on: {again}")


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


def no_sign_of_life(failure: threading.ExceptHookArgs) -> None:
    """The thread that shows that this worker is alive has ended."""
    warnings.warn(
        f"no sign of life reaches the storage ({failure.exc_type.__name__}); others may make this trial again",
        RuntimeWarning,
        stacklevel=1,
    )


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        "Try many networks, on as many machines as there are, and say which is best on held-out images.",
        EXAMPLES,
    )
    parser.add_import()
    parser.add_common()
    parser.add_argument(
        "--storage",
        type=os.path.expanduser,  # not Path: it may be an address
        default="sweep.db",
        metavar="FILE|URL",
        help="where the study is kept: a file for SQLite, a file that ends in .journal, or the address of a database; "
        "the same command elsewhere joins in (default: sweep.db)",
    )
    parser.add_argument("--study", default="digits", metavar="NAME", help="of several in one storage (default: digits)")
    parser.add_argument(
        "--trials",
        type=whole(1),
        default=100,
        metavar="N",
        help="begin none when all workers together have ended so many (default: 100)",
    )
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
