"""The files of a training run: its model and, in a run folder, its log, checkpoints and curves."""

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path

from ann.analysis.figures import figure_of_curves, save_figure
from ann.backends.base import Backend
from ann.cli.bootstrap import PROCESSES
from ann.cli.data_set import check_fit
from ann.cli.errors import describe_error
from ann.cli.launch import FLAG
from ann.cli.parser import check_output, data_flags, data_name
from ann.cli.run_folder import (
    CHECKPOINT,
    CONFIG,
    START,
    RunFolder,
    check_same_data,
    recipe_of,
    versions,
)
from ann.cli.start_network import start_network
from ann.cli.training_flags import checkpoints_in
from ann.data.datasets import Dataset
from ann.errors import AnnError, printable_text
from ann.installation import command
from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState, check_same_run
from ann.training.checkpointer import Checkpoints
from ann.training.distributed import Processes
from ann.training.recipe import Recipe
from ann.training.report import EpochReport


class TrainingRun:
    """Reads and writes the files of a training run, with or without a run folder.

    Of several processes, only the first one writes.

    Attributes:
        state: the progress of a run that is resumed.
        callbacks: for ``ann.fit``: the run folder, if there is one.
    """

    def __init__(self, flags: argparse.Namespace, processes: Processes) -> None:
        self._flags = flags
        self._processes = processes
        self._path: Path | None = flags.run or flags.resume
        self.callbacks: list[Callback] = []
        self._model_before = _identity(flags.output)
        self.state = TrainingState()

    def check(self) -> None:
        """Raise ValueError or OSError for anything that would fail after the training."""
        flags = self._flags
        if self._processes.rank > 0:
            return
        if flags.resume:
            self._resume()
        if not flags.run:
            check_output(flags.output, ".pickle", flags.start, flags.data)

    def _resume(self) -> None:
        flags, config = self._flags, self._flags.config
        origin = config.get("from")
        if origin and not flags.start:
            missing = "the model from which this run started is missing"
            advice = (
                f"if {printable_text(origin, 1000)} has not changed since, copy it to this path"
            )
            raise AnnError(f"{flags.resume / START}: {missing}; {advice}")
        folder = RunFolder.resume(flags.resume, config, flags.recipe.epochs)
        self.state, self.callbacks = folder.state, [folder]
        before = {"recipe": vars(recipe_of(config)), "seed": config["seed"]}
        now = {"recipe": vars(flags.recipe), "seed": flags.seed}
        check_same_run(flags.resume, before, now)

    def network(self, dataset: Dataset, backend: Backend) -> NeuralNetwork:
        """The network at the start of the training: new or, with ``--from``, a saved one."""
        flags = self._flags
        if flags.start:
            network = start_network(flags.start, backend, flags.seed, dataset.classes)
            check_fit(network, flags.start, dataset, flags.data)
            return network
        recipe: Recipe = flags.recipe
        return recipe.network(dataset, backend, flags.seed)

    def begin(self, dataset: Dataset, network: NeuralNetwork) -> None:
        """Create the folder of a new run, or check that a resumed run has the same data."""
        flags = self._flags
        if self._processes.rank > 0:
            return
        if flags.run:
            self.callbacks = [RunFolder.create(flags, dataset, network)]
        elif flags.resume:
            check_same_data(flags.resume, flags.config, dataset, data_name(flags.data))

    def about_resuming(self, backend: Backend) -> list[str]:
        """Lines about a resumed run: what has changed since it started, and where it continues."""
        if not self._flags.resume:
            return []
        config, done = self._flags.config, len(self.state.reports)
        before = {"device": config["device"], **config["versions"]}
        now = {"device": backend.name, **versions(backend)}
        lines = [
            f"note: started with {name} {printable_text(before[name])}, "
            f"continuing with {value}; last digits may differ"
            for name, value in now.items()
            if before.get(name) not in (None, value)
        ]
        if self.state.finished:
            epochs = f"{done} epoch{'s' * (done > 1)}"
            return [*lines, f"this run finished after {epochs}; its files are written again"]
        if done:
            return [*lines, f"continuing after {done} of {config['recipe']['epochs']} epochs"]
        return [*lines, "continuing in the first epoch"]

    @property
    def checkpoints(self) -> Checkpoints | None:
        """For ``ann.fit``."""
        return checkpoints_in(self._path, self._flags.checkpoint_every) if self._path else None

    def save(self, network: NeuralNetwork) -> None:
        """Save the model; if the disk has filled up since ``check``, in a temporary folder."""
        path = self._flags.output
        try:
            network.save(path)
        except OSError as error:
            folder = Path(tempfile.mkdtemp(prefix="ann-"))
            try:
                network.save(folder / path.name)
            except OSError:
                folder.rmdir()
                raise error from None
            found = f"the model is in {folder / path.name} instead"
            raise OSError(error.errno, f"{error.strerror}; {found}", str(path)) from None

    def draw_curves(self, reports: list[EpochReport]) -> None:
        """Draw the curves of a run with a folder; a failure is only reported."""
        if not self._path:
            return
        try:
            path = self._path / "curves.png"
            save_figure(figure_of_curves(reports), path)
            print(f"curves:    {path}")
        except Exception as error:  # a drawing library, or its configuration, may raise anything
            print(f"no curves: {describe_error(error)}")

    def interrupted(self, reports: list[EpochReport]) -> str:
        """The last line of output if a signal ended training."""
        if not self._path:
            return f"interrupted: {self.left()}"
        epochs = f"{len(reports)} of {self._flags.recipe.epochs} epochs"
        return f"interrupted after {epochs}; continue: {self._resume_command()}"

    def left(self) -> str:
        """What an interruption at this moment leaves, and how to continue."""
        flags = self._flags
        if _identity(flags.output) != self._model_before:
            return f"the new model is in {flags.output}"
        # Until the folder is ours, the config there would be another run's
        if self._path and (flags.resume or (self.callbacks and (self._path / CONFIG).exists())):
            if not (self._path / CHECKPOINT).exists():
                return f"no checkpoint was written yet; start again: {self._resume_command()}"
            return f"{self._path} holds the last checkpoint; continue: {self._resume_command()}"
        kept = f", and {flags.output} is unchanged" if self._model_before else ""
        if self._path:
            return f"nothing was saved{kept}"
        advice = "use --run FOLDER to save checkpoints, then --resume FOLDER to continue"
        return f"nothing was saved{kept}; {advice}"

    def print_commands(self, backend: Backend, reports: list[EpochReport]) -> None:
        """Print the commands that test this model and repeat this run."""
        flags = self._flags
        data = data_flags(flags)
        print(f"test it:   {command('test', '--model', flags.output, *data)}")
        precision = [] if flags.precision == "float32" else ["--precision", flags.precision]
        words = ["--device", backend.name, *precision, "--seed", flags.seed]
        first, *later = sorted({report.epochs for report in reports})
        words += [*dataclasses.replace(flags.recipe, epochs=first).flags(), *data]
        if flags.start:
            words += ["--from", (self._path / START).absolute() if self._path else flags.start]
        again = f"{os.path.abspath(self._path)}-again" if self._path else ""
        words += ["--run", again] if again else ["--output", flags.output]
        lines = [command("train", *words)]
        lines += [command("train", "--resume", again, "--epochs", epochs) for epochs in later]
        size = self._processes.size
        print(f"repeat it: {' && '.join(_distributed(line, size) for line in lines)}")

    def _resume_command(self) -> str:
        return _distributed(command("train", "--resume", self._path), PROCESSES)


def _distributed(line: str, size: int) -> str:
    """The same command for several processes."""
    return f"mpiexec -n {size} {line} {FLAG}" if size > 1 else line


def _identity(path: Path) -> tuple[int, ...] | None:
    """Numbers that differ between two versions of a file; None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
