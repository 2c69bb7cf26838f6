"""Files with the results of recipes, a JSON object per line.

With them, the test images are used only once for each recipe and seed.
"""

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from ann._version import __version__
from ann.analysis.metrics import summarize
from ann.backends.base import Backend
from ann.data.datasets import Dataset
from ann.errors import AnnError
from ann.files.atomic import Lock, read_regular, write_atomically
from ann.files.digest import digest
from ann.installation import INSTALLED, ROOT
from ann.training.recipe import Recipe
from ann.validation import check_count, check_number

_MAX_BYTES = 2**24
_MNIST = "52cd6c10ae77"  # its ``data_of``

_FIELDS = {"recipe", "on", "seed", "wrong", "total", "data", "seconds", "date", "fields"}


def results_of(name: str) -> Path:
    """The file with the results of a named recipe."""
    return ROOT / "data" / "results" / f"{name}.jsonl"


def output_of(name: str) -> Path:
    """The file to which results of a named recipe are added; never one of an installed package."""
    return Path(f"{name}.jsonl") if INSTALLED else results_of(name)


def data_of(dataset: Dataset) -> str:
    """A short digest of a data set."""
    return digest(*dataset.arrays().values())[:12]


def new_row(
    name: str, recipe: Recipe, backend: Backend, dataset: Dataset, seconds: float
) -> dict[str, Any]:
    """The fields of a result that describe the training: a recipe's name, the recipe, and so on."""
    return {
        "recipe": name,
        "data": data_of(dataset),
        "seconds": round(seconds, 1),
        "device": backend.name,
        "version": __version__,
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
        "fields": json.loads(recipe.to_json()),
    }


def _commit() -> str:
    """The git commit of this checkout, with "-dirty" after changes, or "unknown"."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 10}
    try:
        return str(subprocess.run(command, check=True, **options).stdout).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def matching(
    rows: list[dict[str, Any]], recipe: Recipe, on: str, data: str = _MNIST
) -> list[dict[str, Any]]:
    """The results of exactly this recipe; fields that a row does not have are defaults.

    ``on``: the images on which errors were counted: "test" or "held-out" (validation images).
    ``data``: the digest of the data set.
    """
    found = [row for row in rows if (row["on"], row["data"]) == (on, data)]
    return [row for row in found if Recipe.from_json(json.dumps(row["fields"])) == recipe]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All results in a file, or none if there is no file."""
    try:
        lines = read_regular(path, _MAX_BYTES).decode().splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        reason = "not a results file (it is not even text); name another file"
        raise AnnError(f"{path}: {reason}") from None
    return [_row(f"{path}: line {number}", line) for number, line in enumerate(lines, start=1)]


def _row(place: str, line: str) -> dict[str, Any]:
    """The result on a line. Raises AnnError if the line is not a valid result."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict) or not row.keys() >= _FIELDS:
            raise ValueError("a field is missing")
        for name, least in (("seed", 0), ("wrong", 0), ("total", 1)):
            check_count(name, row[name], at_least=least)
        if row["wrong"] > row["total"]:
            raise ValueError(f"{row['wrong']} wrong of {row['total']}")
        check_number("seconds", row["seconds"], at_least=0)
        if not (isinstance(row["date"], str) and row["date"].isprintable()):
            raise ValueError("the date is not a date")
        Recipe.from_json(json.dumps(row["fields"]))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        advice = "repair or delete this line"
        raise AnnError(f"{place}: not a valid result: {error}; {advice}") from None
    return row


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Add a result to a file, to which another process may add results at the same time."""
    with Lock(path.parent, wait=True):
        rows = [*read_rows(path), row]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def describe_results(name: str, rows: list[dict[str, Any]]) -> str:
    """The mean of a recipe's results, its interval, and the table for data/results/README.md."""
    wrong = [row["wrong"] for row in rows]
    mean = sum(wrong) / len(wrong)
    seconds = sorted(row["seconds"] for row in rows)[len(rows) // 2]
    images = f"{rows[0]['total']:,} {'test' if rows[0]['on'] == 'test' else 'validation'} images"
    text = str(summarize(wrong)) if len(wrong) > 1 else f"mean {mean:.1f}"
    count = f"{len(wrong)} seed{'s' * (len(wrong) > 1)}"
    lines = [
        f"{name}: wrong of {images}: {text}; {count}, {seconds} s each",
        "",
        "| seed | " + " | ".join(str(row["seed"]) for row in rows) + " | mean |",
        "| --- |" + " --- |" * (len(rows) + 1),
        "| wrong | " + " | ".join(map(str, wrong)) + f" | **{mean:.1f}** |",
    ]
    return "\n".join(lines)
