"""Times single training steps, for the profile and the roofline."""

import statistics
import time
from collections.abc import Callable
from itertools import islice

import numpy as np

import ann
from ann.backends.base import Backend
from ann.training.batches import ImageSet
from ann.training.distributed import SINGLE_PROCESS
from ann.training.step import Step
from ann.training.trainer import Trainer
from ann.training.training_data import check_training_data

_FIRST_STEPS = 20
_LEAST, _SECONDS = 30, 1.0  # measure at least this often, and at least this long
_REPEATS = 50


class TrainingSteps:
    """A training run that has done its first steps, and whose next steps can be timed.

    Attributes:
        repeats: how many times a run is repeated between two readings of the clock. A GPU queues
            them, so the time of a launch is not measured.

    Raises:
        ValueError: the data and the recipe do not fit together.
    """

    def __init__(
        self, backend: Backend, dataset: ann.Dataset, recipe: ann.Recipe, quick: bool
    ) -> None:
        self.recipe = recipe
        self.network = recipe.network(dataset, backend)
        data = check_training_data(self.network, dataset, recipe, None, SINGLE_PROCESS)
        images = ImageSet(self.network, data.images, data.labels, recipe, data.shape)
        self._backend, self._count, self._random = backend, images.count, np.random.default_rng(0)
        self._trainer = Trainer(self.network, images, recipe)
        self._shape = (*self.network.network.leading, recipe.batch_size)
        self._least, self._seconds = (2, 0.0) if quick else (_LEAST, _SECONDS)
        self.repeats = 1 if backend.name == "cpu" else 2 if quick else _REPEATS
        order = self._indices((*self.network.network.leading, images.count))
        first = min(self._least, _FIRST_STEPS)
        with backend.ignore_overflow():
            rates = [recipe.learning_rate] * self._trainer.steps
            for _ in islice(self._trainer.epoch(order, 1, rates), first):
                pass

    def _indices(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._random.integers(self._count, size=shape)

    def new_step(self) -> Step:
        """A new step of this run, which is not compiled yet."""
        return self._trainer.new_step(self._backend.from_host(self._indices(self._shape)))

    def seconds(self, step: Step, *runs: Callable[[], object]) -> list[float]:
        """The median seconds of each run. The runs alternate, each with a new batch."""
        found: list[list[float]] = [[] for _ in runs]
        with self._backend.ignore_overflow():
            for run in runs:
                run()  # on a GPU, this captures the graph
            started = time.perf_counter()
            while len(found[0]) < self._least or time.perf_counter() - started < self._seconds:
                for run, values in zip(runs, found, strict=True):
                    step.batch.indices[...] = self._backend.from_host(
                        self._indices(step.batch.indices.shape)
                    )
                    self._backend.synchronize()
                    begin = time.perf_counter()
                    for _ in range(self.repeats):
                        run()
                    self._backend.synchronize()
                    values.append((time.perf_counter() - begin) / self.repeats)
        return [statistics.median(values) for values in found]
