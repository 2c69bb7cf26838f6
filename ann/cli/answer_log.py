"""Shows the answers for many pictures: lines or JSON, a table, a figure, and the accuracy."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ann.analysis.figures import check_figure_path, save_figure
from ann.analysis.metrics import wilson_interval
from ann.analysis.test_result import describe_confusion
from ann.cli.answer import COLUMNS, Answer, figure_of_answers
from ann.cli.parser import check_not_read, check_output
from ann.errors import DataFileError
from ann.files.atomic import write_atomically
from ann.installation import localized

_MAX_PICTURED = 40  # answers in the figure


class AnswerLog:
    """Prints each answer and error at once, or with ``as_json`` one list of all answers at the end.

    The files ``table`` and ``figure``, if given, are written at the end, too.
    """

    def __init__(self, *, as_json: bool, table: Path | None, figure: Path | None) -> None:
        self._as_json = as_json
        self._table = table
        self._figure = figure
        self._objects: list[dict[str, Any]] = []
        self._rows: list[Sequence[object]] = [COLUMNS]
        self._pictured: list[Answer] = []
        # For each picture with known labels: these, the labels read, and whether they are sure
        self._scored: list[tuple[list[str], list[str], bool]] = []
        self._total = 0  # pictures to read
        self.failed = False

    def check_files(self, *inputs: Path) -> None:
        """Raise an error before the work begins if the files cannot be written after it."""
        if self._table:
            check_output(self._table, ".csv", *inputs)
        if self._figure:
            check_not_read(self._figure, *inputs)
            check_figure_path(self._figure)

    def progress(self, pictures: Sequence[Path]) -> Iterator[Path]:
        """The pictures one by one. If there are several, a terminal shows a progress bar."""
        self._total = len(pictures)
        quiet = len(pictures) < 2 or not sys.stderr.isatty()
        yield from tqdm(pictures, unit=" pictures", leave=False, dynamic_ncols=True, disable=quiet)

    def describe_progress(self) -> str:
        """How many pictures were read, for the message after Ctrl-C."""
        return f"{len(self._rows) - 1} of {self._total} pictures were read" if self._total else ""

    def add(self, answer: Answer, *, pictures: bool) -> None:
        """Print an answer and, with ``pictures``, the picture and the network's inputs."""
        self._rows.append(answer.row())
        if answer.expected:
            labels = [digit.label for digit in answer.reading.digits]
            self._scored.append((answer.expected, labels, not answer.reading.unsure))
        if self._as_json:
            self._objects.append(answer.fields())
        else:
            tqdm.write(answer.describe())
            if pictures:
                tqdm.write(answer.text_pictures())
        if self._figure:
            self._pictured.append(answer)
            if len(self._pictured) > _MAX_PICTURED:  # keep the least certain
                self._pictured.remove(max(self._pictured, key=lambda one: one.certainty))

    def fail(self, error: DataFileError, picture: Path | None = None) -> None:
        """Report a picture or a folder that cannot be read."""
        self.failed = True
        if picture:
            self._rows.append([picture, "", "", error, ""])
        tqdm.write(localized(f"error: {error}"), file=sys.stderr)

    def finish(self, names: Sequence[str]) -> None:
        """Print the JSON list or, if labels are known, the score, and write the files.

        names: the names of the classes.
        """
        if self._as_json:
            print(json.dumps(self._objects))
        elif self._scored:
            print(f"\n{self._score(names)}")
        if self._table:
            text = io.StringIO()
            csv.writer(text).writerows(self._rows)
            # Names of files may be invalid Unicode
            write_atomically(self._table, text.getvalue().encode(errors="surrogateescape"))
            self._report("table", self._table)
        if self._figure and self._pictured:
            save_figure(figure_of_answers(self._pictured), self._figure)
            self._report("picture", self._figure)

    def _score(self, names: Sequence[str]) -> str:
        """The accuracy, and the confusion matrix of pictures whose number of digits is right."""
        right = wrong = 0
        confusion = np.zeros((len(names), len(names)), dtype=np.int64)
        for expected, labels, sure in self._scored:
            right += sure and labels == expected
            wrong += sure and labels != expected
            if len(labels) == len(expected):
                for row, column in zip(expected, labels, strict=True):
                    confusion[names.index(row), names.index(column)] += 1
        total = len(self._scored)
        high, low = (100 - 100 * bound for bound in wilson_interval(total - right, total))
        accuracy = f"accuracy {100 * right / total:.2f} %"
        interval = f"(95 % interval {low:.2f} to {high:.2f} %)"
        counts = f"{right} of {total:,} pictures right, {wrong} wrong, {total - right - wrong}"
        matrix = describe_confusion(confusion, names)
        return f"{counts} not sure: {accuracy} {interval}\n\n{matrix}"

    def _report(self, what: str, path: Path) -> None:
        if not self._as_json:
            print(f"{what}: {path.resolve()}")
