"""Files in the IDX format of the MNIST database: two zero bytes, a type (8: unsigned bytes), the
number of dimensions, each dimension as a big-endian 32-bit number, and then the bytes. They may be
gzipped. A data set is a folder with four such files.
"""

import math
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np

from ann.data.catalog import SOURCES
from ann.data.contents import Contents, Part
from ann.data.reading import MAX_BYTES, errors_about, hint_about, unpacked
from ann.errors import DataFileError, printable_path

_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
# torchvision's folders -> the names of these data sets here
_TORCHVISION = {"MNIST": "mnist", "FashionMNIST": "fashion-mnist", "KMNIST": "kmnist"}


def is_idx_folder(path: Path, start: bytes) -> bool:
    """Whether a folder has IDX files, directly or in torchvision's layout."""
    return not start and bool(_idx_folders(path))


def _holds_idx(folder: Path) -> bool:
    names = (name.lower() for name in os.listdir(folder))
    plain = (name for name in names if not name.startswith("emnist"))
    return any(stem in name for name in plain for stem in _STEMS)


def read_idx_folder(folder: Path, progress: object = None) -> Contents:
    """The four files of a folder."""
    found = _idx_folders(folder)
    if len(found) > 1:
        names = ", ".join(printable_path(raw.parent) for raw in found)
        raise ValueError(f"several data sets; name one of {names}")
    known = _TORCHVISION.get(found[0].parent.name) if found[0].name == "raw" else None
    classes = SOURCES[known].classes if known else None
    train, test = (read_idx_part(found[0] / part) for part in ("train", "t10k"))
    return Contents(train, test, classes)


def _idx_folders(folder: Path) -> list[Path]:
    """The folder, if it has IDX files, or those in a folder that torchvision calls ``root``."""
    if _holds_idx(folder):
        return [folder]
    raw = [folder / place / "raw" for place in ("", *_TORCHVISION)]
    return [one for one in raw if one.is_dir() and _holds_idx(one)]


def read_idx_part(stem: Path) -> Part:
    """The images and labels in the two files whose paths begin with ``stem``: data/train."""
    images_path = _find(stem.parent, f"{stem.name}-images", 3)
    labels_path = _find(stem.parent, f"{stem.name}-labels", 1)
    return Part(printable_path(labels_path), read_idx(images_path, 3), read_idx(labels_path, 1))


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    """The path of one of the four files, in any spelling; the folder itself comes first."""
    names = [f"{stem}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in (".gz", "")]
    # a widely used archive unpacks each file into a subfolder with the same name
    folders = (folder, *map(folder.joinpath, names))
    for path in (place / name for place in folders for name in names):
        with errors_about(path), suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(os.stat(path).st_mode):
                return path
    for path in map(folder.joinpath, names):
        if path.is_symlink():
            reason = f"this is a link to {os.readlink(path)!r}, which does not exist"
            raise DataFileError(f"{printable_path(path)}: {reason}")
    others = sorted(set(os.listdir(folder)).difference(names))
    similar = [name for name in others if stem in name.lower()]
    hint = f"; if {printable_path(similar[0])} is that file, rename it" if similar else ""
    raise DataFileError(
        f"{printable_path(folder)}: not a folder of MNIST files: it has no {names[0]} and no "
        f"{', '.join(names[1:])}{hint}"
    )


def read_idx(path: str | os.PathLike[str], dimensions: int) -> np.ndarray:
    """The unsigned bytes in an IDX file, gzipped or not: a read-only array with this many axes.

    Raises:
        DataFileError: it is unreadable, or its header, length or checksum is wrong.
    """
    length, data = 4 + 4 * dimensions, bytearray()
    with errors_about(path):
        for piece in unpacked(path):
            data += piece
            if len(data) >= length and len(data) > length + math.prod(_shape(data, dimensions)):
                raise ValueError("extra bytes after the data that its header announces")
        shape = _shape(data, dimensions)
        found, expected = len(data) - length, math.prod(shape)
        if found < expected:
            reason = f"{found} bytes of data, expected {expected} for dimensions {shape}"
            raise ValueError(f"truncated: {reason}")
    body = np.frombuffer(memoryview(data).toreadonly(), np.uint8, offset=length)
    return body.reshape(shape)


def _shape(data: bytearray, dimensions: int) -> list[int]:
    """The shape in the header of an IDX file. Raises ValueError if the header is wrong."""
    length = 4 + 4 * dimensions
    if not data:
        raise ValueError(f"the file is empty, expected an IDX header of {length} bytes")
    if len(data) < length:
        raise ValueError(f"truncated: {len(data)} bytes, expected an IDX header of {length}")
    zeros, kind, found, *shape = struct.unpack_from(f">HBB{dimensions}I", data)
    if zeros != 0:
        hint = hint_about(bytes(data[:length]))
        hint = hint and f"; {hint}"
        begins = f"it begins with {data[:2].hex(' ')}, expected 00 00"
        raise ValueError(f"not an IDX file: {begins}{hint}")
    if kind != 8:
        raise ValueError(f"IDX type 0x{kind:02x}, expected 0x08, unsigned bytes")
    if found != dimensions:
        hint = "; images and labels are mixed up" if found in (1, 3) else ""
        raise ValueError(f"{found} dimensions, expected {dimensions}{hint}")
    size = math.prod(shape)
    if not 0 < size <= MAX_BYTES:  # before anything of that size is unpacked
        raise ValueError(f"dimensions {shape} are {size} bytes, expected 1 to {MAX_BYTES}")
    return shape
