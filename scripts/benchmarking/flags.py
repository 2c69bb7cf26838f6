"""The flags of scripts/benchmark.py."""

import argparse
from pathlib import Path

from ann.cli.parser import DATA, Parser, whole
from ann.cli.recipe_flags import add_named_recipes, add_recipe_flags, given_fields, named_recipe
from benchmarking.distributed import MEASURED
from benchmarking.tasks import TASKS

REPETITIONS = 7
NAMES = (*(task.name for task in TASKS), "predict", "distort", "start-up")


def parse_flags(docstring: str | None) -> argparse.Namespace:
    """Parse the command line. ``flags.recipe`` becomes the recipe that it describes."""
    parser = Parser(docstring)
    parser.add_import()
    parser.add_common(device=False)
    text = "default: cpu; for --profile the CPU and, if there is one, the GPU"
    parser.add("--device", text, choices=("cpu", "gpu"))
    text = f"measured epochs of each contender (default: {REPETITIONS}, and 1 with --quick)"
    parser.add("--repetitions N", text, whole(1))
    parser.add("--only TASK", f"one of: {', '.join(map(repr, NAMES))}", choices=NAMES)
    parser.add("--quick", "a few steps, to see that it runs")
    parser.add("--output FILE", "write all figures as JSON", Path)
    group = parser.add_mutually_exclusive_group()
    text = "one and two processes, beside PyTorch's DistributedDataParallel (extras bench and mpi)"
    parser.add("--distributed", text, group=group)
    text = "how long each part of a training step of the recipe takes"
    parser.add("--profile", text, group=group)
    text = "draw how the time of a step of the recipe grows with batch size, width and depth"
    parser.add("--roofline FILE", text, Path, group=group)
    add_named_recipes(parser)
    add_recipe_flags(parser)
    flags = parser.parse_args()
    if flags.distributed and (flags.device == "gpu" or flags.only not in (None, *MEASURED)):
        parser.error(f"--distributed measures on the CPU, and --only {' or '.join(MEASURED)}")
    if flags.distributed and flags.data != DATA:
        parser.error("--data: not allowed with --distributed, which trains on MNIST")
    measures_recipe = flags.profile or flags.roofline
    for name in ("only", "repetitions"):
        if measures_recipe and getattr(flags, name):
            reason = "which measure a recipe for a fixed time"
            parser.error(f"--{name}: not allowed with --profile or --roofline, {reason}")
    given = given_fields(flags)
    if not measures_recipe and (given or flags.recipe):
        name = next(iter(given), "recipe").replace("_", "-")
        parser.error(f"--{name} needs --profile or --roofline: the tasks have fixed recipes")
    flags.recipe = named_recipe(flags).changed(**given)
    return flags
