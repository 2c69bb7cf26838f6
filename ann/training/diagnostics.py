"""Diagnostics: after each epoch, check for the usual problems of training and warn with one
sentence that says what to try. The checks read a few numbers that training has anyway and, three
times in a run, what the network computes for some images. They change nothing. In a committee they
look at the first member.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ann.errors import DivergenceError, TrainingWarning
from ann.installation import localized
from ann.neural_network import NeuralNetwork, copy_of, slices
from ann.nn.layers import ActivationLayer
from ann.nn.network import fill_inputs
from ann.training.callback import Callback
from ann.training.defaults import default_rates
from ann.training.recipe import Recipe
from ann.training.report import EpochReport
from ann.training.run import Run

_SAMPLE = 1000  # images in the checks
_STEPS = 100  # no checks before this step
_POOR = 0.75  # poor: more than this fraction of the error rate of a constant answer
_WELL = 0.25  # good: a smaller error rate
_DEAD = 0.6  # more dead neurons in a layer are a problem; good relu networks had up to 0.48
_FLAT = 0.9  # more saturated outputs of a layer are a problem; good networks had up to 0.75
_SATURATING = ("sigmoid", "tanh", "scaled-tanh")  # on both sides
_VANISHED = 0.1  # vanished: the largest weight is less than this fraction of the one at the start
_GROWN = 2.0  # diverging: more than this many times the smallest loss


class Diagnostics(Callback):
    """Checks a run after each epoch and warns if something looks wrong, once per problem.

    The names of failed checks are added to the ``warned_of`` of the run's state.
    """

    def __init__(self, run: Run) -> None:
        # Random, since data may be sorted or periodic; a separate generator changes nothing else
        chosen = np.random.default_rng(0).permutation(len(run.data.images))[:_SAMPLE]
        self._run = run
        self._images, self._labels = run.data.images[chosen], run.data.labels[chosen]
        self._largest_at_start = _largest_weight(run.network.member(0))
        self._unchecked: EpochReport | None = None

    def after_epoch(self, report: EpochReport) -> None:
        self._unchecked = report

    def before_epoch(self) -> None:
        """Check the last epoch, now that its checkpoint has been written."""
        report, self._unchecked = self._unchecked, None
        if report and report.epoch * self._run.trainer.steps >= _STEPS:
            self._check(report.epoch)

    at_end = before_epoch

    def _check(self, epoch: int) -> None:
        run, warned_of = self._run, self._run.state.warned_of
        half, epochs = (run.recipe.epochs + 1) // 2, run.recipe.epochs
        is_checked = epoch in (epochs // 10 + 1, half, epochs)
        checks = [_growing_loss]
        if is_checked:
            checks += [_dark_images, _shuffled_labels]
        if is_checked and not warned_of:  # otherwise the reason is probably the same
            checks += [_dead_neurons, _vanished_weights]
            if epoch in (half, epochs):  # some good networks start slowly
                checks += [_flat_neurons, _no_learning]
        found = _Findings(run, self._images, self._labels, self._largest_at_start)
        for check in checks:
            if check.__name__ in warned_of:
                continue
            with run.network.backend.ignore_overflow():
                hint = next(check(found), None)
            if hint:
                warned_of.append(check.__name__)
                warnings.warn(f"{hint} (after epoch {epoch})", TrainingWarning, stacklevel=4)
                return


def raise_if_diverged(network: NeuralNetwork, loss: float, epoch: int, recipe: Recipe) -> None:
    """Raise DivergenceError if the loss or a parameter is not finite. It names diverged members."""
    xp = network.backend.xp
    sums = network.backend.to_host(xp.sum(network.parameters, axis=-1))  # finite if all terms are
    finite = [math.isfinite(total) for total in sums.reshape(-1).tolist()]
    if math.isfinite(loss) and all(finite):
        return
    whose = ""
    if network.committee > 1 and not all(finite):
        seeds = [str(seed) for seed, good in zip(network.seeds, finite, strict=True) if not good]
        plural = "s" * (len(seeds) > 1)
        whose = f", the member{plural} with seed{plural} {', '.join(seeds)}"
    raise DivergenceError(
        f"training diverged in epoch {epoch} of {recipe.epochs}{whose}: the numbers overflowed; "
        f"{lower_rate(recipe)}"
    )


@dataclass
class _Findings:
    """The evidence for the checks. Slow computations wait until a check needs them."""

    run: Run
    images: np.ndarray
    labels: np.ndarray
    largest_at_start: float

    @property
    def recipe(self) -> Recipe:
        return self.run.recipe

    @cached_property
    def host(self) -> NeuralNetwork:
        """A copy of the first member on the host."""
        host = copy_of(self.run.network, "cpu").member(0)
        host.warned = True  # ``fit`` has checked the images already
        return host

    @property
    def learns_poorly(self) -> bool:
        """Whether the network is hardly better than always giving the most common label."""
        return self.wrong > 0 and self.wrong > _POOR * self.chance

    @cached_property
    def wrong(self) -> float:
        """The error rate on the sample; 0 for target rows."""
        if self.labels.ndim == 2:
            return 0.0
        return float((self.host.predict(self.images) != self.labels).mean())

    @property
    def chance(self) -> float:
        """The error rate of always giving the most common label."""
        return 1.0 - float(np.bincount(self.labels).max()) / len(self.labels)

    @cached_property
    def hidden_layers(self) -> list[tuple[int, str, np.ndarray, float]]:
        """For each hidden layer with an activation: its number, from 1; its activation; whether
        each neuron was always 0; and the share of saturated outputs. A filter counts as a neuron.
        """
        host, specs = self.host, list(enumerate(self.host.layer_list[:-1], start=1))
        active = [one for one in specs if one[1].get("activation", "identity") != "identity"]
        neurons = [spec.get("filters") or spec["output_dim"] for _, spec in active]
        dead = [np.ones(count, dtype=bool) for count in neurons]
        flat = [0.0] * len(active)
        for chunk in slices(len(self.images), host.chunk):  # all at once might need much memory
            x = np.empty(self.images[chunk].shape, dtype=host.dtype_name)
            fill_inputs(host.backend, self.images[chunk], out=x)
            index = 0
            for layer in host.network.layers:
                x = layer.forward(x)
                if isinstance(layer, ActivationLayer):
                    zero = (x == 0).all(axis=0).reshape(neurons[index], -1).all(axis=1)
                    dead[index] &= zero
                    if layer.f.name in _SATURATING:
                        slopes = layer.f.derivative(np, x)
                        flat[index] += float((slopes < 0.01).mean(axis=1).sum())
                    index += 1
        return [
            (number, spec["activation"], dead[index], flat[index] / len(self.images))
            for index, (number, spec) in enumerate(active)
        ]


# Each check yields a sentence if something looks wrong


def _growing_loss(found: _Findings) -> Iterator[str]:
    losses = [report.loss for report in found.run.state.reports]
    if losses[-1] > _GROWN * min(losses) and losses[-1] > 0.5 * losses[0]:
        yield (
            f"the loss has grown from {min(losses):.3g} to {losses[-1]:.3g}, so training diverges: "
            f"{lower_rate(found.recipe)}, or clipping (clip 1)"
        )


def _dark_images(found: _Findings) -> Iterator[str]:
    brightest = found.images.max()
    if found.images.dtype == np.uint8 and brightest < 8 and found.learns_poorly:
        yield (
            f"the brightest pixel is {brightest} of 255, so the network sees next to nothing: were "
            "the pixels scaled already? Pass them unscaled, from 0 to 255; they are divided by 255 "
            "here"
        )


def _shuffled_labels(found: _Findings) -> Iterator[str]:
    """Whether images are no closer to the mean of their own class than to other classes' means."""
    if not found.learns_poorly or len(found.labels) < 2:
        return
    images, labels = found.images.astype(np.float32), found.labels
    # The means are of every second image, and the others are classified
    classes = np.unique(labels[::2])
    means = np.stack([images[::2][labels[::2] == label].mean(axis=0) for label in classes])
    # |x - m|^2 = |x|^2 - 2 x m + |m|^2, where |x|^2 is the same for all means
    distances = (means * means).sum(axis=1) - 2.0 * images[1::2] @ means.T
    wrong = float((classes[distances.argmin(axis=1)] != labels[1::2]).mean())
    noise = 3.0 * float(np.sqrt(found.chance * (1.0 - found.chance) / len(labels[1::2])))
    if wrong > found.chance - noise:
        yield localized(
            "images with the same label are no more alike than others, so the labels look "
            "shuffled: check that images and labels have the same order and come from the same "
            "files (python scripts/try_loader.py shows some)"
        )


