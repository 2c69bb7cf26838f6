"""Parquet files as dataset hubs distribute them: each row has the bytes of a picture file, and a
label. The training images may be in several files, such as ``train-00000-of-00002.parquet``. Needs
pyarrow: the extra ``parquet``.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ann.data.contents import Contents, Part, Progress
from ann.data.picture_file import decode_picture
from ann.data.pictures import stack_pictures
from ann.data.reading import MAX_BYTES, errors_about
from ann.errors import DataFileError, printable_path, printable_text, require
from ann.files.atomic import read_regular

_IMAGES, _LABELS = ("image", "img"), ("label", "labels", "class")
_NAME = re.compile(r"(.*)(train|test)(-\d+-of-\d+)?\.parquet", re.DOTALL)
_ROWS = 1000  # read at a time


def read_parquet(path: Path, progress: Progress | None = None) -> Contents:
    """Read all files of the data set that a file belongs to."""
    trains, tests = _files_of(path)
    train, classes = _read(trains, progress)
    test, _ = _read(tests, progress) if tests else (None, None)
    return Contents(train, test, classes)


def _files_of(path: Path) -> tuple[list[Path], list[Path]]:
    """The files with training images, and those with test images, according to their names."""
    named = _NAME.fullmatch(path.name)
    if named is None:
        return [path], []
    files = [(_NAME.fullmatch(other.name), other) for other in sorted(path.parent.iterdir())]
    same = [(match[2], other) for match, other in files if match and match[1] == named[1]]
    trains, tests = ([other for part, other in same if part == of] for of in ("train", "test"))
    return (trains, tests) if trains else ([path], [])


def _read(paths: list[Path], progress: Progress | None) -> tuple[Part, tuple[str, ...] | None]:
    """The images and labels of all files, and the class names in the first one, or None."""
    files, labels = {path: _open(path) for path in paths}, list[Any]()
    rows = (row for path, file in files.items() for row in _rows(path, file, labels))
    name, count = printable_path(paths[0]), sum(file.metadata.num_rows for file in files.values())
    images = stack_pictures(name, count, rows, progress)
    with errors_about(name):
        if not all(isinstance(label, int) for label in labels):
            raise ValueError("a row without a label, or with one that is not a whole number")
        return Part(name, images, np.array(labels)), _class_names(files[paths[0]].schema_arrow)


@contextmanager
def _errors_about(path: Path) -> Iterator[None]:
    """``errors_about`` for pyarrow, which may raise anything."""
    with errors_about(path):
        try:
            yield
        except (DataFileError, ImportError):
            raise
        except Exception as error:
            raise ValueError(f"not a readable parquet file: {printable_text(error, 200)}") from None


def _open(path: Path) -> Any:
    """An open parquet file of pyarrow."""
    arrow, parquet = (
        require(module, "parquet", "parquet files need pyarrow")
        for module in ("pyarrow", "pyarrow.parquet")
    )
    with errors_about(path):
        data = read_regular(path, MAX_BYTES)
    with _errors_about(path):
        return parquet.ParquetFile(arrow.BufferReader(data))


def _rows(path: Path, file: Any, labels: list[Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Each picture with a name for messages; its label is appended to ``labels``."""
    number, known = 0, file.schema_arrow.names
    with _errors_about(path):
        columns = [
            next((name for name in names if name in known), "") for names in (_IMAGES, _LABELS)
        ]
        if "" in columns:
            raise ValueError(f"its columns are {', '.join(known)}; expected image and label")
        for batch in file.iter_batches(_ROWS, columns=columns):
            images, found = map(batch.column, columns)
            labels += found.to_pylist()
            for value in images.to_pylist():
                data = value.get("bytes") if isinstance(value, dict) else value
                name = f"{printable_path(path)}: row {number}"
                if not isinstance(data, bytes):
                    raise DataFileError(f"{name}: no picture")
                yield name, decode_picture(data, name)[0]
                number += 1


def _class_names(schema: Any) -> tuple[str, ...] | None:
    """The names of the classes, if a dataset hub has stored them in the file."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        names = next(features[name]["names"] for name in _LABELS if name in features)
        return tuple(printable_text(name) for name in names) or None
    except (TypeError, KeyError, ValueError, StopIteration, RecursionError):
        return None
