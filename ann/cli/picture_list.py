"""Finds pictures in folders, and takes the right labels from their names."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ann.data.picture_file import SUFFIXES
from ann.errors import DataFileError, printable_path


def find_pictures(paths: Iterable[Path], report: Callable[[DataFileError], object]) -> list[Path]:
    """The files, and the pictures in the folders and their subfolders, sorted by name.

    A file that is found twice, such as in ``photos photos/3``, counts once. In folders, hidden
    files, other kinds of files and links to folders are skipped.

    ``report`` is called with the error if a folder cannot be read or has no pictures.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for picture in _pictures_in(path, report) if path.is_dir() else [path]:
            found.setdefault(os.path.abspath(picture), picture)
    return list(found.values())


def _pictures_in(folder: Path, report: Callable[[DataFileError], object]) -> list[Path]:
    found, errors = list[Path](), list[OSError]()
    for parent, folders, files in os.walk(folder, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures = (name for name in files if name.lower().endswith(SUFFIXES))
        found += [Path(parent, name) for name in sorted(pictures) if not name.startswith(".")]
    for error in errors:
        name = printable_path(error.filename)
        report(DataFileError(f"{name}: cannot be read: {error.strerror}"))
    if not (found or errors):
        formats = "PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"
        report(DataFileError(f"{printable_path(folder)}: a folder without a picture in {formats}"))
    return found


def expected_labels(path: Path, names: Sequence[str]) -> list[str]:
    """The labels of the digits on a picture, from the name of its folder or its file.

    The folder may be named like a class: 7/anna.jpg. Otherwise the file's name begins with classes,
    and neither a letter nor a digit follows them: 105_anna.jpg.

    ``names`` are those of the classes. Raises DataFileError if neither name has labels.
    """
    folder = path.absolute().parent.name
    if folder in names:
        return [folder]
    label = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    found = re.match(rf"(?:{label})+(?![^\W_])", path.stem)
    if not found:
        fix = f"name it like {names[-1]}_anna{path.suffix}, or put it into a folder {names[-1]}"
        raise DataFileError(f"{printable_path(path)}: no label in its name: {fix}")
    return re.findall(label, found[0])