def _vanished_weights(found: _Findings) -> Iterator[str]:
    decay, largest = found.recipe.weight_decay, _largest_weight(found.host)
    if decay and largest < _VANISHED * found.largest_at_start and found.learns_poorly:
        yield (
            f"weight decay has pulled all weights to 0 (the largest is {largest:.2g}), so the "
            f"network learns nothing: {_defaults(found.recipe) or 'try weight decay 0'}"
        )


def _largest_weight(network: NeuralNetwork) -> float:
    return max(float(np.abs(weight).max()) for weight, _ in network.weights_and_biases())


def _dead_neurons(found: _Findings) -> Iterator[str]:
    for number, activation, dead, _ in found.hidden_layers:
        if activation == "relu" and dead.mean() > _DEAD:
            yield (
                f"{dead.sum()} of the {len(dead)} relu neurons of layer {number} are 0 for every "
                f"image, so they no longer learn: {lower_rate(found.recipe)}, or leaky-relu"
            )


def _flat_neurons(found: _Findings) -> Iterator[str]:
    for number, activation, _, flat in found.hidden_layers:
        if flat > _FLAT and found.wrong >= _WELL:  # they do no harm in a good network
            yield (
                f"{100 * flat:.0f} % of the {activation} outputs of layer "
                f"{number} are saturated, so the layer learns little: {lower_rate(found.recipe)}"
            )


def _no_learning(found: _Findings) -> Iterator[str]:
    if found.learns_poorly:
        rate = found.recipe.learning_rate / 5
        general = f"try more epochs, fewer hidden layers, or learning rate {rate:.2g}"
        yield f"the network has learnt next to nothing: {_defaults(found.recipe) or general}"


def lower_rate(recipe: Recipe) -> str:
    """Advice for a learning rate that is too high."""
    rate = recipe.learning_rate
    too_high = rate > 3 * default_rates(recipe)["learning_rate"]
    return _defaults(recipe) if too_high else f"try learning rate {rate / 5:.2g}"


def _defaults(recipe: Recipe) -> str:
    """Advice to use the default rates if the recipe's differ much from them, otherwise ""."""
    default = default_rates(recipe)
    far = []
    if not default["learning_rate"] / 3 <= recipe.learning_rate <= default["learning_rate"] * 3:
        far.append(f"learning rate {default['learning_rate']:g}")
    if recipe.weight_decay > default["weight_decay"] * 3:  # less does no harm
        far.append(f"weight decay {default['weight_decay']:g}")
    return f"try {' and '.join(far)} (the default for this recipe)" if far else ""
