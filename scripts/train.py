"""Train a network on MNIST and save it. The test images are not used.

Examples:
  python scripts/train.py
  # count the errors on validation images after every epoch
  python scripts/train.py --validation 10000 --output play.pickle
  # keep everything about a run in a folder; stop it with Ctrl-C, and continue it
  python scripts/train.py --validation 10000 --run runs/first
  python scripts/train.py --resume runs/first
  # train a finished run for longer, to 48 epochs in all
  python scripts/train.py --resume runs/first --epochs 48
  # train a saved network further, perhaps on other data
  python scripts/train.py --from mnist_ann.pickle --epochs 5 --output longer.pickle
  # other layers, another activation
  python scripts/train.py --hidden 256,128 --activation relu
  # no hidden layer at all
  python scripts/train.py --hidden none --output-activation softmax
  # ten networks with ten seeds in one run: error bars, and a committee
  python scripts/train.py --committee 10 --validation 10000 --report-members
  # one network trained by four processes, on one machine or several
  mpiexec -n 4 python scripts/train.py --distributed --hidden 2048,2048
  # another optimizer, with its own default learning rate and weight decay
  python scripts/train.py --optimizer nesterov
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.cli.data_set import load_dataset
from ann.cli.descriptions import describe_result, describe_setup, remarks
from ann.cli.errors import one_line_errors
from ann.cli.launch import agree_on_backend, launch
from ann.cli.progress import Progress
from ann.cli.signals import Interruption, exit_with
from ann.cli.training_flags import parse_flags
from ann.cli.training_run import TrainingRun
from ann.training.distributed import Processes
from ann.training.fastest_device import choose_backend


def main() -> None:
    """Train with one process, or with all that mpiexec started."""
    with launch() as processes:
        train(parse_flags(__doc__), processes)


def train(flags: argparse.Namespace, processes: Processes) -> None:
    """Load the data, build the network, train it and save it."""
    started = time.perf_counter()
    recipe, run = flags.recipe, TrainingRun(flags, processes)
    with one_line_errors(run.left, vars(recipe)):
        run.check()
        dataset, backend = load(flags, processes)
        backend = agree_on_backend(processes, backend, flags.precision)
        network = run.network(dataset, backend)
        network.to_bytes()  # fails now, not after the training, if it fails
        run.begin(dataset, network)
        print(f"device {backend.name}: {backend.description}")
        for line in run.about_resuming(backend):
            print(line)
        if flags.start:
            print(f"starts from {flags.start}")
        print(describe_setup(network, recipe, processes.size))
        with Progress(recipe, network, dataset, run.state) as progress, Interruption() as stop:
            callbacks = [*run.callbacks, progress, stop]
            options: dict[str, Any] = {"checkpoints": run.checkpoints, "processes": processes}
            reports = ann.fit(network, dataset, recipe, callbacks, **options)
            if network.recipe is None:  # not finished: a signal came to this process or another
                exit_with(stop.signal or signal.SIGINT, run.interrupted(reports))
        if processes.rank > 0:
            return
        run.save(network)
        seconds = time.perf_counter() - started
        result = describe_result(recipe, reports)
        print(f"saved {flags.output} after {seconds:.1f} s in all; {result}")
        for remark in remarks(network, dataset, recipe, flags.report_members):
            print(remark)
        run.draw_curves(reports)
        run.print_commands(backend, reports)


def load(flags: argparse.Namespace, processes: Processes) -> tuple[ann.Dataset, ann.Backend]:
    """The data, and the device: "auto" takes the faster one."""
    backend = ann.get_backend(flags.device, flags.precision)
    dataset = load_dataset(flags.data)
    if flags.device == "auto" and processes.size == 1:
        backend = choose_backend(dataset, flags.recipe, flags.precision)
    return dataset, backend


if __name__ == "__main__":
    main()
