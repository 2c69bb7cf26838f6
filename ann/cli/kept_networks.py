"""Networks trained by a recipe, which are kept in a folder and not trained again."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path

from ann.backends.base import Backend
from ann.cli.results_log import data_of
from ann.committee import committee_of
from ann.data.datasets import Dataset
from ann.errors import AnnError, printable_path
from ann.files.atomic import check_writable, write_atomically
from ann.neural_network import NeuralNetwork, load_model
from ann.training.fit import fit
from ann.training.recipe import Recipe


def train_or_load(
    recipe: Recipe, dataset: Dataset, backend: Backend, seed: int, folder: Path | None
) -> tuple[NeuralNetwork, float]:
    """A trained network, and the seconds that its training took.

    A committee of K networks has the seeds K seed to K seed + K - 1, so that two committees share
    no member. With a folder, in which networks are kept, the members of a committee are trained one
    after the other, so an interruption costs at most one of them.
    """
    size = recipe.committee
    if folder and size > 1:
        alone = dataclasses.replace(recipe, committee=1)
        seeds = range(seed * size, (seed + 1) * size)
        members = [train_or_load(alone, dataset, backend, each, folder) for each in seeds]
        committee = committee_of([network for network, _ in members])
        return committee, sum(seconds for _, seconds in members)
    if folder:
        stem = folder / f"{_name(recipe, dataset)}-{seed}"
        model, about = stem.with_suffix(".pickle"), stem.with_suffix(".json")
        if about.exists():
            return load_model(model, backend), _read_seconds(about)
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(model)
    started = time.perf_counter()
    network = recipe.network(dataset, backend, seed * size)
    fit(network, dataset, recipe)
    seconds = time.perf_counter() - started
    if folder:
        network.save(model)
        print(f"kept {model}")
        write_atomically(about, json.dumps({"seconds": seconds}).encode())
    return network, seconds


def _read_seconds(path: Path) -> float:
    """How long a kept network was trained. Raises AnnError if the file is damaged."""
    try:
        return float(json.loads(path.read_bytes())["seconds"])
    except (ValueError, KeyError, TypeError):
        advice = "delete it, and the network will be trained again"
        raise AnnError(f"{printable_path(path)}: this file is damaged; {advice}") from None


def _name(recipe: Recipe, dataset: Dataset) -> str:
    """A file name for this recipe and these data, and for no others."""
    text = f"{recipe.to_json()} {data_of(dataset)}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
