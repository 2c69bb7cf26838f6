"""One step of training, on the device: make a batch, forward, backward, update. The first step of
each batch size is recorded while it runs, and later steps replay the recording, which makes small
networks fast.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ann.backends.base import Array, Backend
from ann.neural_network import NeuralNetwork, slices
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.network import Network
from ann.nn.rng import drawn
from ann.optim.constraints import GradientClipping, MaxNorm, MovingAverage
from ann.optim.optimizer import Optimizer
from ann.optim.registry import get_optimizer
from ann.optim.scalars import Scalars
from ann.training.adversarial import Adversary
from ann.training.batches import BatchBuffer, ImageSet, distorter
from ann.training.distributed import SINGLE_PROCESS, Processes, shard
from ann.training.epoch_loss import EpochLoss
from ann.training.recipe import Recipe
from ann.training.training_model import TrainingModel

Hook = Callable[[], None]
_STATISTICS_DECAY = 0.9  # of batch normalisation's running means: about ten batches, as is usual


class Step:
    """A training step on batches of one size. Calling it makes the step; it can be compiled.

    Args:
        backend: computes.
        network: in its training form.
        batch: makes the batches.
        optimizer: updates the parameters.
        before_update, after_update: called before and after the update.
        share: the fraction of the batch that this process has.
        adversarial: how far each image is moved for a second pass; 0 for no second pass.

    Attributes:
        logits: (..., N, O) device array: the logits of the last batch.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        batch: BatchBuffer,
        optimizer: Optimizer,
        before_update: Sequence[Hook],
        after_update: Sequence[Hook],
        *,
        share: float,
        adversarial: float,
    ) -> None:
        self.backend = backend
        self.network = network
        self.batch = batch
        self.optimizer = optimizer
        self.before_update = before_update
        self.after_update = after_update
        self.grad = backend.xp.empty_like(batch.targets)
        self.logits = backend.xp.empty_like(batch.targets)
        self.adversary = Adversary(backend, adversarial, batch.x) if adversarial else None
        # The loss's gradient is a mean over this process's part of the batch. Two adversarial
        # passes count half each.
        self.factor = share * (0.5 if adversarial else 1.0)

    def __call__(self) -> None:
        self.batch.fill()
        accumulate = self.optimizer.accumulate
        if self.adversary:  # the gradient is the mean for images and moved images
            input_gradient = self.backpropagate(self.batch.x, accumulate, input_gradient=True)
            self.backend.copyto(self.outputs, out=self.logits)
            self.adversary.move(input_gradient)
            self.backpropagate(self.adversary.images, accumulate=1.0)
        else:
            self.backpropagate(self.batch.x, accumulate)
            self.logits = self.outputs
        for hook in self.before_update:
            hook()
        self.optimizer.update()
        for hook in self.after_update:
            hook()

    def backpropagate(
        self, x: Array, accumulate: float, *, input_gradient: bool = False
    ) -> Array | None:
        """Forward and backward; the new gradients are added to ``accumulate`` times the old ones."""
        xp, batch = self.backend.xp, self.batch
        self.outputs = self.network.forward(x)
        self.network.loss.gradient(self.backend, self.outputs, batch.targets, out=self.grad)
        if batch.weights is not None:
            xp.multiply(self.grad, batch.weights, out=self.grad)
        if self.factor != 1.0:
            xp.multiply(self.grad, self.factor, out=self.grad)
        return self.network.backward(
            self.grad, accumulate=accumulate, input_gradient=input_gradient
        )


