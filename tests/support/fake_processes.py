"""Several processes of a training, played by threads of one process."""

import dataclasses
import pickle
import threading

import numpy as np

import ann
from ann.training.distributed import Processes
from support.networks import REGULARIZED, recipe_of


class Member(Processes):
    """One of several threads. A barrier replaces the network."""

    def __init__(self, rank, size, board, barrier):
        self.rank, self.size, self._board, self._barrier = rank, size, board, barrier

    def _exchange(self, value):
        self._board[self.rank] = value
        self._barrier.wait()
        found = list(self._board)
        self._barrier.wait()
        return found

    def gather(self, value):
        return [
            pickle.loads(data) for data in self._exchange(pickle.dumps(value))
        ]  # nothing is shared

    def any_process(self, bit):
        return any(self._exchange(bool(bit)))

    def sum(self, array):
        copies = self._exchange(
            array + 0 * array if not isinstance(array, np.ndarray) else array.copy()
        )
        total = copies[0]
        for other in copies[1:]:
            total = total + other
        array[...] = total


def together(size, work):
    """The result of ``work(processes)`` in each of ``size`` threads, or the exception that it
    raises.
    """
    board, barrier, found = [None] * size, threading.Barrier(size, timeout=300), [None] * size

    def run(rank):
        try:
            found[rank] = work(Member(rank, size, board, barrier))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


PLAIN = {"epochs": 4}  # of 7 steps each, the last of which is smaller
CASES = {
    "sgd": recipe_of("tanh", "softmax", "cross-entropy", "sgd", **PLAIN),
    "nesterov": recipe_of("sigmoid", "sigmoid", "quadratic", "nesterov", **PLAIN),
    "adamw": recipe_of("relu", "softmax", "cross-entropy", "adamw", **PLAIN),
    "rmsprop": recipe_of("gelu", "identity", "quadratic", "rmsprop", **PLAIN),
    "muon": recipe_of("leaky-relu", "softmax", "cross-entropy", "muon", **PLAIN),
    "regularized": recipe_of("tanh", "softmax", "cross-entropy", "adamw", **PLAIN, **REGULARIZED),
    "batch norm": recipe_of(
        "relu", "softmax", "cross-entropy", "adamw", **PLAIN, batch_norm=True, average=0.9
    ),
    "distorted": recipe_of(
        "relu", "softmax", "cross-entropy", "adamw", epochs=3, rotation=20.0, elastic=0.5
    ),
    "adversarial": recipe_of(
        "relu", "softmax", "cross-entropy", "adamw", epochs=3, adversarial=0.5
    ),
    "committee": recipe_of("tanh", "softmax", "cross-entropy", "sgd", **PLAIN, committee=3),
    "normalised committee": recipe_of(
        "tanh", "softmax", "cross-entropy", "sgd", epochs=3, committee=2, batch_norm=True
    ),
}
CASES["convolution"] = dataclasses.replace(CASES["batch norm"], hidden=("conv4x3", "pool2", 9))


def network_for(recipe, backend, seed=3, dtype="float32"):
    layers = recipe.layer_list(64, 10)
    return ann.NeuralNetwork(layers, recipe.loss, backend, seed, dtype, committee=recipe.committee)
