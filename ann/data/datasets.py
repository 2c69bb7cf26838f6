"""Data sets: reads files in any known format into host arrays, and checks them."""

import html
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ann.data.catalog import DIGITS, SOURCES
from ann.data.contents import Progress, check_contents
from ann.data.formats import KNOWN, read_any
from ann.data.reading import errors_about
from ann.data.sheet import sheet
from ann.errors import printable, printable_path
from ann.files.atomic import user_path
from ann.spelling import did_you_mean
from ann.validation import are_one_hot, host_array

_MAX_CLASSES = 2**16  # that get a name; a network cannot have 10^9 outputs anyway
_SHOWN = 20  # images in a notebook
CHECKOUT_DATA = Path(__file__).resolve().parents[2] / "data"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels. ``load_dataset`` gives read-only host arrays of uint8.

    In data sets that you create, images may also be floats, and labels may be target rows; see
    ``fit``. All four may be lists, DataFrames, or arrays of any library that are not on a GPU, and
    become NumPy arrays. A data set is equal only to itself.

    Attributes:
        train_images: (N, height, width), 0 black to 255 white; MNIST has N = 60,000 of 28 x 28.
        train_labels: (N,), from 0.
        test_images: (M, height, width); MNIST has M = 10,000.
        test_labels: (M,), from 0.
        classes: the names of the classes; by default the numbers from 0 to the largest label.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.arrays().items():
            if value is not None:
                array = host_array(name, value)
                if not array.ndim:
                    raise ValueError(f"{name}: expected an array, got the single value {array}")
                object.__setattr__(self, name, array)
        if isinstance(self.classes, str) or not isinstance(self.classes, Iterable):
            raise ValueError(f"classes: expected a list of names, got {printable(self.classes)}")
        names = tuple(map(str, self.classes))
        if not names:
            counts = map(_count_classes, (self.train_labels, self.test_labels))
            names = tuple(map(str, range(max(counts)))) or DIGITS
        object.__setattr__(self, "classes", names)

    def arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by name."""
        return {name: value for name, value in vars(self).items() if name != "classes"}

    def _repr_html_(self) -> str:
        """For notebooks: the first training images with their labels, if they are pictures."""
        images, labels = self.train_images[:_SHOWN], self.train_labels[:_SHOWN]
        if labels.ndim == 2 and are_one_hot(labels):
            labels = labels.argmax(axis=1)
        title = f"<p>{html.escape(repr(self).strip('<>'))}</p>"
        if images.ndim != 3 or labels.shape != (len(images),):
            return title
        names = dict(enumerate(self.classes))
        return title + sheet(images, [names.get(label, str(label)) for label in labels.tolist()])

    def __repr__(self) -> str:
        train, test = (
            0 if images is None else len(images) for images in (self.train_images, self.test_images)
        )
        return f"<Dataset of {train:,} training and {test:,} test images>"


def _count_classes(labels: np.ndarray | None) -> int:
    """The number of classes of labels or target rows; 0 for other values, which ``fit`` rejects."""
    if labels is not None and labels.ndim == 2:
        return int(labels.shape[1])
    if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu" and labels.size:
        return min(1 + int(labels.max()), _MAX_CLASSES)
    return 0


def load_dataset(
    source: str | os.PathLike[str] = "mnist", progress: Progress | None = None
) -> Dataset:
    """Read and check a data set.

    Args:
        source: a file or folder, or a name. The formats are IDX (MNIST's four files, or EMNIST's),
            npz, CSV, parquet, Nielsen's mnist.pkl.gz, and a folder of pictures for each class; they
            are recognised by their contents. The names are "mnist", "fashion-mnist" and "kmnist";
            write "./mnist" for a file or folder of that name. A named data set is read from the
            ``data`` folder of a checkout or from ``~/.cache/ann``. If it is in neither, it is
            downloaded to the cache.
        progress: called during downloads and slow reading, with the name of a file, the amount
            done, the total, and the unit, such as "B" for bytes.

    If there are only training images, every seventh becomes a test image, with a
    ``RuntimeWarning``.

    Raises:
        DataFileError: a file is missing, unreadable or damaged, does not fit the others, or cannot
            be downloaded.
        ImportError: an extra that is needed is not installed: ``picture`` for pictures, ``parquet``
            for parquet files.
    """
    name = source if isinstance(source, str) and source in SOURCES else None
    path = _folder_of(name, progress) if name else user_path(source)
    _check_exists(path)
    contents = read_any(path, progress)
    if name:
        contents = contents._replace(classes=SOURCES[name].classes)
    return Dataset(*check_contents(printable_path(path), contents))


def _folder_of(name: str, progress: Progress | None) -> Path:
    """The folder with the files of a named data set, which are downloaded if necessary."""
    mnist = [CHECKOUT_DATA] if name == "mnist" else []
    cache = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ann" / name
    for folder in (CHECKOUT_DATA / name, *mnist, cache):
        if all(os.path.isfile(folder / file) for file in SOURCES[name].files):
            return folder
    from ann.data.download import download  # slow to import, and rarely needed

    download(name, cache, progress)
    return cache


def _check_exists(path: Path) -> None:
    with errors_about(path):
        try:
            os.stat(path)
        except PermissionError:
            raise
        except (OSError, ValueError):  # ValueError: a NUL byte in the path
            raise ValueError(
                f"no such data file or folder; name one ({KNOWN}), or one of {', '.join(SOURCES)}"
                f"{did_you_mean(str(path), SOURCES)}"
            ) from None
