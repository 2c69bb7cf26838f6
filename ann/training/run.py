"""A training run: what its callbacks share, and what identifies it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ann.backends.base import Array
from ann.files.digest import digest
from ann.neural_network import NeuralNetwork
from ann.nn.activations import ACTIVATIONS, BUILT_IN
from ann.training.checkpoint_file import TrainingState
from ann.training.distributed import Processes
from ann.training.recipe import Recipe
from ann.training.trainer import Trainer
from ann.training.training_data import TrainingData


@dataclass
class Run:
    """A training run. When it begins, the network still has its first parameters.

    Attributes:
        state: the progress: the current epoch and step, and the reports of finished epochs.
        best: (..., P) device vector: the parameters of the best epoch, for early stopping; or None.
    """

    network: NeuralNetwork
    recipe: Recipe
    data: TrainingData
    trainer: Trainer
    processes: Processes
    state: TrainingState = field(default_factory=TrainingState)
    best: Array = None

    def stops(self, results: list[object]) -> bool:
        """Whether a callback has returned True, in any process."""
        wanted = (isinstance(result, (bool, np.bool_)) and bool(result) for result in results)
        return self.processes.any_process(any(wanted))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Plain values that identify the run; only the same run can resume a checkpoint.

        Read it before training begins, since it contains a checksum of the first parameters.
        """
        network = self.network
        return {
            "network": {
                "layers": network.layer_list,
                "loss": network.loss_name,
                "committee": network.committee,
                "dtype": network.dtype_name,
                "own activations": _fingerprints(network),
            },
            "seed": network.seed,
            "first parameters": {"SHA-256": digest(network.backend.to_host(network.parameters))},
            "recipe": self.recipe.training_fields(),
            "data": {"SHA-256": digest(*self.data.arrays)},
        }


def _fingerprints(network: NeuralNetwork) -> dict[str, str]:
    """A checksum of the values and slopes of each custom activation of the network."""
    z = np.linspace(-3.0, 3.0, 25)
    names = {layer["activation"] for layer in network.layer_list if "activation" in layer}
    own = [ACTIVATIONS[name] for name in names - BUILT_IN]
    with np.errstate(all="ignore"):
        return {one.name: digest(one.function(np, z), one.derivative(np, z)) for one in own}
