"""Train by a recipe with several seeds, read the test images once for each, and say how good it is and how surely."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()


import ann
from ann.analysis.metrics import spread
from ann.cli.bootstrap import ROOT
from ann.cli.describe_model import wrong_of_members
from ann.cli.download_bar import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser
from ann.cli.results_log import data_of, matching, read_rows, results_of, write_rows
from ann.files.atomic import check_writable, write_atomically
from ann.training.named_recipes import RECIPES

EXAMPLES = """\
  python scripts/evaluate.py --recipe classroom --seeds 0-9
  # mistakes on held-out training images, to choose a recipe by; the test images are not read
  python scripts/evaluate.py --recipe classroom --seeds 0-2 --validation
  # keep the trained networks, and make committees of those that are there
  python scripts/evaluate.py --recipe quick --seeds 0-2 --keep networks"""

HELD_OUT = 10_000


def main() -> None:
    """Parse, train and test each seed, print."""
    flags = parse_flags()
    with one_line_errors(lambda: kept(flags.output)):
        named = RECIPES[flags.recipe].recipe
        recipe = dataclasses.replace(named, validation=HELD_OUT) if flags.validation else named
        backend = ann.get_backend(flags.device)
        dataset = load_dataset(flags.data)
        rows, data = read_rows(flags.output), data_of(dataset)
        found = []
        for seed in flags.seeds:
            on = "held-out" if flags.validation else "test"
            row = next((row for row in matching(rows, recipe, on, data) if row["seed"] == seed), None)
            if row is None:
                flags.output.parent.mkdir(parents=True, exist_ok=True)
                check_writable(flags.output)  # before training, which may take hours
                row = measure(flags, recipe, seed, backend, dataset)
                rows.append(row)
                write_rows(flags.output, rows)
                echo(f"seed {seed}: {row['wrong']} of {row['total']:,} wrong, {row['seconds']} s; in {flags.output}")
            else:
                if flags.keep:  # the test images are not read again
                    trained(flags, recipe, seed, backend, dataset)
                echo(f"seed {seed}: {row['wrong']} of {row['total']:,} wrong, measured on {row['date']}")
            found.append(row)
        report(flags, found)


def kept(output: Path) -> str:
    """What an interruption leaves, and how to continue."""
    done = f"finished seeds are in {output}" if output.exists() else "no seed is finished"
    return f"{done}; run the same command again to continue"


def measure(
    flags: argparse.Namespace, recipe: ann.Recipe, seed: int, backend: ann.Backend, dataset: ann.Dataset
) -> dict[str, Any]:
    """Train, and count the mistakes once."""
    network, seconds = trained(flags, recipe, seed, backend, dataset)
    images, labels = dataset.test_images, dataset.test_labels
    if flags.validation:
        images, labels = dataset.train_images[-HELD_OUT:], dataset.train_labels[-HELD_OUT:]
    wrong = int((network.predict(images) != labels).sum())
    members = {}
    if network.committee > 1:
        members = {"first_seed": network.seed, "members": wrong_of_members(network, images, labels)}
    return {
        "recipe": flags.recipe,
        "on": "held-out" if flags.validation else "test",
        "seed": seed,
        "wrong": wrong,
        "total": len(labels),
        **members,
        "data": data_of(dataset),
        "seconds": round(seconds, 1),
        "device": backend.name,
        "version": ann.__version__,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "fields": json.loads(recipe.to_json()),
    }


def trained(
    flags: argparse.Namespace, recipe: ann.Recipe, seed: int, backend: ann.Backend, dataset: ann.Dataset
) -> tuple[ann.NeuralNetwork, float]:
    """The network of a seed, from the folder where they are kept, or trained; and the seconds that its training took.

    Where networks are kept, the members of a committee are trained one after the other, so that an interruption costs
    one of them at most, and other committees find them.
    """
    size = recipe.committee
    if flags.keep and size > 1:
        alone = dataclasses.replace(recipe, committee=1)
        seeds = range(seed * size, (seed + 1) * size)
        members = [trained(flags, alone, number, backend, dataset) for number in seeds]
        return ann.committee_of([network for network, _ in members]), sum(seconds for _, seconds in members)
    stem = f"{made_by(recipe, dataset)}-{seed}"
    if flags.keep and (flags.keep / f"{stem}.json").exists():
        seconds = json.loads((flags.keep / f"{stem}.json").read_bytes())["seconds"]
        return ann.load_model(flags.keep / f"{stem}.pickle", backend), seconds
    if flags.keep:
        flags.keep.mkdir(parents=True, exist_ok=True)
        check_writable(flags.keep / f"{stem}.pickle")
    started = time.perf_counter()
    layers = recipe.layer_list(dataset.train_images[0].size, 10)
    first = seed * size  # no two committees share a member
    network = ann.NeuralNetwork(layers, recipe.loss, backend, first, committee=size)
    ann.fit(network, dataset, recipe)
    seconds = time.perf_counter() - started
    if flags.keep:
        network.save(flags.keep / f"{stem}.pickle")
        echo(f"kept {flags.keep / stem}.pickle")
        write_atomically(flags.keep / f"{stem}.json", json.dumps({"seconds": seconds}).encode())
    return network, seconds


def made_by(recipe: ann.Recipe, dataset: ann.Dataset) -> str:
    """A name for what a recipe makes of some data, the same only for the same fields and the same data."""
    return hashlib.sha256(f"{recipe.to_json()} {data_of(dataset)}".encode()).hexdigest()[:12]


def report(flags: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the mean, the deviation and the interval, and the table for the README."""
    wrong = [row["wrong"] for row in rows]
    mean = sum(wrong) / len(wrong)
    seconds = sorted(row["seconds"] for row in rows)[len(rows) // 2]
    text = f"{flags.recipe}: mean {mean:.1f} wrong of {rows[0]['total']:,} on {rows[0]['on']} images"
    if len(wrong) > 1:
        text = f"{flags.recipe}: wrong of {rows[0]['total']:,} on {rows[0]['on']} images: {spread(wrong)}"
    echo(f"{text}; {len(wrong)} seed{'s' * (len(wrong) > 1)}, {seconds} s each")
    echo("\n| seed | " + " | ".join(str(row["seed"]) for row in rows) + " | mean |")
    echo("| --- |" + " --- |" * (len(rows) + 1))
    echo("| wrong | " + " | ".join(map(str, wrong)) + f" | **{mean:.1f}** |")


def commit() -> str:
    """What the code is, if git knows, and whether it was changed since."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return run.stdout.strip()


def seeds(text: str) -> list[int]:
    """An argparse type: "0-9", or "0,3,5"."""
    try:
        if "-" in text:
            first, last = map(int, text.split("-"))
            found = list(range(first, last + 1))
        else:
            found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0 or len(found) > 1000:
        raise argparse.ArgumentTypeError(f"expected seeds such as 0-9 or 0,3,5, got {text!r}")
    return found


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Train by a recipe with several seeds, and say how good it is.", EXAMPLES)
    parser.add_common()
    parser.add_argument("--recipe", choices=tuple(RECIPES), required=True, help="by name; see train.py --list-recipes")
    parser.add_argument(
        "--seeds",
        type=seeds,
        default=list(range(10)),
        metavar="A-B",
        help="default: 0-9; of a committee of K, number S has seeds S K to S K + K - 1",
    )
    parser.add_argument(
        "--validation",
        action="store_true",
        help=f"hold the last {HELD_OUT:,} training images out and count the mistakes on them, not on the test images",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="save the trained networks there, and train none that is there; members of committees one by one",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the results (default: data/results/RECIPE.jsonl)")
    flags = parser.parse_args()
    flags.output = flags.output or results_of(flags.recipe)
    return flags


if __name__ == "__main__":
    main()
