"""The trainer: an epoch is a loop over batches, with one step for each. The first step of each
batch size is recorded while it runs. Later steps replay it, which makes small networks fast.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork, slices
from ann.optim.scalars import Scalars
from ann.training.batches import BatchBuffer, EpochKeys, ImageSet, distorter
from ann.training.distributed import SINGLE_PROCESS, Processes, shard
from ann.training.epoch_loss import EpochLoss
from ann.training.recipe import Recipe
from ann.training.step import Step, Update
from ann.training.training_model import TrainingModel


class Trainer:
    """Trains a network on images, an epoch at a time.

    With several processes, each trains on its share of every batch. The gradients are summed
    between the backward pass and the update, so all processes always have the same parameters.

    Attributes:
        steps: the number of steps in an epoch. The last batch may be smaller than the others.
        loss: computes the loss of an epoch.
    """

    def __init__(
        self,
        network: NeuralNetwork,
        images: ImageSet,
        recipe: Recipe,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self._batches = list(slices(images.count, recipe.batch_size))
        self.steps = len(self._batches)
        self.loss = EpochLoss(network, images, recipe.batch_size, processes)
        self._network = network
        self._images = images
        self._recipe = recipe
        self._processes = processes
        backend = self._backend = network.backend.recorder()
        self._scalars = Scalars(backend, network.network.dtype)
        self._keys = EpochKeys(network)
        self._distorter = distorter(network, images, recipe)
        all_reduce = processes.sum if processes.size > 1 else None
        model = TrainingModel(network, backend, recipe, self._keys, images.lit, all_reduce)
        self._model = model
        self._update = Update(model.network, model.statistics, recipe, self._scalars, all_reduce)
        # By batch size and share: a step and its recording. If the step held the recording, they
        # would be a reference cycle, which would keep the arrays alive after training
        self._compiled: dict[tuple[int, float], tuple[Step, Callable[[], object]]] = {}
        # (logits of the last step, where to keep them): copied with the inputs of the next step, in
        # one call
        self._late_copies: list[tuple[Array, Array]] = []

    def epoch(
        self, order: Any, epoch: int, rates: Sequence[float], start: int = 0
    ) -> Iterator[int]:
        """Train on all images once: one step per batch. The caller may stop after any step.

        The network gets the trained parameters at the end, or when the caller stops.

        Args:
            order: (..., count) host array: the indices of the images in training order.
            epoch: counted from 1.
            rates: the learning rate of each step.
            start: the number of steps of this epoch that were done before training was resumed.

        Yields:
            After each step, the number of images in it.
        """
        order = self._network.backend.from_host(order)
        self._keys.set(epoch)
        if self._distorter:
            is_distorted = epoch <= self._recipe.epochs - self._recipe.undistorted_epochs
            self._distorter.scale(float(is_distorted))
        scalars = self._scalars.table((epoch - 1) * self.steps, rates)
        if start == 0:
            self._start_from_network(epoch)
        done = start
        try:
            for batch in self._batches[start:]:
                part, share = shard(self._processes, batch)
                logits = self._run_step(order[..., part], share, scalars[done, :])
                self._late_copies = [(logits, self.loss.logits[..., part, :])]
                done += 1
                yield batch.stop - batch.start
        finally:
            self._copy()
            if epoch > 1 or done:  # averages start with the first step
                state = self._update.state
                trained = state.get("average", state["parameters"])
                self._model.export(trained, state.get("statistics"))

    def _start_from_network(self, epoch: int) -> None:
        """Start the epoch from the network's parameters: a callback may have changed them.

        After the first epoch this is skipped if the network holds averages, or if normalisation is
        folded into it. With several processes, all get the state of the first, as its sum with
        zeros: rounding differs between machines, and the differences would add up.
        """
        state = self._update.state
        if epoch == 1 or not {"average", "statistics"} & state.keys():
            self._model.fetch()
        if self._processes.size > 1:
            for array in state.values():
                if self._processes.rank > 0:
                    array[...] = self._network.backend.xp.zeros_like(array)
                self._processes.sum(array)

    def _run_step(self, indices: Array, share: float, scalars: Array) -> Array:
        """Do one step on the images with these indices, and return their logits.

        The first step of each kind is recorded, and later ones replay the recording.
        """
        kind = indices.shape[-1], share
        if kind in self._compiled:
            step, replay = self._compiled[kind]
            self._copy((scalars, self._scalars.vector), (indices, step.batch.indices))
            replay()
        else:
            self._copy((scalars, self._scalars.vector))
            step = self.new_step(indices, share)
            self._compiled[kind] = step, self._backend.compile(step)
        return step.logits

    def _copy(self, *pairs: tuple[Array, Array]) -> None:
        """Copy the first array of each pair to the second, and keep the logits of the last step."""
        self._backend.copy_all([*pairs, *self._late_copies])
        self._late_copies = []

    def new_step(self, indices: Array, share: float = 1.0) -> Step:
        """A step for batches as large as this one: a device array (..., N) of image indices."""
        batch = BatchBuffer(
            self._backend, self._images, self._distorter, self._recipe, self._keys, indices
        )
        return Step(self._model.network, batch, self._update, share, self._recipe.adversarial)

    def state(self, done: int) -> dict[str, Array]:
        """The arrays that a checkpoint needs after ``done`` steps of an epoch, by name.

        All processes must call this: it collects their logits.
        """
        self._copy()
        if not done:
            return dict(self._update.state)
        self.loss.gather()
        seen = self._batches[done - 1].stop
        return {**self._update.state, "logits": self.loss.logits[..., :seen, :]}
