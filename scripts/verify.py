"""Check that a device trains like the CPU, and that its gradients are right.

Examples:
  python scripts/verify.py --device gpu
  python scripts/verify.py --hidden conv8x5,pool2,64 --activation relu
  python scripts/verify.py --gradients
  python scripts/verify.py --gradients --import my_activation.py
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.analysis.gradient_check import gradient_errors
from ann.analysis.parity import training_differences
from ann.cli.data_set import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, whole
from ann.cli.recipe_flags import add_recipe_flags, given_fields
from ann.errors import require


@one_line_errors(names=vars(ann.Recipe()))
def main() -> None:
    """Check training, and gradients if asked to; exit with 1 if anything is wrong."""
    flags = parse_flags()
    backend = device(flags.device)
    right = check_gradients(backend) if flags.gradients else True
    right = check_training(backend, flags) and right
    print(f"\n{'pass' if right else 'FAIL'}: {backend.name}, {backend.description}")
    sys.exit(0 if right else 1)


def device(name: str) -> ann.Backend:
    """The device to check. Without a GPU, "auto" is the strict backend, which stands in for one."""
    if name != "strict":
        found = ann.get_backend(name)
        if found.name == "gpu" or name == "cpu":
            return found
        print(f"no working GPU ({found.description}): checking the strict backend instead")
    use = "the strict backend needs array-api-strict (or use --device cpu)"
    backend: ann.Backend = require("ann.backends.strict", "test", use).strict_backend()
    return backend


def check_training(backend: ann.Backend, flags: argparse.Namespace) -> bool:
    """Train for some steps on this device and on the CPU, and compare loss and parameters."""
    fields, full = given_fields(flags), load_dataset(flags.data)
    recipe = ann.Recipe(epochs=1).changed(**fields)
    count = min(flags.steps * recipe.batch_size + recipe.validation, len(full.train_images))
    trained_on = count - recipe.validation
    if trained_on < recipe.batch_size:
        few = f"{max(0, trained_on)} training images, and a step takes {recipe.batch_size}"
        raise ann.DataFileError(f"{flags.data}: {few}; choose a smaller --batch-size")
    images, labels = full.train_images[:count], full.train_labels[:count]
    dataset = dataclasses.replace(full, train_images=images, train_labels=labels)
    # The CPU replays recorded steps, so there the reference makes every call as it is written
    reference = (
        ann.Backend("unrecorded steps", backend.xp)
        if backend.name == "cpu"
        else ann.get_backend("cpu")
    )
    steps = recipe.epochs * -(-trained_on // recipe.batch_size)
    training = f"{steps} steps of {'this' if fields else 'the default'} recipe, seed {flags.seed}"
    print(f"\n{training}: {backend.name} compared with {reference.name}")
    print(f"  {'':22}{'largest':>12}{'difference':>12}{'tolerance':>12}")
    differences = training_differences(backend, reference, dataset, recipe, flags.seed)
    for found in differences:
        numbers = f"{found.largest:12.4f}{found.difference:12.1e}{found.tolerance:12.1e}"
        print(f"  {found.name:22}{numbers}  {'ok' if found.is_small else 'WRONG'}")
    return all(found.is_small for found in differences)


def check_gradients(backend: ann.Backend) -> bool:
    """Compare gradients with finite differences, for every layer, activation and loss."""
    print(f"\ngradients against central differences in float64, on {backend.name}")
    print(f"  {'':46}{'error':>12}{'tolerance':>12}")
    right, limit = True, 1e-6
    for name, error in gradient_errors(backend):
        right = right and error <= limit
        print(f"  {name:46}{error:12.1e}{limit:12.1e}  {'ok' if error <= limit else 'WRONG'}")
    return right


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_common(device=False)
    add_recipe_flags(parser)
    text = "auto: a working GPU, else strict, which refuses what a GPU would refuse"
    parser.add("--device", text, default="auto", choices=("auto", "cpu", "gpu", "strict"))
    parser.add("--steps N", "training steps", whole(1), 20)
    parser.add("--seed SEED", "random seed", whole(0), 0)
    parser.add("--gradients", "also check every layer, activation and loss by finite differences")
    return parser.parse_args()


if __name__ == "__main__":
    main()
