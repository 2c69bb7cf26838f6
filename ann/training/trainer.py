"""One step of training, on the device: gather a batch, forward, backward, update. It is recorded when it is first
made, and then played, which is where small networks get their speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ann.backends.base import Array
from ann.neural_network import NeuralNetwork, slices
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.network import Perceptron
from ann.nn.rng import drawn
from ann.optim.constraints import GradientClipping, MaxNorm, MovingAverage
from ann.optim.registry import get_optimizer
from ann.training.adversarial import Adversary
from ann.training.batches import Batch, Batches
from ann.training.distributed import SINGLE_PROCESS, Processes, shard
from ann.training.images import Images
from ann.training.recipe import Recipe


class Steps:
    """The steps of training, each recorded once for its batch size and then played.

    Where several processes train, each does this for its share of every batch, and between the backward pass and the
    update the gradients are summed, so that all have the same parameters always.

    All that differs from step to step goes through arrays that stay: which images, and the optimizer's numbers on the
    way in, the logits on the way out. The loss is worked out from these when the epoch is done.
    """

    def __init__(
        self, network: NeuralNetwork, images: Images, recipe: Recipe, processes: Processes = SINGLE_PROCESS
    ) -> None:
        xp = network.xp
        self._processes = processes
        self.count = -(-images.count // recipe.batch_size)  # the last batch may be smaller
        self._network, self._images, self._batch_size = network, images, recipe.batch_size
        self._leading = network.leading
        self._recorder = network.backend.recorder()
        # Its own vectors: the optimizer's memory may be in the gradients, and gains may follow the network's parameters
        self._plain = network.parameters.shape[-1]
        widths = [layer.output_dim for layer in network.layers[:-1]] if recipe.batch_norm else []
        size = (*self._leading, self._plain + sum(widths))
        self._parameters, self._gradients = (xp.zeros(size, dtype=network.dtype) for _ in range(2))
        self._batches = Batches(network, images, recipe)
        self._fetch = self._copier(network.parameters, self._parameters[..., : self._plain], self._batches.rows)
        self._optimizer = get_optimizer(
            recipe.optimizer,
            self._recorder,
            self._parameters,
            self._gradients,
            network.weight_places,
            network.weight_shapes,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            own_velocity=recipe.clip > 0 or recipe.batch_norm or processes.size > 1,
        )
        recorder, p = self._recorder, self._parameters
        gains = (vector[..., self._plain :] for vector in (p, self._gradients))
        self._batch_norm = BatchNorm(recorder, widths, *gains) if recipe.batch_norm and widths else None
        self._clipping = GradientClipping(recorder, self._gradients, recipe.clip) if recipe.clip else None
        hidden = network.weight_matrices(p)[:-1]
        self._max_norm = MaxNorm(recorder, hidden, recipe.max_norm) if recipe.max_norm else None
        self._average = MovingAverage(recorder, p, recipe.average) if recipe.average else None
        before = xp.asarray(network.parameters, copy=True)
        self._return = self._returner(self._average.parameters if self._average else p, self._batches.usual_rows)
        network.parameters[...] = before  # recording that call has made it
        self._black_changes = recipe.weight_decay > 0  # the gradient of a black pixel's weights, which else stays 0
        self._numbers = xp.zeros(len(self._numbers_of(1, 1.0)), dtype=network.dtype)
        # zeros: rows of other processes are multiplied by 0, which numbers that are none would survive
        self._logits = xp.zeros((*self._leading, images.count, network.output_dim), dtype=network.dtype)
        if processes.size > 1:  # of the logits, which rows this process fills
            self._own = xp.zeros((images.count, 1), dtype=network.dtype)
            parts = [shard(processes, batch) for batch in slices(images.count, recipe.batch_size)]
            counted = [part for part, share in parts if share]
            for part in counted:
                self._own[part, :] = xp.ones((part.stop - part.start, 1), dtype=network.dtype)
            self._own_places = xp.concat([xp.arange(part.start, part.stop, dtype=xp.int64) for part in counted])
        self._dropout, self._adversarial = recipe.dropout, recipe.adversarial
        # for the inputs of each layer, and then for distortions, in this epoch
        self._keys = xp.zeros((*self._leading, len(network.layers) + 1), dtype=xp.uint32)
        self._ready: dict[tuple[int, float], _Step] = {}

    def epoch(
        self,
        order: Any,
        first: int,
        rates: Sequence[float],
        on_step: Callable[[int, int], object] | None = None,
        start: int = 0,
    ) -> int:
        """Train on all images once, or until ``on_step`` returns True; how many of the epoch's steps are then done.

        Args:
            order: a host array (..., count) of the images' numbers in the order in which they are taken.
            first: how many steps were made before the epoch.
            rates: the learning rate of each step.
            on_step: called after each with how many of the epoch's steps are done, and with its number of images.
            start: how many of its steps were done before, with what is now in ``state``.
        """
        network, count = self._network, self._images.count
        order = network.backend.from_host(order)
        table = network.xp.asarray(
            [self._numbers_of(first + step, rate) for step, rate in enumerate(rates, start=1)],
            dtype=network.dtype,
        )
        epochs_before = first // self.count
        layers = len(network.layers)
        dropout = drawn(network.seeds, "dropout", epochs_before, lambda random: random.integers(2**32, size=layers))
        distortion = drawn(network.seeds, "distortion", epochs_before, lambda random: random.integers(2**32, size=1))
        self._keys[..., :-1], self._keys[..., -1:] = (
            network.backend.from_host(keys.astype("uint32")) for keys in (dropout, distortion)
        )
        # Otherwise it goes on from where it was: what the network has may be averages, or without normalisation
        if start == 0 and not ((self._average or self._batch_norm) and first):
            self._fetch()
        if start == 0 and self._processes.size > 1:
            self._agree()
        done = start
        try:
            for step, batch in enumerate(slices(count, self._batch_size)):
                if step < start:
                    continue
                part, share = shard(self._processes, batch)
                kind = part.stop - part.start, share
                self._numbers[...] = table[step, :]
                if kind in self._ready:
                    ready = self._ready[kind]
                    ready.chosen[...] = order[..., part]
                    ready.play()
                else:
                    ready = self._record(network.xp.asarray(order[..., part], copy=True), share)
                    self._ready[kind] = ready
                self._logits[..., part, :] = ready.results["logits"]
                done += 1
                if on_step and on_step(done, batch.stop - batch.start) is True:
                    break
        finally:
            self._return()
        return done

    def _agree(self) -> None:
        """Take what the first process has: machines that differ may round differently, and must not drift apart."""
        for array in self.state(0).values():
            if self._processes.rank > 0:
                array[...] = self._network.xp.zeros_like(array)
            self._processes.sum(array)

    def state(self, done: int) -> dict[str, Array]:
        """All that lasts from one step to the next, after so many steps of an epoch: arrays to read, or to fill."""
        state = {"parameters": self._parameters, **self._optimizer.state}
        if self._average:
            state["average"] = self._average.parameters
        if self._batch_norm:
            state["statistics"] = self._batch_norm.state
        if done:
            state["logits"] = self._logits[..., : min(done * self._batch_size, self._images.count), :]
        return state

    def gather(self, done: int) -> None:
        """Make ``state`` after so many steps of an epoch whole: the logits of all processes."""
        if done and self._processes.size > 1:
            xp = self._network.xp
            with self._network.backend.ignore_overflow():
                xp.multiply(self._logits, self._own, out=self._logits)
                self._processes.sum(self._logits)

    def _record(self, chosen: Array, share: float) -> _Step:
        """Make a step on the images of these numbers, this share of a batch, so that it can be played on others."""
        recorder, xp = self._recorder, self._recorder.xp
        keys = [self._keys[..., place : place + 1] for place in range(len(self._network.layers) + 1)]
        batch = Batch(recorder, self._batches, chosen, keys[0], keys[-1])
        memory = self._optimizer.memory
        network = self._twin(memory, batch, keys, share)
        grad = xp.empty_like(batch.targets)
        of_black = self._gradients[..., : self._batches.black * network.layers[0].output_dim]
        scale = self._batches.scale
        adversary = Adversary(recorder, self._adversarial / scale, batch.x) if self._adversarial else None
        # what it makes of moved images adds to the gradients
        again = self._twin(1.0, batch, keys, share) if adversary else network
        results: dict[str, Array] = {}
        # The recorded function must not refer to self, which keeps the record: see ``_Step``
        processes, gradients, numbers = self._processes, self._gradients, self._numbers
        optimizer, clipping, max_norm, batch_norm = self._optimizer, self._clipping, self._max_norm, self._batch_norm
        average, black_changes = self._average, self._black_changes

        def learn(twin: Perceptron, x: Array) -> Array:
            """Add the gradients of the mean loss to their vector; the gradient of x is the result."""
            logits = twin.forward(x, scale)
            twin.loss.gradient(recorder, logits, batch.targets, out=grad)
            if batch.weights is not None:
                xp.multiply(grad, batch.weights, out=grad)
            if share != 1.0:  # from a mean over these images to their part of the batch's
                xp.multiply(grad, share, out=grad)
            if adversary:  # half of what is learnt is of the images as they are, and half of moved ones
                xp.multiply(grad, 0.5, out=grad)
            if twin is network:
                results["logits"] = logits
            return twin.backward(grad, input_gradient=adversary is not None and twin is network)

        def step() -> None:
            batch.draw()
            of_images = learn(network, batch.x)
            if adversary:
                adversary.move(of_images)
                learn(again, adversary.images)
            if black_changes:
                xp.multiply(of_black, memory, out=of_black)
            if processes.size > 1:
                recorder.call(partial(processes.sum, gradients))
            if clipping:
                clipping.apply()
            optimizer.update(numbers)
            if max_norm:
                max_norm.apply()
            if batch_norm:
                batch_norm.update(numbers[-2:])
            if average:
                average.update(numbers[-4:-2] if batch_norm else numbers[-2:])

        return _Step(chosen, results, recorder.compile(step))

    def _twin(self, memory: float, batch: Batch, keys: list[Array], share: float) -> Perceptron:
        """The network as it is in training, with what ``memory`` leaves of the gradients before."""
        parameters, gradients = (vector[..., : self._plain] for vector in (self._parameters, self._gradients))
        network, black = self._network, self._batches.black
        vectors = parameters, gradients
        twin = Perceptron(self._recorder, network.layer_list, network.loss, *vectors, memory=memory, first_input=black)
        if self._batch_norm:
            twin.layers = self._batch_norm.layers(twin.layers, self._processes, share)
        if self._dropout:
            twin.layers = self._with_dropout(twin.layers, batch.numbers, keys[:-1])
        return twin

    def _with_dropout(self, layers: Sequence[Any], numbers: Array, keys: list[Array]) -> list[Any]:
        """The layers with a dropout before each but the first."""
        recorder, dtype = self._recorder, self._network.dtype
        row: list[Any] = [layers[0]]
        for layer, key in zip(layers[1:], keys[1:], strict=True):
            row += [Dropout(recorder, self._dropout, numbers, key, layer.input_dim, dtype), layer]
        return row

    def _numbers_of(self, step: int, rate: float) -> list[float]:
        """All that a step, counted from 1, has to know."""
        average = self._average.numbers(step) if self._average else []
        images = min(self._batch_size, self._images.count - (step - 1) % self.count * self._batch_size)
        statistics = self._batch_norm.numbers(step, images / self._batch_size) if self._batch_norm else []
        return [*self._optimizer.numbers(step, rate), *average, *statistics]

    def _returner(self, source: Array, rows: Array) -> Callable[[], object]:
        """A call that gives the network these parameters, with its rows in their order, as those of plain layers."""
        network, plain, gains = self._network, source[..., : self._plain], source[..., self._plain :]
        if not self._batch_norm:
            return self._copier(plain, network.parameters, rows)
        recorder, batch_norm = self._recorder, self._batch_norm
        folded = recorder.xp.empty_like(plain)
        copy = self._copier(folded, network.parameters, rows)

        def fold() -> None:
            recorder.copyto(plain, out=folded)
            batch_norm.fold(network.layer_matrices(folded), gains)

        make = recorder.compile(fold)

        def make_and_copy() -> None:
            make()
            copy()

        return make_and_copy

    def _copier(self, source: Array, target: Array, rows: Array) -> Callable[[], object]:
        """A call that copies all parameters, with the rows of the first layer in another order."""
        recorder, xp = self._recorder, self._recorder.xp
        shape = self._network.layers[0].shape
        size = math.prod(shape)
        whole = xp.empty_like(target)  # for Ctrl-C and other threads: the target changes at one stroke
        before, after = (
            xp.reshape(vector[..., :size], (*self._leading, *shape), copy=False) for vector in (source, whole)
        )

        def copy() -> None:
            xp.take(before, rows, axis=-2, out=after)
            recorder.copyto(source[..., size:], out=whole[..., size:])
            recorder.copyto(whole, out=target)

        return recorder.compile(copy)

    def loss(self, order: Any) -> Array:
        """The sum of the losses of an epoch's images, a 0-d array on the device. ``order``: the epoch's.

        A committee's is the mean of its members'.
        """
        order = self._network.backend.from_host(order)
        network, xp, all_logits = self._network, self._network.xp, self._logits
        if self._processes.size > 1:
            order, all_logits = (
                xp.take(array, self._own_places, axis=axis) for array, axis in ((order, -1), (all_logits, -2))
            )
        total = xp.zeros(self._leading, dtype=network.dtype)
        for chunk in slices(order.shape[-1], max(1, 16_000 // network.output_dim)):  # arrays of 64 kB
            logits = all_logits[..., chunk, :]
            targets = xp.take(self._images.targets, xp.reshape(order[..., chunk], (-1,)), axis=0)
            loss = network.loss.value(network.backend, logits, xp.reshape(targets, logits.shape, copy=False))
            total += loss * float(logits.shape[-2])
        if self._processes.size == 1:
            return xp.mean(total)
        mean = xp.reshape(xp.mean(total), (1,))
        self._processes.sum(mean)
        return mean[0, ...]


class _Step(NamedTuple):
    """A recorded step: the numbers of its images, the logits it leaves, and a function that repeats it.

    ``play`` refers to ``results`` but not to the step: a reference cycle would keep the arrays alive until Python's
    garbage collector runs.
    """

    chosen: Array
    results: dict[str, Array]
    play: Callable[[], object]
