"""Diagnostics: after each epoch, check for the usual problems of training and warn with one sentence that says what to
try. The checks read a few numbers that training has anyway and, three times in a run, what the network computes for
some images. They change nothing. In a committee they look at the first member.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ann.errors import TrainingWarning
from ann.neural_network import NeuralNetwork
from ann.training.recipe import Recipe
from ann.training.report import EpochReport

_SAMPLE = 1000  # images that are looked at
_STEPS = 100  # before so many, no network has learnt anything
_POOR = 0.75  # the share of chance's mistakes that is called poor
_WELL = 0.25  # a smaller share of mistakes is no trouble
_DEAD = 0.6  # the share of a layer's neurons; 0.48 were in runs of relu networks that learnt well
_FLAT = 0.9  # the share of a layer's outputs; at most 0.75 were in sigmoid and tanh networks that learnt well
_GROWN = 2.0  # times the least loss


class Diagnostics:
    """Looks at a run after each epoch, and warns where something seems wrong: at most once of each thing."""

    def __init__(self, network: NeuralNetwork, images: np.ndarray, labels: np.ndarray, recipe: Recipe) -> None:
        """``images`` (N, I), and ``labels`` (N,) or target rows, are those of the training, on the host."""
        # By chance, since data may be sorted or periodic; with a generator of its own, so that nothing else changes
        chosen = np.random.default_rng(0).permutation(len(images))[:_SAMPLE]
        self.images, self.labels = images[chosen], labels[chosen]
        self.network, self.recipe = network, recipe
        self._steps = -(-len(images) // recipe.batch_size)
        self.largest_weight = _largest(_first_member(network), network.weight_places)

    def after_epoch(self, reports: Sequence[EpochReport], warned_of: list[str]) -> None:
        """Look at a run whose epochs so far gave these reports, and add to ``warned_of``."""
        epoch = reports[-1].epoch
        if epoch * self._steps < _STEPS:
            return
        epochs = self.recipe.epochs
        checks = [_growing_loss]
        if epoch in (epochs // 10 + 1, (epochs + 1) // 2, epochs):
            checks += [_dark_images, _shuffled_labels, _dead_neurons, _vanished_weights]
        if epoch in ((epochs + 1) // 2, epochs):  # some networks that end well start slowly
            checks += [_flat_neurons, _no_learning]
        found: _Findings | None = None
        for check in checks:
            if check.__name__ in warned_of:
                continue
            found = found or _Findings(self, reports, warned_of)
            with self.network.backend.ignore_overflow():
                hint = check(found)
            if hint:
                warned_of.append(check.__name__)
                warnings.warn(f"{hint} (after epoch {epoch})", TrainingWarning, stacklevel=3)
                return


class _Findings:
    """What the checks look at, worked out when it is asked for."""

    def __init__(self, run: Diagnostics, reports: Sequence[EpochReport], warned_of: Sequence[str]) -> None:
        self.images, self.labels, self.recipe = run.images, run.labels, run.recipe
        self.reports, self.largest_at_start, self._network = reports, run.largest_weight, run.network
        self.warned_before = bool(warned_of)

    @cached_property
    def host(self) -> NeuralNetwork:
        """The network, on the host."""
        net = self._network
        host = NeuralNetwork(net.layer_list, net.loss_name, "cpu", 0, net.dtype_name, _first_member(net))
        host.warned = True  # ``fit`` has checked the images already
        return host

    @cached_property
    def learns_poorly(self) -> bool:
        """Whether the network does little better than by always giving the commonest label."""
        return self.wrong > 0 and self.wrong > _POOR * self.chance

    @cached_property
    def wrong(self) -> float:
        """The share of mistakes on the sample; none are known where an image may have several labels."""
        if self.labels.ndim == 2:
            return 0.0
        return float((self.host.predict(self.images) != self.labels).mean())

    @property
    def chance(self) -> float:
        """The share of mistakes of the commonest label."""
        return 1.0 - float(np.bincount(self.labels).max()) / len(self.labels)

    @cached_property
    def hidden_outputs(self) -> list[tuple[int, Any, np.ndarray]]:
        """(number of the layer, its activation, outputs (N, O)) for each hidden layer."""
        x, scale = self.host.inputs(self.images)
        found = []
        for number, layer in enumerate(self.host.layers[:-1], start=1):
            x, scale = layer.apply(x, scale), 1.0
            found.append((number, layer.activation, x[:, :-1]))
        return found


def _first_member(network: NeuralNetwork) -> np.ndarray:
    """Its parameters (P,), on the host."""
    vectors: np.ndarray = network.backend.to_host(network.parameters).reshape(network.committee, -1)
    return np.asarray(vectors[0])


def _growing_loss(found: _Findings) -> str:
    losses = [report.loss for report in found.reports]
    if losses[-1] > _GROWN * min(losses) and losses[-1] > 0.5 * losses[0]:
        return (
            f"the loss has grown from {min(losses):.3g} to {losses[-1]:.3g}, so training diverges: "
            f"{lower_rate(found.recipe)}, or clipping (clip 1)"
        )
    return ""


def _dark_images(found: _Findings) -> str:
    brightest = int(found.images.max()) if found.images.dtype == np.uint8 else 255
    if brightest < 8 and found.learns_poorly:
        return (
            f"the brightest pixel is {brightest} of 255, so the network sees next to nothing: were the pixels scaled "
            "before? Hand them over as they are, from 0 to 255; they are divided by 255 here"
        )
    return ""


def _shuffled_labels(found: _Findings) -> str:
    """Whether images are no nearer to the mean of their own class, over other images, than to other means."""
    if not found.learns_poorly:
        return ""
    means_of, tried = slice(0, None, 2), slice(1, None, 2)
    images, labels = found.images.astype(np.float32), found.labels
    classes = np.unique(labels[means_of])
    means = np.stack([images[means_of][labels[means_of] == label].mean(axis=0) for label in classes])
    # |x - m|^2 = |x|^2 - 2 x m + |m|^2, of which the first is the same for all means
    distances = (means * means).sum(axis=1) - 2.0 * images[tried] @ means.T
    wrong = float((classes[distances.argmin(axis=1)] != labels[tried]).mean())
    noise = 3.0 * float(np.sqrt(found.chance * (1.0 - found.chance) / len(labels[tried])))
    if wrong > found.chance - noise:
        return (
            "images with the same label are no more alike than others, so the labels look shuffled: see that images "
            "and labels are in the same order and from the same files (python scripts/try_loader.py shows some)"
        )
    return ""


def _vanished_weights(found: _Findings) -> str:
    decay, largest = found.recipe.weight_decay, _largest(found.host.parameters, found.host.weight_places)
    if decay and largest < 0.5 * found.largest_at_start and found.learns_poorly and not found.warned_before:
        advice = _defaults(found.recipe) or "try weight decay 0"
        return (
            f"weight decay has pulled all weights to 0 (the largest is {largest:.2g}), so the network learns nothing: "
            f"{advice}"
        )
    return ""


def _largest(parameters: np.ndarray, places: Sequence[slice]) -> float:
    """The size of the largest weight."""
    return max(float(np.abs(parameters[place]).max()) for place in places)


def _dead_neurons(found: _Findings) -> str:
    if found.warned_before:
        return ""  # probably for the same reason
    for number, activation, outputs in found.hidden_outputs:
        dead = int((outputs == 0).all(axis=0).sum())
        if activation.name == "relu" and dead > _DEAD * outputs.shape[1]:
            return (
                f"{dead} of the {outputs.shape[1]} relu neurons of layer {number} are 0 for every image, so they no "
                f"longer learn: {lower_rate(found.recipe)}, or leaky-relu"
            )
    return ""


def _flat_neurons(found: _Findings) -> str:
    if found.wrong < _WELL or found.warned_before:
        return ""  # some networks work with outputs of 0 and 1
    for number, activation, outputs in found.hidden_outputs:
        if activation.name in ("sigmoid", "tanh", "scaled-tanh"):
            slopes, scratch = np.ones_like(outputs), np.empty_like(outputs)
            activation.backward(found.host.backend, slopes, outputs, scratch)
            flat = float((slopes < 0.01).mean())
            if flat > _FLAT:
                return (
                    f"{100 * flat:.0f} % of the {activation.name} outputs of layer {number} are saturated, so the "
                    f"layer learns little: {lower_rate(found.recipe)}, or more weight decay"
                )
    return ""


def _no_learning(found: _Findings) -> str:
    if found.learns_poorly and not found.warned_before:  # for want of a better one
        rate = found.recipe.learning_rate
        advice = _defaults(found.recipe) or f"try more epochs, fewer hidden layers, or learning rate {rate / 5:.2g}"
        return f"the network has learnt next to nothing: {advice}"
    return ""


def lower_rate(recipe: Recipe) -> str:
    """Advice for a learning rate that is too high."""
    rate = recipe.learning_rate
    too_high = rate > 3 * recipe.default_rates()["learning_rate"]
    return _defaults(recipe) if too_high else f"try learning rate {rate / 5:.2g}"


def _defaults(recipe: Recipe) -> str:
    """Advice to use the default rates if the recipe's are far from them, otherwise ""."""
    default = recipe.default_rates()
    far = []
    if not default["learning_rate"] / 3 <= recipe.learning_rate <= default["learning_rate"] * 3:
        far.append(f"learning rate {default['learning_rate']:g}")
    if recipe.weight_decay > default["weight_decay"] * 3:  # a network also learns with less
        far.append(f"weight decay {default['weight_decay']:g}")
    return f"try {' and '.join(far)} (the default for this recipe)" if far else ""
