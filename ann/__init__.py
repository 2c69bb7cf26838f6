"""A multilayer perceptron written from scratch, on NumPy or, with the same source, on CuPy.

Read it in this order: ``activations``, ``losses``, ``layers``, ``perceptron``, ``network``, ``optimizers``,
``steps``, ``training``.
"""

from ann.backend import Backend, get_backend
from ann.checkpoints import Checkpoints
from ann.committee import committee_of
from ann.datasets import Dataset, load_dataset
from ann.errors import (
    AnnError,
    CheckpointError,
    DataFileError,
    DeviceError,
    DivergenceError,
    ModelFileError,
    TrainingWarning,
)
from ann.model_loading import load_model
from ann.network import NeuralNetwork
from ann.own_activation import register_activation
from ann.recipes import Recipe
from ann.reports import EpochReport
from ann.training import fit

__version__ = "0.1.0"

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
