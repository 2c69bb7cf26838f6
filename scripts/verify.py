"""Check that a device computes what it should: the same training as the CPU, and gradients that are right."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.analysis.gradient_check import network_gradient_error
from ann.backends.base import Backend
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import DATA, Parser, checked, data_set
from ann.nn.activations import ACTIVATIONS
from ann.nn.batch_norm import BatchNorm
from ann.nn.dropout import Dropout
from ann.nn.losses import LOSSES
from ann.validation import check_count

EXAMPLES = """\
  python scripts/verify.py --device gpu
  python scripts/verify.py --gradients
  # an activation of one's own too
  python scripts/verify.py --gradients --import my_activation.py"""

# Devices round differently, and each step multiplies what they differ by. A parameter of a right device differs by
# less than this share of the largest in its layer; a wrong formula shows in the first digits.
SHARE = 1e-3
GRADIENT_TOLERANCE = 1e-6


def main() -> None:
    """Parse, check, print."""
    flags = parse_flags()
    with one_line_errors():
        backend = device(flags.device)
        right = True
        if flags.gradients:
            right = check_gradients(backend)
        right = check_training(backend, flags) and right
        where = "" if right else ", where it says WRONG above"
        echo(f"\n{'pass' if right else 'FAIL'}: {backend.name}, {backend.description}{where}")
        if not right:
            sys.exit(1)


def device(name: str) -> ann.Backend:
    """The device to check; without a GPU, where none is insisted on, the strict backend, which stands in for one."""
    if name != "strict":
        found = ann.get_backend(name)
        if found.name == "gpu" or name == "cpu":
            return found
        echo(f"no GPU computes here ({found.description}), so this checks the strict backend, its stand-in")
    try:
        from ann.backends.strict import strict_backend
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install -e '.[test]'; or try --device cpu") from None
    backend: ann.Backend = strict_backend()
    return backend


def check_training(backend: ann.Backend, flags: argparse.Namespace) -> bool:
    """Train by the default recipe for some steps on a device and another, and compare the parameters."""
    full = ann.load_dataset(flags.data)
    recipe = ann.Recipe(epochs=1)
    count = min(flags.steps * recipe.batch_size, len(full.train_images))
    if count < recipe.batch_size:
        raise ann.DataFileError(f"{flags.data}: {count} training images, and a step takes {recipe.batch_size}")
    dataset = dataclasses.replace(full, train_images=full.train_images[:count], train_labels=full.train_labels[:count])
    pixels = dataset.train_images[0].size
    # On the CPU, training plays recorded steps: the reference is every call as it is written
    reference = Backend("as written", np) if backend.name == "cpu" else ann.get_backend("cpu")
    networks = [
        ann.NeuralNetwork(recipe.layer_list(pixels, 10), recipe.loss, on, flags.seed) for on in (reference, backend)
    ]
    losses = [ann.fit(network, dataset, recipe)[0].loss for network in networks]
    steps = -(-count // recipe.batch_size)
    echo(f"\n{steps} steps of the default recipe, seed {flags.seed}: {reference.name} and {backend.name}")
    echo(f"  {'':22}{'largest':>12}{'difference':>12}{'tolerance':>12}")
    right = line("mean loss", losses[0], abs(losses[0] - losses[1]), SHARE * losses[0])
    for number, layers in enumerate(zip(*(network.layers for network in networks), strict=True), start=1):
        for part in ("weight", "bias"):
            one, other = (
                network.backend.to_host(getattr(layer, part)) for network, layer in zip(networks, layers, strict=True)
            )
            largest = float(np.abs(one).max())
            difference = float(np.abs(one.astype(np.float64) - other).max())
            right = line(f"layer {number}, {part}", largest, difference, SHARE * largest) and right
    return right


def check_gradients(backend: ann.Backend) -> bool:
    """Compare gradients with finite differences, in float64, for every layer, activation and loss."""
    echo(f"\ngradients against central differences in float64, on {backend.name}")
    echo(f"  {'':46}{'error':>12}{'tolerance':>12}")
    wrong = 0
    for number, (name, network) in enumerate(cases(backend)):
        error = network_gradient_error(network, np.random.default_rng([1, number]))
        good = error <= GRADIENT_TOLERANCE
        echo(f"  {name:46}{error:12.1e}{GRADIENT_TOLERANCE:12.1e}  {'ok' if good else 'WRONG'}")
        wrong += not good
    if wrong:
        echo(f"  {wrong} of them WRONG")
    return wrong == 0


def cases(backend: ann.Backend) -> Iterator[tuple[str, ann.NeuralNetwork]]:
    """A small network for each activation, each loss with each output activation, and each layer."""

    def network(hidden: str, output: str = "sigmoid", loss: str = "cross-entropy") -> ann.NeuralNetwork:
        recipe = ann.Recipe(hidden=(6, 5), activation=hidden, output_activation=output, loss=loss)
        return ann.NeuralNetwork(recipe.layer_list(7, 4), loss, backend, 1, "float64")

    for activation in ACTIVATIONS:
        yield f"hidden layers {activation}", network(activation)
    for loss in LOSSES:
        for output in ACTIVATIONS:
            try:
                found = network("tanh", output, loss)
            except ValueError:
                continue  # cross-entropy needs outputs between 0 and 1
            yield f"{loss} of {output} outputs", found
    layers = network("tanh").layer_list
    yield "a committee of three", ann.NeuralNetwork(layers, "cross-entropy", backend, 1, "float64", committee=3)
    found = network("tanh")
    images, key = (backend.from_host(np.arange(size, dtype=np.uint32)) for size in (6, 1))
    layers_in_training: list[Any] = [
        found.layers[0],
        Dropout(backend, 0.4, images, key, 6, found.dtype),
        *found.layers[1:],
    ]
    vars(found)["layers"] = layers_in_training  # which cannot be replaced otherwise
    yield "dropout", found
    found = network("tanh")
    gains, gradients = (found.xp.zeros(11, dtype=found.dtype) for _ in range(2))
    vars(found)["layers"] = BatchNorm(backend, [6, 5], gains, gradients).layers(found.layers)
    yield "batch normalisation", found


def line(name: str, largest: float, difference: float, tolerance: float) -> bool:
    """Print a comparison; whether it is within its tolerance, which what is not a number never is."""
    good = difference <= tolerance
    echo(f"  {name:22}{largest:12.4f}{difference:12.1e}{tolerance:12.1e}  {'ok' if good else 'WRONG'}")
    return good


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Check that a device trains as the CPU does, and that its gradients are right.", EXAMPLES)
    parser.add_import()
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu", "strict"),
        default="auto",
        help="auto (default): a GPU if one computes, else strict; strict: a stand-in for a GPU that refuses what a GPU "
        "would; gpu never falls back",
    )
    parser.add_argument(
        "--data", type=data_set, default=DATA, metavar="FOLDER", help="the four IDX files (default: data/)"
    )
    whole = checked(lambda value: check_count("", value, at_least=1), int, "a whole number of at least 1")
    parser.add_argument("--steps", type=whole, default=20, metavar="N", help="of training (default: 20)")
    seed = checked(lambda value: check_count("", value, at_least=0), int, "a whole number of at least 0")
    parser.add_argument("--seed", type=seed, default=0, help="of all random numbers (default: 0)")
    parser.add_argument(
        "--gradients", action="store_true", help="check every layer, activation and loss by finite differences too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
