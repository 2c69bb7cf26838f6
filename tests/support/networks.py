"""Small networks and recipes."""

import dataclasses

import numpy as np
import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.nn.losses import get_loss
from ann.nn.network import Network
from ann.optim.registry import OPTIMIZERS
from ann.training.batches import lit_pixels


def network_of(
    backend,
    *widths,
    activation="sigmoid",
    output="sigmoid",
    loss="cross-entropy",
    seed=0,
    dtype="float32",
    committee=1,
):
    layers = ann.Recipe(
        hidden=widths[1:-1], activation=activation, output_activation=output, loss=loss
    ).layer_list(widths[0], widths[-1])
    return ann.NeuralNetwork(layers, loss, backend, seed, dtype, committee=committee)


def recipe_of(activation, output, loss, optimizer, **fields):
    """A small recipe with weight decay and a smaller last batch, for data of 8 x 8 pixels."""
    return ann.Recipe(
        hidden=(12, 8),
        activation=activation,
        output_activation=output,
        loss=loss,
        optimizer=optimizer,
        learning_rate={"sgd": 0.1, "nesterov": 0.1, "rmsprop": 0.001}.get(optimizer, 0.01),
        weight_decay=0.01,
        batch_size=45,
        **fields,
    )


REGULARIZED = {
    "label_smoothing": 0.1,
    "dropout": 0.2,
    "input_dropout": 0.1,
    "clip": 0.5,
    "max_norm": 1.0,
    "average": 0.9,
}


def _cases():
    """Activation of the hidden layers and of the output, loss and optimizer.

    Each activation has two optimizers, one for each output. The quick tests use the first, and some
    outputs with the quadratic loss.
    """
    optimizers = list(OPTIMIZERS)
    for number, activation in enumerate(ACTIVATIONS):
        for other in (0, 1):
            optimizer = optimizers[(number + 3 * other) % len(optimizers)]
            output = ("sigmoid", "softmax")[(number // 2 + other) % 2]
            marks = pytest.mark.slow if other else ()
            case = (activation, output, "cross-entropy", optimizer)
            yield pytest.param(case, id="-".join(case), marks=marks)
    for output in ACTIVATIONS:
        case = ("tanh", output, "quadratic", "nesterov")
        marks = () if output in ("sigmoid", "softmax", "identity") else pytest.mark.slow
        yield pytest.param(case, id="-".join(case), marks=marks)


CASES = list(_cases())


def stopping_at(step):
    """For ``on_batch``: stop after this many batches."""
    seen = []
    return lambda size: seen.append(size) or len(seen) == step


def known(reports):
    """A report without its times."""
    return [dataclasses.replace(report, seconds=0, images_per_second=0) for report in reports]


def without_black_pixels(weight, net, dataset, recipe):
    """A copy of a network's first weights that is 0 for the pixels that training leaves out."""
    kept = lit_pixels(net, dataset.train_images.reshape(len(dataset.train_images), -1), recipe)
    if kept is None:
        return weight.copy()
    cut = np.zeros_like(weight)
    cut[..., kept, :] = weight[..., kept, :]
    return cut


def network_on(backend, layers, rng, loss="cross-entropy", output="sigmoid", dtype="float64"):
    """An ``nn.network.Network`` of these layers, with random parameters."""
    network = Network(backend, layers, get_loss(loss, output), getattr(backend.xp, dtype))
    for vector in (network.parameters, network.gradients):
        values = 0.5 * rng.standard_normal(vector.shape)
        vector[...] = backend.from_host(values.astype(dtype))
    return network
