"""The folder of a training run: its configuration, a log with a line per epoch, the checkpoint and
the model. Only one process at a time trains in a folder.
"""

import argparse
import errno
import importlib
import json
import os
import platform
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, Self

from ann import _version
from ann.backends.base import Backend
from ann.backends.blas import processors
from ann.backends.select import PRECISIONS
from ann.data.datasets import Dataset
from ann.errors import AnnError, CheckpointError, printable
from ann.files.atomic import Lock, read_regular, user_path, write_atomically
from ann.files.digest import digest
from ann.neural_network import NeuralNetwork
from ann.spelling import check_choice
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState, read_checkpoint
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.validation import check_count

FORMAT, VERSION = "ann-run", 1
_MAX_BYTES = 2**20
CHECKPOINT = "checkpoint.npz"
CONFIG = "config.json"
START = "start.pickle"  # the saved network from which the run started, if it did
_TYPES = {
    "recipe": dict,
    "seed": int,
    "versions": dict,
    "data": str,
    "imported": list,
    "checkpoint_every": str,
}


class RunFolder(Callback):
    """Writes the config and the log of one run. Its folder is locked against other processes.

    Nothing is written before training starts. If the run is refused, a new folder stays empty.

    Args:
        path: the folder.
        config: all that is needed to repeat the run, as plain values.

    Attributes:
        state: the progress of the run, for its log.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.state = TrainingState()
        self._path = path
        self._config = config
        self._log = path / "log.jsonl"
        self._unwritten: dict[Path, bytes] = {}  # files to write when training starts
        try:
            self._lock = Lock(path)
        except BlockingIOError:
            raise AnnError(f"{path}: another process is training in this folder") from None
        for left_over in path.glob(".ann-*.part"):  # from a killed process
            if left_over.is_file():
                left_over.unlink()

    @classmethod
    def create(cls, flags: argparse.Namespace, dataset: Dataset, network: NeuralNetwork) -> Self:
        """Begin a run in a new or empty folder. Raises OSError if that is not possible."""
        folder, backend = flags.run, network.backend
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "version": VERSION,
            "recipe": vars(flags.recipe),
            "seed": flags.seed,
            "device": backend.name,
            "device_description": backend.description,
            "data_sha256": digests(dataset),
            "versions": versions(backend),
            "precision": flags.precision,
            "data": flags.data if isinstance(flags.data, str) else os.path.abspath(flags.data),
            "imported": [os.path.abspath(path) for path in flags.imported],
            "checkpoint_every": flags.checkpoint_every,
            "command": shlex.join(sys.argv),
        }
        if flags.start:
            config["from"] = os.path.abspath(flags.start)
        run = cls(folder, config)
        if any(not name.startswith(".ann-") for name in os.listdir(folder)):
            reason = f"The folder is not empty; {_use_of(folder)}name a new folder"
            raise OSError(errno.ENOTEMPTY, reason, str(folder))
        if flags.start:
            run._unwritten[folder / START] = network.to_bytes()
        run._change_config()
        return run

    @classmethod
    def resume(cls, path: Path, config: dict[str, Any], epochs: int) -> Self:
        """Continue the run in a folder. Raises OSError or AnnError if that is not possible.

        A finished run of fewer epochs becomes an unfinished run of this many epochs.
        """
        run = cls(path, config)
        run.state = read_training_state(path)
        if run.state.is_shorter_than(epochs):
            config["recipe"]["epochs"] = epochs
            run.state.finished = False
            run._change_config()
        # The log may be ahead of the checkpoint, or end in half a line
        run._unwritten[run._log] = run._lines()
        return run

    def _change_config(self) -> None:
        text = json.dumps(self._config, indent=2) + "\n"
        self._unwritten[self._path / CONFIG] = text.encode()

    def _lines(self) -> bytes:
        return "".join(f"{report.to_json()}\n" for report in self.state.reports).encode()

    def at_start(self) -> None:
        """Write the new files: only now is it certain that training starts."""
        for path, data in self._unwritten.items():
            write_atomically(path, data)

    def after_epoch(self, report: EpochReport) -> None:
        """Add a line to the log; a failure is only a warning."""
        self.state.reports.append(report)
        try:
            with open(self._log, "a", encoding="utf-8") as file:
                file.write(f"{report.to_json()}\n")
        except OSError as error:
            message = f"{self._log}: {error.strerror}; training continues"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def at_end(self) -> None:
        """Write the whole log again, since lines may be missing; a failure is only a warning."""
        try:
            write_atomically(self._log, self._lines())
        except OSError as error:
            message = f"no log was written: {error.filename}: {error.strerror}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def digests(dataset: Dataset) -> dict[str, str]:
    """A digest of each array of a data set."""
    return {name: digest(array) for name, array in dataset.arrays().items()}


def check_same_data(path: Path, config: dict[str, Any], dataset: Dataset, data: str) -> None:
    """Raise AnnError if the training data are not those of the run; the test data may be others.

    ``data`` names the data set.
    """
    before, now = config.get("data_sha256"), digests(dataset)
    if not isinstance(before, dict):
        return  # the checkpoint has a digest, too
    if any(before.get(name, now[name]) != now[name] for name in ("train_images", "train_labels")):
        problem = f"this run was started with other training data than {data}"
        advice = "name its data with --data, or start a new run in another folder"
        raise AnnError(f"{path}: {problem}; {advice}")


def read_training_state(folder: Path) -> TrainingState:
    """The training state of the run in a folder. Raises AnnError if the run cannot be resumed."""
    read_config(folder)
    checkpoint = folder / CHECKPOINT
    try:
        return read_checkpoint(checkpoint)[1] if checkpoint.exists() else TrainingState()
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it to restart the run") from None


def _use_of(folder: Path) -> str:
    """Advice about a folder that is not empty, to be followed by "name a new folder"."""
    try:
        finished = read_training_state(folder).finished
    except AnnError:  # --resume would refuse it
        return ""
    resume = f"--resume {shlex.quote(str(folder))}"
    if finished:
        return f"train its finished run further with {resume} --epochs N, or "
    return f"continue its run with {resume}, or "


def versions(backend: Backend) -> dict[str, str]:
    """The versions and settings that may change the last digits of a result."""
    machine = f"{platform.system()} {platform.machine()}"
    found = {"Python": platform.python_version(), "machine": machine}
    if backend.name == "cpu":
        found["threads"] = str(processors())
    found["ann"] = _version.__version__
    for module in (importlib.import_module("numpy"), backend.xp):
        found[module.__name__] = module.__version__
    return found


def recipe_of(config: dict[str, Any]) -> Recipe:
    """The recipe of a run. Fields that its config lacks get their defaults."""
    return Recipe.from_json(json.dumps(config["recipe"]))


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The config of the run in a folder. Raises AnnError if there is none, or it is damaged."""
    file = user_path(path) / CONFIG
    try:
        config = json.loads(read_regular(file, _MAX_BYTES))
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        if config.get("version") != VERSION:
            raise ValueError(f"version {printable(config.get('version'))}, expected {VERSION}")
        for name, kind in _TYPES.items():
            if type(config[name]) is not kind:
                raise ValueError(f"{name} is {printable(config[name])}")
        if any(type(path) is not str for path in config["imported"]):
            raise ValueError(f"imported is {printable(config['imported'])}")
        check_count("seed", config["seed"], at_least=0)
        check_choice("device", config["device"], ("cpu", "gpu"))
        check_choice("precision", config["precision"], PRECISIONS)
    except (FileNotFoundError, NotADirectoryError):
        raise AnnError(f"{path}: no run in this folder; start one there with --run") from None
    except OSError as error:
        raise AnnError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise AnnError(
            f"{file}: not the config of a run: {reason}; start a new run in another folder"
        ) from None
    return config
