"""Small networks and recipes."""

import dataclasses

import pytest

import ann
from ann.nn.activations import ACTIVATIONS
from ann.optim.registry import OPTIMIZERS


def network_of(
    backend, *widths, activation="sigmoid", output="sigmoid", loss="cross-entropy", seed=0, dtype="float32", committee=1
):
    layers = ann.Recipe(hidden=widths[1:-1], activation=activation, output_activation=output, loss=loss).layer_list(
        widths[0], widths[-1]
    )
    return ann.NeuralNetwork(layers, loss, backend, seed, dtype, committee=committee)


def recipe_of(activation, output, loss, optimizer, **fields):
    """A small recipe with decay whose last batch is smaller, for data of 8 x 8 pixels."""
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
    "max_norm": 1.5,
    "average": 0.9,
}


def _cases():
    """Activation of the hidden layers and of the output, loss and optimizer: each with each.

    The quick tests take each with some optimizer.
    """
    for number, activation in enumerate(ACTIVATIONS):
        for output in ("sigmoid", "softmax"):
            for other, optimizer in enumerate(OPTIMIZERS):
                marks = () if other == number % len(OPTIMIZERS) else pytest.mark.slow
                case = (activation, output, "cross-entropy", optimizer)
                yield pytest.param(case, id="-".join(case), marks=marks)
    for output in ACTIVATIONS:
        case = ("tanh", output, "quadratic", "nesterov")
        yield pytest.param(case, id="-".join(case))


CASES = list(_cases())


def known(reports):
    """What reports say but for the times."""
    return [dataclasses.replace(report, seconds=0, images_per_second=0) for report in reports]
