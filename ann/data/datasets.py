"""Data sets: four IDX files -> host arrays, with checked labels, counts and shapes."""

import hashlib
import html
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ann.data.catalog import DIGITS, SOURCES
from ann.data.idx import read_idx
from ann.data.sheet import sheet
from ann.errors import DataFileError, printable_path
from ann.files.atomic import user_path
from ann.validation import check_labels, classes_of

CLASSES = 10
_SHOWN = 20  # images, in a notebook
# SHA-256 of the test labels
_FASHION_LABELS = "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9"
_CHECKOUT_DATA = Path(__file__).resolve().parents[2] / "data"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, read-only host arrays of uint8. A data set is equal only to itself.

    In your own data sets images may also be floats, labels may be target rows, and all of them may
    be lists; see ``fit``.

    Attributes:
        train_images: (N, height, width), 0 black to 255 white; MNIST has N = 60,000 of 28 x 28.
        train_labels: (N,), 0 to 9.
        test_images: (M, height, width); MNIST has M = 10,000.
        test_labels: (M,), 0 to 9.
        classes: the names of the ten labels.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...] = DIGITS

    def arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by name."""
        return {name: value for name, value in vars(self).items() if name != "classes"}

    def _repr_html_(self) -> str:
        """For notebooks: the first training images, if they are pictures, with their labels."""
        images = np.asarray(self.train_images[:_SHOWN])
        labels = classes_of(np.asarray(self.train_labels[:_SHOWN]))
        title = f"<p>{html.escape(repr(self).strip('<>'))}</p>"
        if images.ndim != 3 or labels is None:
            return title
        names = dict(enumerate(self.classes))
        return title + sheet(images, [names.get(label, str(label)) for label in labels.tolist()])

    def __repr__(self) -> str:
        train, test = len(self.train_images), len(self.test_images)
        return f"<Dataset of {train:,} training and {test:,} test images>"


def load_dataset(
    folder_or_name: str | os.PathLike[str] = "mnist",
    progress: Callable[[str, int, int], object] | None = None,
) -> Dataset:
    """Read and check a data set.

    Args:
        folder_or_name: a folder or a name. The folder holds the four files, gzipped or not, named
            like ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``, each directly in it or
            in a subfolder of that name. The names are "mnist", "fashion-mnist" and "kmnist"; write
            "./mnist" for a folder. A named data set is read from the ``data`` folder of this
            checkout or from the user's cache folder. If it is in neither, it is downloaded to the
            cache.
        progress: called during a download with the name of a file, the bytes received and its size.

    Raises:
        DataFileError: a file is missing, unreadable, damaged, does not fit the others or cannot be
            downloaded.
        ImportError: it is not in ``data``, and the extra ``data`` is not installed.
    """
    known = isinstance(folder_or_name, str) and folder_or_name in SOURCES
    name = str(folder_or_name) if known else None
    folder = _folder_of(name, progress) if name else user_path(folder_or_name)
    _check_folder(folder)
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "t10k")
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = f"{_size(train_images)} pixels, test images {_size(test_images)}"
        raise DataFileError(f"{printable_path(folder)}: training images are {sizes}")
    classes = SOURCES[name].classes if name else _classes_by_labels(test_labels)
    return Dataset(train_images, train_labels, test_images, test_labels, classes)


def _folder_of(name: str, progress: Callable[[str, int, int], object] | None) -> Path:
    """The folder with the files of a named data set, which are downloaded if necessary."""
    from ann.data.download import cache_folder, download  # slow to import, and rarely needed

    files = SOURCES[name].files
    folders = [_CHECKOUT_DATA / name, *([_CHECKOUT_DATA] if name == "mnist" else [])]
    for folder in folders:
        if all(os.path.isfile(folder / file) for file in files):
            return folder
    folder = cache_folder(name)
    if not all(os.path.isfile(folder / file) for file in files):
        download(name, folder, progress)
    return folder


def _check_folder(folder: Path) -> None:
    name = printable_path(folder)
    try:
        mode = os.stat(folder).st_mode
    except PermissionError as error:
        raise DataFileError(f"{name}: cannot be read: {error.strerror}") from None
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        raise DataFileError(
            f"{name}: no such data folder; name a folder with the four IDX files of MNIST (see "
            f"data/README.md), or one of {', '.join(SOURCES)}"
        ) from None
    if not stat.S_ISDIR(mode):
        raise DataFileError(f"{name}: this is a file; name the folder with the four IDX files")


def _read_part(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """The training ("train") or test ("t10k") images and labels, checked to fit each other."""
    images_path = _find(folder, f"{prefix}-images", 3)
    labels_path = _find(folder, f"{prefix}-labels", 1)
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    name = printable_path(labels_path)
    if len(images) != len(labels):
        counts = f"{len(labels)} labels for the {len(images)} images of {images_path.name}"
        raise DataFileError(f"{name}: {counts}")
    try:
        check_labels("labels", labels, CLASSES, len(images))
    except ValueError as error:
        raise DataFileError(f"{name}: {error}") from None
    return images, labels


def _classes_by_labels(test_labels: np.ndarray) -> tuple[str, ...]:
    """The class names of Fashion-MNIST if these are its test labels, otherwise digits."""
    known = hashlib.sha256(test_labels.tobytes()).hexdigest() == _FASHION_LABELS
    return SOURCES["fashion-mnist"].classes if known else DIGITS


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    """The path of one of the four files, in any spelling, directly in the folder first."""
    names = [f"{stem}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in (".gz", "")]
    # a widely used archive unpacks each file into a subfolder with the same name
    folders = (folder, *map(folder.joinpath, names))
    for path in (place / name for place in folders for name in names):
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise DataFileError(f"{printable_path(path)}: {reason}") from None
    for path in map(folder.joinpath, names):
        if path.is_symlink():
            reason = f"this is a link to {os.readlink(path)!r}, which does not exist"
            raise DataFileError(f"{printable_path(path)}: {reason}")
    similar: list[str] = []
    with suppress(OSError):  # the folder cannot be listed
        found = sorted(os.listdir(folder))
        similar = [name for name in found if stem in name.lower() and name not in names]
    hint = f"; if {printable_path(similar[0])} is that file, rename it" if similar else ""
    raise DataFileError(
        f"{printable_path(folder)}: not a folder of MNIST files: it has no {names[0]} and no "
        f"{', '.join(names[1:])}{hint}"
    )


def _size(images: np.ndarray) -> str:
    return " x ".join(str(length) for length in images.shape[1:])
