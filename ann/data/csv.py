"""CSV files with an image in each row: its label, then its pixels from left to right and from top
to bottom. There may be a header, and the file may be gzipped. Labels are in the last column if only
that one has a name like "label". Test images are in a second file, such as ``mnist_test.csv``.
"""

import math
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from ann.data.contents import Contents, Part
from ann.data.reading import errors_about, pair_of, unpacked
from ann.errors import printable_path, printable_text

_MAX_LINE = 2**18  # bytes
_LABELS = {"label", "labels", "class", "target", "digit", "y"}
_DELIMITERS = ",;\t"
_BOM = "\ufeff"  # the byte order mark, which some programs write first


def is_csv(path: Path, start: bytes) -> bool:
    """Whether a file is text other than HTML, with commas, semicolons or tabs in its first line."""
    first = start.partition(b"\n")[0]
    is_text = b"\0" not in first and not first.startswith(b"<")
    return is_text and any(delimiter.encode() in first for delimiter in _DELIMITERS)


def read_csv(path: Path, progress: object = None) -> Contents:
    """A table, and the one with the test images beside it."""
    train_path, test_path = pair_of(path)
    train = _read(train_path)
    if train is None:
        raise ValueError('no labels found: put them into the first column, and name it "label"')
    if test_path is None:
        return Contents(train)
    test = _read(test_path)
    return Contents(train, test, no_test=f"{printable_path(test_path.name)} has no labels")


def _read(path: Path) -> Part | None:
    """The images and labels of a table, or None if it has no labels."""
    with errors_about(path):
        lines = _lines(path)
        first = next(lines, "").removeprefix(_BOM)
        delimiter = next((delimiter for delimiter in _DELIMITERS if delimiter in first), ",")
        names = [name.strip("\"' \r\n").lower() for name in first.split(delimiter)]
        column = 0
        if _is_number(names[0]) and _is_number(names[-1]):
            values = _numbers(lines, delimiter, len(names), first)
        elif names[0] not in _LABELS and math.isqrt(len(names)) ** 2 == len(names):
            return None
        else:
            column = -1 if names[0] not in _LABELS and names[-1] in _LABELS else 0
            values = _numbers(lines, delimiter, len(names))
    images = values[:, :-1] if column else values[:, 1:]
    return Part(printable_path(path), images, values[:, column])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file. Raises ValueError if one is too long."""
    rest = b""
    for piece in unpacked(path):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise ValueError(f"a line of more than {_MAX_LINE:,} bytes")
        yield from (line.decode("utf-8", "replace") for line in lines)
    yield rest.decode("utf-8", "replace")


def _numbers(lines: Iterator[str], delimiter: str, columns: int, *first: str) -> np.ndarray:
    """The rows (N, columns), uint8. ``first`` is a line before ``lines``, unless it is a header.

    Raises ValueError for anything but whole numbers from 0 to 255.
    """
    number, is_empty = 0, True

    def checked() -> Iterator[str]:
        nonlocal number, is_empty
        for number, line in enumerate(chain(first, lines), start=2 - len(first)):
            if not line.strip():
                continue
            if line.count(delimiter) != columns - 1:
                found = f"{line.count(delimiter) + 1} columns, but line 1 has {columns}"
                raise ValueError(f"line {number}: {found}")
            is_empty = False
            yield line
        if is_empty:
            raise ValueError("a table without images")

    try:
        return np.loadtxt(checked(), np.uint8, comments=None, delimiter=delimiter, ndmin=2)
    except ValueError as error:
        found = re.search(r"string (.*) to uint8 .* column (\d+)", str(error), re.DOTALL)
        if not found:
            raise
        got = printable_text(found[1], 40)
        reason = f"expected a whole number from 0 to 255, got {got}"
        raise ValueError(f"line {number}, column {found[2]}: {reason}") from None
