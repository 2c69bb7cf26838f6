"""Train a recipe with several seeds, test each network once, and report the mean and its error.

Examples:
  python scripts/evaluate.py --recipe classroom --seeds 0-9
  # errors on validation images, to choose a recipe; the test images are not used
  python scripts/evaluate.py --recipe classroom --seeds 0-2 --validation
  # keep the trained networks, and make committees of those in the folder
  python scripts/evaluate.py --recipe quick --seeds 0-2 --keep networks
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.cli import results_log
from ann.cli.data_set import load_dataset
from ann.cli.descriptions import errors_of_members
from ann.cli.errors import one_line_errors
from ann.cli.kept_networks import train_or_load
from ann.cli.parser import Parser, seed_list
from ann.files.atomic import check_writable
from ann.training.named_recipes import RECIPES

VALIDATION = 10_000


def main() -> None:
    """Train and test a network for each seed whose result is not known yet."""
    flags = parse_flags()
    kept = f"finished seeds are in {flags.output}; run this again to continue"
    with one_line_errors(lambda: kept, names=["validation"]):
        recipe = RECIPES[flags.recipe].recipe
        if flags.validation:
            recipe = dataclasses.replace(recipe, validation=VALIDATION)
        backend = ann.get_backend(flags.device)
        dataset = load_dataset(flags.data)
        rows, data = results_log.read_rows(flags.output), results_log.data_of(dataset)
        known = results_log.matching(rows, recipe, "held-out" if flags.validation else "test", data)
        results = {row["seed"]: row for row in reversed(known)}
        for seed in flags.seeds:
            if row := results.get(seed):
                if flags.keep:  # the test images are not used again
                    train_or_load(recipe, dataset, backend, seed, flags.keep)
                source = f"measured on {row['date']}"
            else:
                flags.output.parent.mkdir(parents=True, exist_ok=True)
                check_writable(flags.output)  # before training, which may take hours
                row = results[seed] = measure(flags, recipe, seed, backend, dataset)
                results_log.add_row(flags.output, row)
                source = f"{row['seconds']} s; in {flags.output}"
            print(f"seed {seed}: {row['wrong']} of {row['total']:,} wrong, {source}")
        print(results_log.describe_results(flags.recipe, [results[seed] for seed in flags.seeds]))


def measure(
    flags: argparse.Namespace,
    recipe: ann.Recipe,
    seed: int,
    backend: ann.Backend,
    dataset: ann.Dataset,
) -> dict[str, Any]:
    """Train a network and count its errors."""
    network, seconds = train_or_load(recipe, dataset, backend, seed, flags.keep)
    images, labels = dataset.test_images, dataset.test_labels
    if flags.validation:
        images, labels = dataset.train_images[-VALIDATION:], dataset.train_labels[-VALIDATION:]
    errors = network.evaluate(images, labels).errors
    counts: dict[str, Any] = {"wrong": errors, "total": len(labels)}
    if network.committee > 1:
        members = errors_of_members(network, images, labels)
        counts |= {"first_seed": network.seed, "members": members}
    about = results_log.new_row(flags.recipe, recipe, backend, dataset, seconds)
    return {"on": "held-out" if flags.validation else "test", "seed": seed, **counts, **about}


@one_line_errors()
def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_common()
    text = "a named recipe; python scripts/train.py --list-recipes describes them"
    parser.add("--recipe", text, choices=tuple(RECIPES), required=True)
    text = "seeds, such as 0-9 (the default) or 0,3,5; the members of a committee of K with the "
    text += "seed S have the seeds S*K to S*K+K-1"
    parser.add_argument("--seeds", type=seed_list, default=range(10), metavar="A-B", help=text)
    text = f"train without the last {VALIDATION:,} training images, and count errors on them"
    parser.add("--validation", text)
    text = "save trained networks there (of committees, each member), and reuse those already there"
    parser.add("--keep FOLDER", text, Path)
    parser.add("--output FILE", f"the results (default: {results_log.output_of('RECIPE')})", Path)
    flags = parser.parse_args()
    flags.output = flags.output or results_log.output_of(flags.recipe)
    return flags


if __name__ == "__main__":
    main()
