"""Compare the speed of training, prediction, distortion and start-up with other libraries.

It takes 6 minutes on an idle machine.

Examples:
  python scripts/benchmark.py
  python scripts/benchmark.py --quick
  python scripts/benchmark.py --distributed
  # how long each part of a training step of your recipe takes
  python scripts/benchmark.py --profile --hidden 256,128 --activation relu
  # how the time of a step grows with batch size, width and depth
  python scripts/benchmark.py --roofline roofline.png
  python scripts/benchmark.py --only classroom --repetitions 11 --output figures.json
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

from benchmarking import distortion, distributed, roofline, step_profile
from benchmarking.flags import NAMES, REPETITIONS, parse_flags
from benchmarking.measurements import measure_predicting, measure_start_up, measure_training
from benchmarking.tasks import TASKS
from benchmarking.timing import describe_machine

import ann
from ann.cli.data_set import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.output import warn
from ann.cli.parser import check_output
from ann.files.atomic import write_atomically


@one_line_errors(names=vars(ann.Recipe()))
def main() -> None:
    """Measure, print tables, and save the figures after each of them."""
    flags = parse_flags(__doc__)
    if flags.output:
        check_output(flags.output, ".json", flags.data)
    backend = ann.get_backend(flags.device or "cpu")
    tasks: dict[str, Any] = {}
    results = {"machine": describe_machine(backend), "date": str(date.today()), "tasks": tasks}

    def leave(*signal_and_frame: object) -> NoReturn:
        """Exit at once: on Ctrl-C, scikit-learn would only stop training, and others crash."""
        saved = f"figures so far are in {flags.output}" if flags.output and tasks else ""
        warn(f"interrupted: {saved or 'nothing was written'}")
        os._exit(130)

    signal.signal(signal.SIGINT, leave)
    print(results["machine"])
    for name, figures in measurements(flags, backend):
        tasks[name] = figures
        if flags.output:
            write_atomically(flags.output, json.dumps(results, indent=1).encode())


def measurements(flags: argparse.Namespace, backend: ann.Backend) -> Iterator[tuple[str, Any]]:
    """The name and the figures of each task, as soon as it is measured."""
    quick, repetitions = flags.quick, flags.repetitions or (1 if flags.quick else REPETITIONS)
    if flags.distributed:
        yield from distributed.measure(repetitions, quick, flags.only)
        return
    dataset = load_dataset(flags.data)
    if flags.profile:
        for name in [flags.device] if flags.device else ["cpu", "gpu"]:
            try:
                backend = ann.get_backend(name)
            except ann.DeviceError as error:
                print(f"\nno GPU: {error}")
            else:
                figures = step_profile.measure(backend, dataset, flags.recipe, quick)
                yield f"profile, {name}", figures
        return
    if flags.roofline:
        figures = roofline.measure(backend, dataset, flags.recipe, flags.roofline, quick)
        yield f"roofline, {backend.name}", figures
        return
    tasks = {task.name: replace(task, device=backend.name) for task in TASKS}
    for name in [flags.only] if flags.only else NAMES:
        if name in tasks:
            figures = measure_training(tasks[name], backend, dataset, repetitions, quick)
        elif name == "predict":
            figures = measure_predicting(tasks["classroom"], dataset, repetitions)
        elif name == "distort":
            figures = distortion.measure(dataset, backend, repetitions, quick)
        else:
            figures = measure_start_up(flags.data, repetitions)
        yield name, figures


if __name__ == "__main__":
    main()
