"""A folder for each training run: what it takes to repeat it, a line for each epoch, the curves, the checkpoint and the
model. One process at a time trains in a folder, and what it finds half-written there it writes again.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from ann import _version
from ann.analysis import figures
from ann.backends.base import Backend
from ann.backends.blas import processors
from ann.data.datasets import Dataset
from ann.errors import AnnError, CheckpointError
from ann.files.atomic import locked, read_regular, user_path, write_atomically
from ann.files.digest import digest
from ann.training.checkpoint_file import TrainingState, read_checkpoint
from ann.training.recipe import Recipe
from ann.training.report import EpochReport

FORMAT, VERSION = "ann-run", 1
_MAX_BYTES = 2**20
_CHECKPOINT = "checkpoint.npz"
_KINDS = {
    "recipe": dict,
    "seed": int,
    "versions": dict,
    "device": str,
    "precision": str,
    "data": str,
    "imported": list,
    "checkpoint_every": str,
}


class RunFolder:
    """One run's folder, in which nobody else trains meanwhile.

    Attributes:
        path: of the folder.
        config: what it takes to repeat the run; see ``run_config``.
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
        self.path, self.config = user_path(path), dict(config)
        try:
            self._lock = locked(self.path)
        except BlockingIOError:
            raise AnnError(f"{self.path}: another process is training in this folder") from None
        for left_over in self.path.glob(".ann-*.part"):  # of a process that was killed while it wrote
            if left_over.is_file():
                left_over.unlink()

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: Mapping[str, Any]) -> RunFolder:
        """A folder for a new run. Raises OSError where it cannot be made, or is not empty."""
        folder = user_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, config)
        if any(not name.startswith(".ann-") for name in os.listdir(folder)):
            raise OSError(errno.ENOTEMPTY, f"The folder is not empty; {_use_of(folder)}name a new folder", str(path))
        write_atomically(folder / "config.json", (json.dumps(run.config, indent=2) + "\n").encode())
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The folder of a run that was begun. Raises OSError or AnnError where there is none."""
        return cls(path, read_config(path))

    @property
    def checkpoint(self) -> Path:
        """Where ``fit`` keeps its checkpoint."""
        return self.path / _CHECKPOINT

    @property
    def model(self) -> Path:
        """Where the trained network is."""
        return self.path / "model.pickle"

    def begin(self) -> TrainingState:
        """How far the run is, by its checkpoint; the log may say more, or end in half a line."""
        state = read_training_state(self.path)
        self._before: list[EpochReport] | None = state.reports
        return state

    def write_log(self, reports: Sequence[EpochReport]) -> None:
        """A line for each epoch, in place of what is there."""
        write_atomically(self._log, "".join(report.to_json() + "\n" for report in reports).encode())

    def on_epoch(self, report: EpochReport) -> None:
        """Add a line to the log: a callback for ``fit``."""
        try:
            if self._before is not None:  # the first since then: make the log say what is true
                self.write_log([*self._before, report])
                self._before = None
                return
            with open(self._log, "a", encoding="utf-8") as file:
                file.write(report.to_json() + "\n")
        except OSError as error:
            warnings.warn(f"{self._log}: {error.strerror}; training goes on", RuntimeWarning, stacklevel=2)

    def draw(self, reports: Sequence[EpochReport]) -> Path:
        """Draw the curves of some epochs; the picture's path. Raises ImportError without matplotlib."""
        path = self.path / "curves.png"
        figures.save_figure(figures.figure_of_curves(reports), path)
        return path

    @property
    def _log(self) -> Path:
        return self.path / "log.jsonl"


def read_training_state(folder: Path) -> TrainingState:
    """How far the run in a folder is. Raises AnnError if it cannot be resumed."""
    read_config(folder)
    checkpoint = folder / _CHECKPOINT
    try:
        return read_checkpoint(checkpoint)[1] if checkpoint.exists() else TrainingState()
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it to restart the run") from None


def _use_of(folder: Path) -> str:
    """The start of the advice about a folder that is not empty; "name a new folder" follows."""
    try:
        finished = read_training_state(folder).finished
    except AnnError:  # --resume would refuse it
        return ""
    return "its run is finished; " if finished else f"continue its run with --resume {quote(str(folder))}, or "


def run_config(recipe: Recipe, seed: int, dataset: Dataset, backend: Backend, **flags: Any) -> dict[str, Any]:
    """All that it takes to repeat a run, as plain values: recipe, seed, device, checksums of the data, versions.

    ``flags``: what else scripts/train.py was told, see ``_KINDS``.
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
    """What may change the last digits of a result."""
    found = {"Python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    modules = [importlib.import_module("numpy"), backend.xp]
    if backend.name == "cpu":
        found["threads"] = str(processors())
    return found | {"ann": _version.__version__} | {module.__name__: module.__version__ for module in modules}


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The config of the run in a folder. Raises AnnError where it is none."""
    file = user_path(path) / "config.json"
    try:
        config = json.loads(read_regular(file, _MAX_BYTES))
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        if config.get("version") != VERSION:
            raise ValueError(f"version {config.get('version')!r}; known here: {VERSION}")
        for name, kind in _KINDS.items():
            if type(config[name]) is not kind:
                raise ValueError(f"{name} is {config[name]!r}")
        if any(type(path) is not str for path in config["imported"]):
            raise ValueError(f"imported is {config['imported']!r}")
    except (FileNotFoundError, NotADirectoryError):
        raise AnnError(f"{path}: no run was begun in this folder; begin one there with --run") from None
    except OSError as error:
        raise AnnError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        lacks = "it lacks " if isinstance(error, KeyError) else ""
        raise AnnError(f"{file}: not the config of a run: {lacks}{error}; start a new run in another folder") from None
    return config
