"""The results of recipes that are written down, a JSON object a line, so that the test images are read once a seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ann
from ann.cli import bootstrap
from ann.files.atomic import read_regular, write_atomically
from ann.files.digest import digest
from ann.validation import check_count, check_number

_MAX_BYTES = 2**24
MNIST = "52cd6c10ae77"  # what ``data_of`` makes of it

_COUNTS = {"seed": 0, "wrong": 0, "total": 1}  # and the least that each can be
_FIELDS = {"recipe", "on", "seed", "wrong", "total", "data", "seconds", "date", "fields"}


def results_of(name: str) -> Path:
    """Where the results of a recipe are."""
    return bootstrap.ROOT / "data" / "results" / f"{name}.jsonl"


def data_of(dataset: ann.Dataset) -> str:
    """What is the same for no other data set."""
    return digest(*dataset.arrays().values())[:12]


def matching(rows: list[dict[str, Any]], recipe: ann.Recipe, on: str, data: str = MNIST) -> list[dict[str, Any]]:
    """The results of this very recipe on "test" or "held-out" images of these data; fields that a row does not know
    are defaults.
    """
    there = [row for row in rows if (row["on"], row["data"]) == (on, data)]
    return [row for row in there if ann.Recipe.from_json(json.dumps(row["fields"])) == recipe]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The results that are there: a JSON object a line."""
    try:
        lines = read_regular(path, _MAX_BYTES).decode().splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ann.AnnError(f"{path}: not a results file (it is not even text); name another file") from None
    return [_row(f"{path}: line {number}", line) for number, line in enumerate(lines, start=1)]


def _row(place: str, line: str) -> dict[str, Any]:
    """The result on a line. Raises AnnError if the line is not a valid result."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict) or not row.keys() >= _FIELDS:
            raise ValueError("a field is missing")
        counts = [check_count(name, row[name], at_least=least) for name, least in _COUNTS.items()]
        if counts[1] > counts[2]:
            raise ValueError(f"{counts[1]} wrong of {counts[2]}")
        check_number("seconds", row["seconds"], at_least=0)
        if not (isinstance(row["date"], str) and row["date"].isprintable()):
            raise ValueError("the date is not a date")
        ann.Recipe.from_json(json.dumps(row["fields"]))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ann.AnnError(f"{place}: not a valid result: {error}; repair or delete this line") from None
    return row


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """All results, in place of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
