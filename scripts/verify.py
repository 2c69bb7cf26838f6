"""Check that a device trains like the CPU, and that its gradients are right."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P, -I and -m omit it

import cli
import endings
import numpy as np
from train_flags import whole

import ann
from ann.analysis.gradient_check import gradient_check_cases, network_gradient_error
from ann.analysis.parity import training_differences
from ann.backends.base import Backend
from ann.errors import require

EXAMPLES = """\
  python scripts/verify.py --device gpu
  python scripts/verify.py --gradients
  # check your own activation too
  python scripts/verify.py --gradients --import my_activation.py"""
GRADIENT_TOLERANCE = 1e-6


def main() -> None:
    """Check training, and gradients if asked to; exit with 1 if anything is wrong."""
    flags = parse_flags()
    with endings.one_line_errors():
        backend = device(flags.device)
        right = check_gradients(backend) if flags.gradients else True
        right = check_training(backend, flags) and right
        end = "" if right else ", where it says WRONG above"
        cli.say(f"\n{'pass' if right else 'FAIL'}: {backend.name}, {backend.description}{end}")
        if not right:
            sys.exit(1)


def device(name: str) -> ann.Backend:
    """The device to check. Without a GPU, "auto" is the strict backend, which stands in for one."""
    if name != "strict":
        found = ann.get_backend(name)
        if found.name == "gpu" or name == "cpu":
            return found
        cli.say(f"no working GPU ({found.description}): checking the strict backend instead")
    use = "the strict backend needs array-api-strict (or use --device cpu)"
    backend: ann.Backend = require("ann.backends.strict", "test", use).strict_backend()
    return backend


def check_training(backend: ann.Backend, flags: argparse.Namespace) -> bool:
    """Train for some steps on this device and on the CPU, and compare loss and parameters."""
    recipe, full = ann.Recipe(epochs=1), ann.load_dataset(flags.data)
    count = min(flags.steps * recipe.batch_size, len(full.train_images))
    if count < recipe.batch_size:
        few = f"{count} training images, and a step takes {recipe.batch_size}"
        raise ann.DataFileError(f"{flags.data}: {few}")
    images, labels = full.train_images[:count], full.train_labels[:count]
    dataset = dataclasses.replace(full, train_images=images, train_labels=labels)
    # The CPU replays recorded steps, so there the reference makes every call as it is written
    reference = Backend("as written", np) if backend.name == "cpu" else ann.get_backend("cpu")
    devices = f"{reference.name} and {backend.name}"
    steps = -(-count // recipe.batch_size)
    cli.say(f"\n{steps} steps of the default recipe, seed {flags.seed}: {devices}")
    cli.say(f"  {'':22}{'largest':>12}{'difference':>12}{'tolerance':>12}")
    differences = training_differences(backend, reference, dataset, recipe, flags.seed)
    for found in differences:
        numbers = f"{found.largest:12.4f}{found.difference:12.1e}{found.tolerance:12.1e}"
        cli.say(f"  {found.name:22}{numbers}  {'ok' if found.is_small else 'WRONG'}")
    return all(found.is_small for found in differences)


def check_gradients(backend: ann.Backend) -> bool:
    """Compare gradients with finite differences, for every layer, activation and loss."""
    cli.say(f"\ngradients against central differences in float64, on {backend.name}")
    cli.say(f"  {'':46}{'error':>12}{'tolerance':>12}")
    right = True
    for number, (name, network) in enumerate(gradient_check_cases(backend)):
        error = network_gradient_error(network, np.random.default_rng([1, number]))
        good = error <= GRADIENT_TOLERANCE
        numbers = f"{error:12.1e}{GRADIENT_TOLERANCE:12.1e}"
        cli.say(f"  {name:46}{numbers}  {'ok' if good else 'WRONG'}")
        right = right and good
    return right


def parse_flags() -> argparse.Namespace:
    """The command line."""
    description = "Check that a device trains like the CPU, and that its gradients are right."
    parser = cli.Parser(description, EXAMPLES)
    parser.add_import()
    parser.add_common(device=False)
    text = "auto (default): a working GPU, else strict, which refuses what a GPU would refuse"
    devices = ("auto", "cpu", "gpu", "strict")
    parser.add_argument("--device", choices=devices, default="auto", help=text)
    text = "training steps (default: 20)"
    parser.add_argument("--steps", type=whole(1), default=20, metavar="N", help=text)
    text = "of all random numbers (default: 0)"
    parser.add_argument("--seed", type=whole(0), default=0, help=text)
    text = "also check every layer, activation and loss by finite differences"
    parser.add_argument("--gradients", action="store_true", help=text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
