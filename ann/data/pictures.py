"""Folders of pictures, one for each class, such as ``train/3/0001.png`` and ``test/3/0001.png``.
The innermost folders have the names of the classes. Needs Pillow: the extra ``picture``.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ann.data.contents import MAX_CLASSES, Contents, Part, Progress, size_text
from ann.data.picture_file import FORMATS, SUFFIXES, read_picture
from ann.data.reading import MAX_BYTES
from ann.errors import DataFileError, printable_path

_TRAIN, _TEST = ("train", "training"), ("test", "testing")
_REPORT_EVERY = 500  # pictures


def is_picture_folder(path: Path, start: bytes) -> bool:
    """Whether a folder has subfolders, and the first of them has pictures."""
    if start or not path.is_dir():
        return False
    folders = _folders(_part_folder(path, _TRAIN) or path)
    return bool(folders) and any(name.lower().endswith(SUFFIXES) for name in os.listdir(folders[0]))


def read_picture_folder(root: Path, progress: Progress | None = None) -> Contents:
    """All pictures, ordered by class and then by name."""
    train, test = _part_folder(root, _TRAIN) or root, _part_folder(root, _TEST)
    classes = tuple(folder.name for folder in _folders(train))
    if len(classes) > MAX_CLASSES:
        raise ValueError(f"{len(classes)} folders of pictures; the limit is {MAX_CLASSES} classes")
    return Contents(
        _read(root, train, classes, progress),
        _read(root, test, classes, progress) if test else None,
        tuple(map(printable_path, classes)),
    )


def _part_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """The subfolder for the training or the test images."""
    return next((one for one in _folders(root) if one.name.lower() in names), None)


def _folders(folder: Path) -> list[Path]:
    """The subfolders, except hidden ones. Numbers come first, in their order, then other names."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and entry.name[0] not in "._"]
    return [folder / name for name in sorted(names, key=_order)]


def _order(name: str) -> tuple[bool, int, str]:
    is_number = name.isascii() and name.isdigit()
    return not is_number, int(name) if is_number else 0, name


def _read(root: Path, part: Path, classes: tuple[str, ...], progress: Progress | None) -> Part:
    """The training or the test images: the pictures in all class folders of a folder."""
    paths, labels = list[str](), list[int]()
    for folder in _folders(part):
        if folder.name not in classes:
            raise DataFileError(f"{printable_path(folder)}: no training images of this class")
        found = _pictures(root, folder)
        paths += found
        labels += [classes.index(folder.name)] * len(found)
    name = printable_path(part)
    pictures = ((printable_path(path), read_picture(path)) for path in paths)
    return Part(name, stack_pictures(name, len(paths), pictures, progress), np.array(labels))


def _pictures(root: Path, folder: Path) -> list[str]:
    """The paths of the pictures in a folder. Raises DataFileError for links that leave the root."""
    with os.scandir(folder) as entries:
        pictures = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    inside = os.path.join(os.path.realpath(root), "")
    for path in (str(folder), *(entry.path for entry in pictures if entry.is_symlink())):
        if not os.path.realpath(path).startswith(inside):
            link = f"a link that leads out of {printable_path(root)}; copy its target there instead"
            raise DataFileError(f"{printable_path(path)}: {link}")
    found = sorted(entry.path for entry in pictures)
    if not found:
        raise DataFileError(f"{printable_path(folder)}: no picture ({', '.join(FORMATS)})")
    return found


def stack_pictures(
    name: str, count: int, pictures: Iterable[tuple[str, np.ndarray]], progress: Progress | None
) -> np.ndarray:
    """Put ``count`` pictures into one array (count, h, w), uint8.

    ``pictures`` are (name, values (h, w), uint8). Their names and the ``name`` of the data set are
    for messages.

    Raises:
        DataFileError: there are no pictures, too many, or not all have the same size.
    """
    if not count:
        raise DataFileError(f"{name}: no images")
    images = np.empty((0, 0, 0), dtype=np.uint8)
    for index, (own, picture) in enumerate(pictures):
        if index == count:
            raise DataFileError(f"{name}: more than the {count:,} images that it announces")
        if not index:
            if count * picture.size > MAX_BYTES:
                size = f"{count:,} pictures of {size_text(picture)} pixels"
                raise DataFileError(f"{name}: {size}; the limit is {MAX_BYTES:,} pixels in all")
            images = np.empty((count, *picture.shape), dtype=np.uint8)
        if picture.shape != images.shape[1:]:
            sizes = f"{size_text(picture)} pixels, but the first has {size_text(images)}"
            raise DataFileError(f"{own}: a picture of {sizes}; all must have the same size")
        images[index] = picture
        if progress and (index % _REPORT_EVERY == 0 or index == count - 1):
            progress(name, index + 1, count, " pictures")
    return images
