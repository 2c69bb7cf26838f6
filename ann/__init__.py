"""A multilayer perceptron written from scratch, on NumPy and, with the same source, on CuPy.

README.md in this folder is a map of the package. Public names are imported on first use, so that a
program can set up its process with ``ann.cli.bootstrap`` before NumPy is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ann._version import __version__ as __version__

if TYPE_CHECKING:
    from ann.analysis.reading import Reading, read_digits
    from ann.backends.base import Backend
    from ann.backends.select import get_backend
    from ann.committee import committee_of
    from ann.data.datasets import Dataset, load_dataset
    from ann.errors import (
        AnnError,
        CheckpointError,
        DataFileError,
        DeviceError,
        DivergenceError,
        ModelFileError,
        TrainingWarning,
    )
    from ann.neural_network import NeuralNetwork, load_model
    from ann.nn.activations import register_activation
    from ann.training.callback import Callback
    from ann.training.checkpointer import Checkpoints
    from ann.training.fit import fit
    from ann.training.progress_bar import ProgressBar
    from ann.training.recipe import Recipe
    from ann.training.report import EpochReport, EpochReports

__all__ = [
    "AnnError",
    "Backend",
    "Callback",
    "CheckpointError",
    "Checkpoints",
    "DataFileError",
    "Dataset",
    "DeviceError",
    "DivergenceError",
    "EpochReport",
    "EpochReports",
    "ModelFileError",
    "NeuralNetwork",
    "ProgressBar",
    "Reading",
    "Recipe",
    "TrainingWarning",
    "committee_of",
    "fit",
    "get_backend",
    "load_dataset",
    "load_model",
    "read_digits",
    "register_activation",
]
_MODULES = {
    "Backend": "backends.base",
    "get_backend": "backends.select",
    "committee_of": "committee",
    "Dataset": "data.datasets",
    "load_dataset": "data.datasets",
    "NeuralNetwork": "neural_network",
    "load_model": "neural_network",
    "Reading": "analysis.reading",
    "read_digits": "analysis.reading",
    "register_activation": "nn.activations",
    "Callback": "training.callback",
    "Checkpoints": "training.checkpointer",
    "fit": "training.fit",
    "ProgressBar": "training.progress_bar",
    "Recipe": "training.recipe",
    "EpochReport": "training.report",
    "EpochReports": "training.report",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ann' has no attribute {name!r}")
    module = import_module(f"ann.{_MODULES.get(name, 'errors')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
