"""The formats of data sets. A format is recognised by the contents of a file or folder."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from ann.data.contents import Contents, Progress
from ann.data.csv import is_csv, read_csv
from ann.data.emnist import is_emnist, read_emnist
from ann.data.idx import is_idx_folder, read_idx_folder
from ann.data.mnist_pickle import read_mnist_pickle
from ann.data.npz import read_npz
from ann.data.parquet import read_parquet
from ann.data.pictures import is_picture_folder, read_picture_folder
from ann.data.reading import errors_about, first_bytes, hint_about, pair_of
from ann.errors import printable_text

KNOWN = "IDX, npz, CSV, parquet, mnist.pkl.gz, or a folder of pictures for each class"
_Recognises = Callable[[Path, bytes], bool]


def _begins(*starts: bytes) -> _Recognises:
    """Recognises files that begin with one of these."""
    return lambda path, start: start.startswith(starts)


# For each format, a function that recognises it and one that reads it; the first match is used. A
# file is recognised by its path and its first bytes (those of its contents, if it is gzipped). For
# a folder, the bytes are b"".
FORMATS: tuple[tuple[_Recognises, Callable[[Path, Progress | None], Contents]], ...] = (
    (is_emnist, read_emnist),
    (is_idx_folder, read_idx_folder),
    (_begins(b"PK\x03\x04"), read_npz),
    (_begins(b"PAR1"), read_parquet),
    (_begins(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), read_mnist_pickle),
    (is_csv, read_csv),
    (is_picture_folder, read_picture_folder),
)
# Files with these suffixes are read if they are in the folder that is given
_SUFFIXES = (".npz", ".csv", ".csv.gz", ".parquet", ".pkl", ".pkl.gz", ".mat", ".h5", ".hdf5")


def read_any(path: Path, progress: Progress | None = None) -> Contents:
    """Read a file or folder in any of these formats.

    Raises:
        DataFileError: it is damaged, or its format is not known.
    """
    with errors_about(path):
        is_folder = path.is_dir()
        start = b"" if is_folder else first_bytes(path)
        if not (start or is_folder):
            raise ValueError("the file is empty")
        for recognises, read in FORMATS:
            if recognises(path, start):
                return read(path, progress)
        if is_folder:
            return read_any(_file_in(path), progress)
        hint = hint_about(start, path.name)
        raise ValueError(hint or f"not a data set in a known format ({KNOWN})")


def _file_in(folder: Path) -> Path:
    """The file with the training images in a folder or, if it has no data files, in its subfolders.

    Raises ValueError unless there is exactly one data set.
    """
    found = _training_files(folder)
    if not found:
        subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
        found = [file for path in subfolders for file in _training_files(path)]
    if not found:
        raise ValueError(f"a folder without a data set in a known format ({KNOWN})")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"several data sets; name one of {printable_text(names)}")
    return found[0]


def _training_files(folder: Path) -> list[Path]:
    """A file of each data set in a folder. Names with "train" have priority over others."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(_SUFFIXES))
    firsts = [name for name in names if not re.search(r"-0*[1-9]\d*-of-", name)]  # of several files
    found = list(dict.fromkeys(pair_of(folder / name)[0] for name in firsts))
    return [file for file in found if "train" in file.name.lower()] or found
