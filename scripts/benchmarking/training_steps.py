"""Times single training steps, for the profile and the roofline."""

import statistics
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np

import ann
from ann.backends.base import Backend
from ann.training.batches import ImageSet
from ann.training.distributed import SINGLE_PROCESS
from ann.training.step import Step
from ann.training.trainer import Trainer
from ann.training.training_data import check_training_data
from benchmarking.timing import in_turns

_FIRST_STEPS = 20
_LEAST, _SECONDS = 30, 1.0  # measure at least this often, and at least this long
_REPEATS = 50


class TrainingSteps:
    """A training run that has done its first steps. Its next step, or parts of it, can be timed.

    Attributes:
        step: the next step, which is not compiled yet.
        repeats: how often a run is repeated between two readings of the clock. A GPU queues them,
            so the time of a launch is not measured.

    Raises:
        ValueError: the data and the recipe do not fit together.
    """

    def __init__(
        self, backend: Backend, dataset: ann.Dataset, recipe: ann.Recipe, quick: bool
    ) -> None:
        network = recipe.network(dataset, backend)
        data = check_training_data(network, dataset, recipe, None, SINGLE_PROCESS)
        images = ImageSet(network, data.images, data.labels, recipe, data.shape)
        trainer = Trainer(network, images, recipe)
        self._backend, self._count, self._random = backend, images.count, np.random.default_rng(0)
        self._least, self._seconds = (2, 0.0) if quick else (_LEAST, _SECONDS)
        self.repeats = 1 if backend.name == "cpu" else 2 if quick else _REPEATS
        leading = network.network.leading
        order = self._indices((*leading, images.count))
        rates = [recipe.learning_rate] * trainer.steps
        with backend.ignore_overflow():
            for _ in islice(trainer.epoch(order, 1, rates), min(self._least, _FIRST_STEPS)):
                pass
        batch = self._indices((*leading, recipe.batch_size))
        self.step: Step = trainer.new_step(backend.from_host(batch))

    def _indices(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._random.integers(self._count, size=shape)

    def seconds(self, *runs: Callable[[], object]) -> list[float]:
        """The median seconds of each run. They run in turns, in each round on a new batch."""
        indices, synchronize = self.step.batch.indices, self._backend.synchronize

        def new_batch() -> None:
            indices[...] = self._backend.from_host(self._indices(indices.shape))
            synchronize()

        def repeat(run: Callable[[], object]) -> None:
            for _ in range(self.repeats):
                run()
            synchronize()

        repeated = {number: partial(repeat, run) for number, run in enumerate(runs)}
        limits = {"unit": self.repeats, "seconds": self._seconds}
        with self._backend.ignore_overflow():
            times = in_turns(repeated, self._least, before=new_batch, **limits)
        return [statistics.median(found) for found in times.values()]
