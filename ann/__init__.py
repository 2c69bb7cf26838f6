"""A multilayer perceptron written from scratch, on NumPy or, with the same source, on CuPy.

README.md beside this file is the map.
"""

from ann._version import __version__ as __version__
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
from ann.training.checkpointer import Checkpoints
from ann.training.fit import fit
from ann.training.recipe import Recipe
from ann.training.report import EpochReport

__all__ = [
    "AnnError",
    "Backend",
    "CheckpointError",
    "Checkpoints",
    "DataFileError",
    "Dataset",
    "DeviceError",
    "DivergenceError",
    "EpochReport",
    "ModelFileError",
    "NeuralNetwork",
    "Recipe",
    "TrainingWarning",
    "committee_of",
    "fit",
    "get_backend",
    "load_dataset",
    "load_model",
    "register_activation",
]
