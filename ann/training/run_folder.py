"""A folder for a training run: what it takes to repeat it, a log with a line per epoch, the
checkpoint and the model. One process at a time trains in a folder. A log that ends in half a line
is rewritten.
"""

import errno
import importlib
import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Self

from ann import _version
from ann.backends.base import Backend
from ann.backends.blas import processors
from ann.data.datasets import Dataset
from ann.errors import AnnError, CheckpointError
from ann.files.atomic import Lock, read_regular, user_path, write_atomically
from ann.files.digest import digest
from ann.training.callback import Callback
from ann.training.checkpoint_file import TrainingState, read_checkpoint
from ann.training.recipe import Recipe
from ann.training.report import EpochReport

FORMAT, VERSION = "ann-run", 1
_MAX_BYTES = 2**20
_CHECKPOINT = "checkpoint.npz"
START = "start.pickle"  # the saved network from which the run started, if it did
_TYPES = {
    "recipe": dict,
    "seed": int,
    "versions": dict,
    "device": str,
    "precision": str,
    "data": str,
    "imported": list,
    "checkpoint_every": str,
}


class RunFolder(Callback):
    """The folder of one run, locked against other processes.

    Attributes:
        path: of the folder.
        config: what it takes to repeat the run; see ``run_config``.
        checkpoint, model: paths of the files that ``fit`` and the program write.
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
        self.path, self.config = user_path(path), dict(config)
        self.checkpoint, self.model = self.path / _CHECKPOINT, self.path / "model.pickle"
        self._log = self.path / "log.jsonl"
        self._unwritten: dict[Path, bytes] = {}  # files that change when training starts
        self._before: list[EpochReport] | None = None  # to write with the next line of the log
        try:
            self._lock = Lock(self.path)
        except BlockingIOError:
            raise AnnError(f"{self.path}: another process is training in this folder") from None
        for left_over in self.path.glob(".ann-*.part"):  # from a killed process
            if left_over.is_file():
                left_over.unlink()

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: Mapping[str, Any], start: bytes = b""
    ) -> Self:
        """Start a run in a new or empty folder. Raises OSError if that is not possible.

        Nothing is written until training starts, so a refused run leaves an empty folder.

        start: the contents of the model file from which the run starts, if it does.
        """
        folder = user_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, config)
        if any(not name.startswith(".ann-") for name in os.listdir(folder)):
            reason = f"The folder is not empty; {_use_of(folder)}name a new folder"
            raise OSError(errno.ENOTEMPTY, reason, str(path))
        if start:
            run._unwritten[run.path / START] = start
        run._change_config()
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the folder of an existing run. Raises OSError or AnnError if there is none."""
        return cls(path, read_config(path))

    def _change_config(self) -> None:
        text = json.dumps(self.config, indent=2) + "\n"
        self._unwritten[self.path / "config.json"] = text.encode()

    def resume(self, epochs: int) -> TrainingState:
        """The state in the run's checkpoint. The log may be ahead of it, or end in half a line.

        A finished run of fewer epochs becomes an unfinished one of this number.
        """
        state = read_training_state(self.path)
        if state.is_shorter_than(epochs):
            self.config["recipe"]["epochs"] = epochs
            self._change_config()
            state.finished = False
        self._before = state.reports
        return state

    def at_start(self) -> None:
        """Write what is new: only now is it certain that training starts."""
        for path, data in self._unwritten.items():
            write_atomically(path, data)

    def write_log(self, reports: Sequence[EpochReport]) -> None:
        """Replace the log by these reports, a line each."""
        write_atomically(self._log, "".join(report.to_json() + "\n" for report in reports).encode())

    def after_epoch(self, report: EpochReport) -> None:
        """Add a line to the log."""
        try:
            if self._before is not None:  # the first epoch since resume(): rewrite the log
                self.write_log([*self._before, report])
                self._before = None
                return
            with open(self._log, "a", encoding="utf-8") as file:
                file.write(report.to_json() + "\n")
        except OSError as error:
            message = f"{self._log}: {error.strerror}; training continues"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def read_training_state(folder: Path) -> TrainingState:
    """The training state of the run in a folder. Raises AnnError if the run cannot be resumed."""
    read_config(folder)
    checkpoint = folder / _CHECKPOINT
    try:
        return read_checkpoint(checkpoint)[1] if checkpoint.exists() else TrainingState()
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it to restart the run") from None


def _use_of(folder: Path) -> str:
    """The beginning of the advice about a folder that is not empty; "name a new folder" follows."""
    try:
        finished = read_training_state(folder).finished
    except AnnError:  # --resume would refuse it
        return ""
    if finished:
        return f"train its finished run further with --resume {quote(str(folder))} --epochs N, or "
    return f"continue its run with --resume {quote(str(folder))}, or "


def run_config(
    recipe: Recipe, seed: int, dataset: Dataset, backend: Backend, **flags: Any
) -> dict[str, Any]:
    """What it takes to repeat a run, as plain values: recipe, seed, device, checksums and versions.

    ``flags``: the other flags of scripts/train.py; see ``_TYPES``.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "recipe": json.loads(recipe.to_json()),
        "seed": seed,
        "device": backend.name,
        "device_description": backend.description,
        "data_sha256": {name: digest(array) for name, array in dataset.arrays().items()},
        "versions": versions(backend),
        **flags,
    }


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


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The config of the run in a folder. Raises AnnError if there is none, or it is damaged."""
    file = user_path(path) / "config.json"
    try:
        config = json.loads(read_regular(file, _MAX_BYTES))
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        if config.get("version") != VERSION:
            raise ValueError(f"version {config.get('version')!r}, expected {VERSION}")
        for name, kind in _TYPES.items():
            if type(config[name]) is not kind:
                raise ValueError(f"{name} is {config[name]!r}")
        if any(type(path) is not str for path in config["imported"]):
            raise ValueError(f"imported is {config['imported']!r}")
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