class Trainer:
    """Trains a network on images, an epoch at a time.

    With several processes, each trains on its share of every batch. The gradients are summed
    between the backward pass and the update, so all processes always have the same parameters.

    Args:
        network: gets the trained parameters after each epoch.
        images: the training images.
        recipe: how to train.
        processes: those that train together.

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
        xp = network.backend.xp
        self.steps = math.ceil(images.count / recipe.batch_size)
        self.loss = EpochLoss(network, images, recipe.batch_size, processes)
        self._user = network
        self._images = images
        self._recipe = recipe
        self._processes = processes
        backend = self._backend = network.backend.recorder()
        all_reduce = processes.sum if processes.size > 1 else None
        # One for the inputs of each layer, and one for distortions; they change every epoch
        self._keys = xp.zeros(
            (*network.network.leading, len(network.layer_list) + 1), dtype=xp.uint32
        )
        self._model = TrainingModel(network, backend, recipe, self._keys, images.lit, all_reduce)
        model = self._model.network
        self._distorter = distorter(network, images, recipe)
        self._scalars = scalars = Scalars(backend, network.network.dtype)
        self._before_update: list[Hook] = []
        if all_reduce:
            self._before_update.append(partial(backend.call, partial(all_reduce, model.gradients)))
        if recipe.clip:
            self._before_update.append(GradientClipping(backend, model.gradients, recipe.clip))
        self._optimizer = get_optimizer(
            recipe.optimizer,
            backend,
            model.parameters,
            model.gradients,
            [weight.shape[-2:] for weight in model.weights()],
            scalars,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            accumulate=not self._before_update,
        )
        self._after_update: list[Hook] = []
        if recipe.max_norm:
            self._after_update.append(MaxNorm(backend, model.weights()[:-1], recipe.max_norm))
        self._state = {"parameters": model.parameters, **self._optimizer.state}
        self._trained = model.parameters
        if recipe.average:
            average = MovingAverage(backend, model.parameters, recipe.average, scalars)
            self._after_update.append(average)
            self._trained = self._state["average"] = average.parameters
        if self._model.statistics is not None:
            running = MovingAverage(backend, self._model.statistics, _STATISTICS_DECAY, scalars)
            self._after_update.append(running)
            self._state["statistics"] = running.parameters
        # The user's network then holds averages, or normalisation is folded into it, so training
        # keeps its own parameters from epoch to epoch
        self._keeps_its_own = bool(recipe.average) or "statistics" in self._state
        self._ready: dict[tuple[int, float], tuple[Array, Step, Callable[[], object]]] = {}

    def run_epoch(
        self,
        order: Any,
        epoch: int,
        rates: Sequence[float],
        on_step: Callable[[int, int], object] | None = None,
        start: int = 0,
    ) -> int:
        """Train on all images once, or until ``on_step`` returns True.

        Args:
            order: (..., count) host array: the indices of the images in training order.
            epoch: counted from 1.
            rates: the learning rate of each step.
            on_step: called after each step with the number of steps done and the number of images
                in the step.
            start: the number of steps of the epoch that are done already, as ``state`` has them.

        Returns:
            The number of steps of the epoch that are done.
        """
        order = self._user.backend.from_host(order)
        self._set_keys(epoch)
        table = self._scalars.table((epoch - 1) * self.steps, rates)
        if start == 0 and not (self._keeps_its_own and epoch > 1):
            self._model.fetch()  # a callback may have changed the user's parameters
        if start == 0 and self._processes.size > 1:
            self._agree()
        done = start
        try:
            for step, batch in enumerate(slices(self._images.count, self._recipe.batch_size)):
                if step < start:
                    continue
                part, share = shard(self._processes, batch)
                self._scalars.set(table[step, :])
                self.loss.logits[..., part, :] = self._run_step(order[..., part], share)
                done += 1
                if on_step and on_step(done, batch.stop - batch.start) is True:
                    break
        finally:
            self._model.export(self._trained, self._state.get("statistics"))
        return done

    def _run_step(self, indices: Array, share: float) -> Array:
        """Make a step on the images with these indices; returns their logits."""
        kind = indices.shape[-1], share
        if kind not in self._ready:
            own_indices = self._user.backend.xp.asarray(indices, copy=True)
            step = self._new_step(own_indices, share)
            self._ready[kind] = own_indices, step, self._backend.compile(step)
        else:
            own_indices, step, replay = self._ready[kind]
            own_indices[...] = indices
            replay()
        return step.logits

    def _new_step(self, indices: Array, share: float) -> Step:
        recipe, keys = self._recipe, self._keys
        random = bool(recipe.dropout or recipe.input_dropout or self._distorter)
        batch = BatchBuffer(
            self._backend,
            self._images,
            self._distorter,
            recipe.input_dropout,
            random,
            indices,
            pixel_key=keys[..., :1],
            distortion_key=keys[..., -1:],
        )
        network = self._model.network.with_own_arrays()
        for layer in network.layers:
            if isinstance(layer, Dropout):
                layer.images = batch.image_ids
            elif isinstance(layer, BatchNorm):
                layer.share = share
        return Step(
            self._backend,
            network,
            batch,
            self._optimizer,
            self._before_update,
            self._after_update,
            share=share,
            adversarial=recipe.adversarial,
        )

    def _set_keys(self, epoch: int) -> None:
        """Set the keys of an epoch's dropout and distortions."""
        upload = self._user.backend.from_host
        seeds = self._user.seeds
        count = self._keys.shape[-1] - 1
        dropout = drawn(
            seeds, "dropout", epoch - 1, lambda random: random.integers(2**32, size=count)
        )
        distortion = drawn(
            seeds, "distortion", epoch - 1, lambda random: random.integers(2**32, size=1)
        )
        self._keys[..., :-1] = upload(dropout.astype("uint32"))
        self._keys[..., -1:] = upload(distortion.astype("uint32"))

    def _agree(self) -> None:
        """Copy the first process's state to all: rounding differs by machine, and would add up."""
        for array in self._state.values():
            if self._processes.rank > 0:
                array[...] = self._user.backend.xp.zeros_like(array)
            self._processes.sum(array)

    def state(self, done: int) -> dict[str, Array]:
        """The arrays that last from step to step, after ``done`` steps of an epoch."""
        if not done:
            return dict(self._state)
        seen = min(done * self._recipe.batch_size, self._images.count)
        return {**self._state, "logits": self.loss.logits[..., :seen, :]}

    def gather(self, done: int) -> None:
        """Complete ``state`` after ``done`` steps of an epoch: gather the logits of all processes."""
        if done and self._processes.size > 1:
            with self._user.backend.ignore_overflow():
                self.loss.gather()
