"""Neural networks written from scratch. The same source runs on NumPy and on CuPy.

A first network:

    import ann

    data = ann.load_dataset("mnist")
    recipe = ann.Recipe(epochs=3)
    net = recipe.network(data)
    ann.fit(net, data, recipe, callbacks=[print])
    print(net.evaluate(data.test_images, data.test_labels).accuracy)
    net.save("mine.pickle")

Each of these names has its own help, such as help(ann.fit):

    load_dataset, Dataset       a data set: from a file or folder; from your own arrays
    Recipe                      the hyperparameters
    NeuralNetwork, load_model   a network: predict, evaluate, save; load it again
    fit                         train a network; it returns EpochReports
    EpochReport, EpochReports   the loss and accuracy of an epoch, and of all epochs
    Callback, ProgressBar       your own code during training; a progress bar
    Checkpoints                 stop training, and resume it later
    committee_of                join networks into a committee (an ensemble)
    register_activation         add your own activation function
    read_digits, Reading        read the digits on a photograph
    get_backend, Backend        a device: "cpu", "gpu" or "auto"
    AnnError                    the base class of DataFileError, ModelFileError, CheckpointError,
                                DeviceError and DivergenceError; there is also TrainingWarning
    ann.estimator               MLPClassifier and MLPRegressor, for scikit-learn

"python -m ann" in a terminal lists the programs.
"""

# Names are imported on first use, so that a program can set up its process with ``cli.bootstrap``
# before NumPy is imported. There is no __all__: with it, help(ann) would print each name's help.

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ann._version import __version__ as __version__

if TYPE_CHECKING:
    from ann.analysis.reading import Reading as Reading
    from ann.analysis.reading import read_digits as read_digits
    from ann.backends.base import Backend as Backend
    from ann.backends.select import get_backend as get_backend
    from ann.committee import committee_of as committee_of
    from ann.data.datasets import Dataset as Dataset
    from ann.data.datasets import load_dataset as load_dataset
    from ann.errors import AnnError as AnnError
    from ann.errors import CheckpointError as CheckpointError
    from ann.errors import DataFileError as DataFileError
    from ann.errors import DeviceError as DeviceError
    from ann.errors import DivergenceError as DivergenceError
    from ann.errors import ModelFileError as ModelFileError
    from ann.errors import TrainingWarning as TrainingWarning
    from ann.neural_network import NeuralNetwork as NeuralNetwork
    from ann.neural_network import load_model as load_model
    from ann.nn.activations import register_activation as register_activation
    from ann.training.callback import Callback as Callback
    from ann.training.checkpointer import Checkpoints as Checkpoints
    from ann.training.fit import fit as fit
    from ann.training.progress_bar import ProgressBar as ProgressBar
    from ann.training.recipe import Recipe as Recipe
    from ann.training.report import EpochReport as EpochReport
    from ann.training.report import EpochReports as EpochReports
else:
    _MODULES = {
        "analysis.reading": "Reading read_digits",
        "backends.base": "Backend",
        "backends.select": "get_backend",
        "committee": "committee_of",
        "data.datasets": "Dataset load_dataset",
        "errors": "AnnError CheckpointError DataFileError DeviceError DivergenceError "
        "ModelFileError TrainingWarning",
        "neural_network": "NeuralNetwork load_model",
        "nn.activations": "register_activation",
        "training.callback": "Callback",
        "training.checkpointer": "Checkpoints",
        "training.fit": "fit",
        "training.progress_bar": "ProgressBar",
        "training.recipe": "Recipe",
        "training.report": "EpochReport EpochReports",
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'ann' has no attribute {name!r}")
        module = import_module(f"ann.{_MODULE_OF[name]}")
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return [*globals(), *_MODULE_OF]
