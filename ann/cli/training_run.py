"""The files of a training: its model and, in a run folder, its log, checkpoints and curves."""

import argparse
import dataclasses
import os
import shlex
import sys
import tempfile
import warnings
from pathlib import Path

from ann.analysis.figures import figure_of_curves, save_figure
from ann.backends.base import Backend
from ann.cli.bootstrap import PROCESSES
from ann.cli.commands import command
from ann.cli.launch import FLAG
from ann.cli.output import echo
from ann.cli.parser import OTHER_FORMATS, check_suffix, data_flags
from ann.cli.start_network import start_network
from ann.cli.training_flags import checkpoints_in, recipe_of
from ann.data.datasets import Dataset
from ann.errors import AnnError, printable_text
from ann.files.atomic import check_writable
from ann.neural_network import NeuralNetwork
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState, check_same_run
from ann.training.checkpointer import Checkpoints
from ann.training.distributed import Processes
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.training.run_folder import START, RunFolder, read_training_state, run_config, versions


class TrainingRun:
    """What a training reads and writes, with or without a run folder.

    Of several processes, only the first one writes.

    Attributes:
        state: the progress of a resumed run, otherwise None.
    """

    def __init__(self, flags: argparse.Namespace, processes: Processes) -> None:
        self._flags = flags
        self._processes = processes
        self._path: Path | None = flags.run or flags.resume
        self._folder: RunFolder | None = None
        self._model_before = _identity(flags.output)
        self._config_before = _identity(self._config_file)
        self.state: TrainingState | None = None

    def check(self) -> None:
        """Raise ValueError or OSError for anything that would fail after the training."""
        flags, size = self._flags, self._processes.size
        if flags.recipe.batch_size < size:
            images = f"{flags.recipe.batch_size} images per batch are"
            raise ValueError(f"batch_size: {images} too few for {size} processes")
        if flags.resume:
            origin = flags.config.get("from")
            if origin and not flags.start:
                missing = "there is no such file, but the run started from it"
                advice = f"copy {printable_text(origin, 1000)} there if it is unchanged"
                raise AnnError(f"{flags.resume / START}: {missing}; {advice}")
            recipe, epochs = recipe_of(flags.config), flags.recipe.epochs
            if read_training_state(flags.resume).is_shorter_than(epochs):
                recipe = dataclasses.replace(recipe, epochs=epochs)
            before = {"recipe": vars(recipe), "seed": flags.config["seed"]}
            now = {"recipe": vars(flags.recipe), "seed": flags.seed}
            check_same_run(flags.resume, before, now)
        if not flags.run and self._processes.rank == 0:
            check_suffix(flags.output, ".pickle", OTHER_FORMATS)
            check_writable(flags.output)
            if flags.start and os.path.realpath(flags.start) == os.path.realpath(flags.output):
                advice = "training starts from this file; name another one with --output"
                raise ValueError(f"{flags.output}: {advice}")

    def network(self, dataset: Dataset, backend: Backend) -> NeuralNetwork:
        """The network at the start of the training: new or, with ``--from``, a saved one."""
        flags = self._flags
        if flags.start:
            return start_network(flags.start, backend, flags.seed, dataset.classes)
        recipe: Recipe = flags.recipe
        return recipe.network(dataset, backend, flags.seed)

    def begin(self, dataset: Dataset, network: NeuralNetwork) -> None:
        """Create or open the run's folder."""
        if self._processes.rank > 0 or not self._path:
            return
        flags = self._flags
        if flags.run:
            config = run_config(
                flags.recipe,
                flags.seed,
                dataset,
                network.backend,
                precision=flags.precision,
                data=flags.data if isinstance(flags.data, str) else os.path.abspath(flags.data),
                imported=[os.path.abspath(path) for path in flags.imported],
                checkpoint_every=flags.checkpoint_every,
                command=shlex.join(sys.argv),
                **({"from": os.path.abspath(flags.start)} if flags.start else {}),
            )
            start = network.to_bytes() if flags.start else b""
            self._folder = RunFolder.create(flags.run, config, start)
        else:
            self._folder = RunFolder.open(flags.resume)
            self.state = self._folder.resume(flags.recipe.epochs)

    def changes(self, backend: Backend) -> list[str]:
        """A line for each difference in device and versions since the run started."""
        if not self.state or not self._folder:
            return []
        config = self._folder.config
        before = {"device": config["device"], **config["versions"]}
        now = {"device": backend.name, **versions(backend)}
        return [
            f"note: started with {name} {before[name]}, continuing with {value}; "
            "last digits may differ"
            for name, value in now.items()
            if before.get(name) not in (None, value)
        ]

    @property
    def callbacks(self) -> list[Callback]:
        """For ``ann.fit``: the run's log."""
        return [self._folder] if self._folder else []

    @property
    def checkpoints(self) -> Checkpoints | None:
        """For ``ann.fit``."""
        return checkpoints_in(self._path, self._flags.checkpoint_every) if self._path else None

    def write_log(self, reports: list[EpochReport]) -> None:
        """Write the complete log; a failure is only a warning, since the network matters more."""
        try:
            if self._folder:
                self._folder.write_log(reports)
        except OSError as error:
            message = f"no log was written: {error.filename}: {error.strerror}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

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
        if not self._folder:
            return
        try:
            path = self._folder.path / "curves.png"
            save_figure(figure_of_curves(reports), path)
            echo(f"curves:    {path}")
        except OSError as error:
            echo(f"no curves: {error.filename}: {error.strerror}")
        except Exception as error:  # a drawing library, or its configuration, may raise anything
            echo(f"no curves: {' '.join(str(error).split())}")

    def interrupted(self, reports: list[EpochReport]) -> str:
        """The last line of a training that a signal ended."""
        if not self._path:
            return f"interrupted: {self.left()}"
        epochs = f"{len(reports)} of {self._flags.recipe.epochs} epochs"
        return f"interrupted after {epochs}; continue: {self._resume_command()}"

    def left(self) -> str:
        """What an interruption at this moment leaves, and how to continue."""
        flags = self._flags
        if _identity(flags.output) != self._model_before:
            return f"the new model is in {flags.output}"
        if self._path and (flags.resume or _identity(self._config_file) != self._config_before):
            if not (self._path / "checkpoint.npz").exists():
                return f"no checkpoint was written yet; start again: {self._resume_command()}"
            return f"{self._path} holds the last checkpoint; continue: {self._resume_command()}"
        kept = f", and {flags.output} is unchanged" if self._model_before else ""
        if self._path:
            return f"nothing was saved{kept}"
        advice = "use --run FOLDER to save checkpoints, then --resume FOLDER to continue"
        return f"nothing was saved{kept}; {advice}"

    def echo_commands(self, backend: Backend, reports: list[EpochReport]) -> None:
        """Print the commands that test this model and repeat this training."""
        flags = self._flags
        data = data_flags(flags)
        echo(f"test it:   {command('test', '--model', flags.output, *data)}")
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
        echo(f"repeat it: {' && '.join(_distributed(line, size) for line in lines)}")

    def _resume_command(self) -> str:
        return _distributed(command("train", "--resume", self._path), PROCESSES)

    @property
    def _config_file(self) -> Path:
        return (self._path or Path()) / "config.json"


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
