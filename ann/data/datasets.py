"""Data sets: four files in the IDX format -> checked host arrays. Everything is verified here, once, so that the
rest of the package can trust the labels, the counts and the shapes.

IDX, as the MNIST database defined it: two zero bytes, a type (8: unsigned bytes), the number of dimensions, each
dimension as a big-endian 32-bit number, then the bytes.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ann.data.catalog import DIGITS, SOURCES
from ann.errors import DataFileError, printable_path
from ann.files.atomic import read_regular, user_path
from ann.validation import check_labels

CLASSES = 10
_MAX_BYTES = 2**28  # of one unpacked file
# SHA-256 of the test labels
_FASHION_LABELS = "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9"
# what a file that is not a data file probably is, by its first bytes
_OTHER_FILES = {
    b"<": "; this is a web page: download the file again",
    b"PK": "; this is a zip archive: unpack it",
    b"\x1f\x8b": "; it was gzipped twice: run gunzip on it",
    b"ve": "; this may be a Git LFS pointer: run git lfs pull",
}
_CHECKOUT_DATA = Path(__file__).resolve().parents[2] / "data"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, read-only host arrays of uint8. Two data sets are equal only if they are the same object.

    From Python, images may also be floats, labels may be target rows, and all of them may be lists; see ``fit``.

    Attributes:
        train_images: (N, height, width), 0 black to 255 white; MNIST has N = 60,000 images of 28 x 28.
        train_labels: (N,), 0 to 9.
        test_images: (M, height, width); MNIST has M = 10,000.
        test_labels: (M,), 0 to 9.
        classes: what the ten labels stand for.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...] = DIGITS

    def arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by name."""
        return {name: value for name, value in vars(self).items() if name != "classes"}

    def __repr__(self) -> str:
        return f"<Dataset of {len(self.train_images):,} training and {len(self.test_images):,} test images>"


def load_dataset(folder_or_name: str | os.PathLike[str] = "mnist") -> Dataset:
    """Read and check a data set.

    Args:
        folder_or_name: a folder with the four files, gzipped or not, named like ``train-images-idx3-ubyte`` or
            ``train-images.idx3-ubyte``, each directly in it or in a subfolder with such a name; or the name "mnist",
            "fashion-mnist" or "kmnist". A named data set is looked for in the ``data`` folder of this checkout, then
            in the user's cache folder, and downloaded there if necessary. These strings are always names; write
            "./mnist" for a folder.

    Raises:
        DataFileError: a file is missing, unreadable, damaged, does not fit the others or cannot be downloaded.
        ImportError: it is not in ``data``, and the extra ``data`` is not installed.
    """
    name = folder_or_name if isinstance(folder_or_name, str) and folder_or_name in SOURCES else None
    folder = _folder_of(name) if name else user_path(folder_or_name)
    try:
        kind = os.stat(folder).st_mode
    except PermissionError as error:
        raise DataFileError(f"{printable_path(folder)}: cannot be read: {error.strerror}") from None
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        raise DataFileError(
            f"{printable_path(folder)}: no such data folder; it must hold the four IDX files of MNIST "
            f"(see data/README.md) or be a name: {', '.join(SOURCES)}"
        ) from None
    if not stat.S_ISDIR(kind):
        raise DataFileError(f"{printable_path(folder)}: this is a file; give the folder that holds the four IDX files")
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images_path, labels_path = _find(folder, f"{prefix}-images", 3), _find(folder, f"{prefix}-labels", 1)
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(labels):
            raise DataFileError(
                f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name}"
            )
        try:
            check_labels("labels", labels, CLASSES, len(images))
        except ValueError as error:
            raise DataFileError(f"{labels_path}: {error}") from None
        parts[part] = images, labels
    (train_images, train_labels), (test_images, test_labels) = parts["train"], parts["test"]
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataFileError(
            f"{folder}: training images are {_size(train_images)} pixels, test images {_size(test_images)}"
        )
    classes = SOURCES[name].classes if name else _classes_by_labels(test_labels)
    return Dataset(train_images, train_labels, test_images, test_labels, classes)


def _folder_of(name: str) -> Path:
    """Where the files of a data set of this name are, now at the latest."""
    from ann.data.download import cache_folder, download  # whose libraries take a third as long to import as NumPy

    names = SOURCES[name].files
    places = [_CHECKOUT_DATA / name, *([_CHECKOUT_DATA] if name == "mnist" else [])]
    for place in places:
        if all(os.path.isfile(place / file) for file in names):
            return place
    place = cache_folder(name)
    if not all(os.path.isfile(place / file) for file in names):
        download(name, place)
    return place


def _classes_by_labels(test_labels: np.ndarray) -> tuple[str, ...]:
    """What labels stand for in a folder of a set that is known by its test labels; else they are digits."""
    known = hashlib.sha256(test_labels.tobytes()).hexdigest() == _FASHION_LABELS
    return SOURCES["fashion-mnist"].classes if known else DIGITS


def read_idx(path: str | os.PathLike[str], dimensions: int) -> np.ndarray:
    """The unsigned bytes of one IDX file, gzipped or not, as a read-only array of so many dimensions.

    Raises:
        DataFileError: it is unreadable, or its header, length or checksum is wrong.
    """
    path = Path(path)
    try:
        data = read_regular(path, _MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataFileError(f"{printable_path(path)}: cannot be read: {reason}") from None
    try:
        return _parse_idx(path, _Unpacked(data), dimensions)
    except zlib.error as error:
        raise DataFileError(f"{path}: damaged gzip data: {error}; download the file again") from None


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    """The path of one of the four files, in any spelling; a file directly in the folder takes precedence."""
    names = [f"{stem}{dash}idx{dimensions}-ubyte{ending}" for dash in "-." for ending in (".gz", "")]
    # a widely used archive unpacks each file into a subfolder with the same name
    for path in (place / name for place in (folder, *map(folder.joinpath, names)) for name in names):
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataFileError(f"{printable_path(path)}: cannot be read: {error.strerror}") from None
    for path in map(folder.joinpath, names):
        if path.is_symlink():
            missing = os.readlink(path)
            raise DataFileError(f"{printable_path(path)}: this is a link to {missing!r}, which does not exist")
    similar: list[str] = []
    with suppress(OSError):  # the folder cannot be listed
        similar = sorted(name for name in os.listdir(folder) if stem in name.lower() and name not in names)
    hint = f"; if {printable_path(similar[0])} is that file, rename it" if similar else ""
    raise DataFileError(
        f"{printable_path(folder)}: not a folder of MNIST files: it holds no {names[0]}, "
        f"nor {', '.join(names[1:])}{hint}"
    )


class _Unpacked:
    """The bytes of a file, unpacked if they are gzipped, and read in pieces of at most the requested size.

    As in gunzip, several gzip members in a row are one file, and zeros after the last member are padding.
    """

    _MEMBERS = 2**16  # more of them take long, even if they are empty
    _BLOCK = 2**14  # bytes given to zlib at a time; at the end of each member it copies the rest of them

    def __init__(self, data: bytes) -> None:
        self._packed = memoryview(data)
        self._members = 1
        self._gzip = zlib.decompressobj(wbits=31) if self._at_member() else None  # 31: with header and checksum

    def _at_member(self) -> bool:
        return bytes(self._packed[:2]) == b"\x1f\x8b"

    def read(self, count: int) -> bytes | memoryview:
        """Up to ``count`` more bytes, fewer only at the end. Raises zlib.error where they are damaged."""
        if self._gzip is None:
            chunk, self._packed = self._packed[:count], self._packed[count:]
            return chunk
        chunks = []
        while count:
            if self._gzip.eof:
                if not self._at_member():
                    break
                self._members += 1
                if self._members > self._MEMBERS:
                    raise zlib.error(f"more than {self._MEMBERS:,} members")
                self._gzip = zlib.decompressobj(wbits=31)
            block = self._packed[: self._BLOCK]
            chunks.append(self._gzip.decompress(block, count))
            count -= len(chunks[-1])
            rest = self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail
            if len(rest) == len(block):
                break
            self._packed = self._packed[len(block) - len(rest) :]
        return b"".join(chunks)

    def left_over(self) -> str:
        """What is wrong with the end, or ""; called when all that was promised has been read."""
        if self.read(1):
            return "bytes are left over after the data that its header promises"
        if self._gzip is not None and not self._gzip.eof:
            return "truncated: the gzip checksum at its end is missing"
        if bytes(self._packed).strip(b"\0"):
            return "bytes are left over after the gzip data"
        return ""


def _parse_idx(path: Path, unpacked: _Unpacked, dimensions: int) -> np.ndarray:
    header_bytes = 4 + 4 * dimensions
    header = unpacked.read(header_bytes)
    if not header:
        raise DataFileError(f"{path}: the file is empty, expected an IDX header of {header_bytes} bytes")
    if len(header) < header_bytes:
        raise DataFileError(f"{path}: truncated: {len(header)} bytes, expected an IDX header of {header_bytes}")
    zeros, kind, found, *shape = struct.unpack(f">HBB{dimensions}I", header)
    if zeros != 0:
        begins = bytes(header[:2])
        known = _OTHER_FILES.get(begins) or _OTHER_FILES.get(begins[:1], "")
        raise DataFileError(f"{path}: not an IDX file: it begins with {begins.hex(' ')}, expected 00 00{known}")
    if kind != 8:
        raise DataFileError(f"{path}: IDX type 0x{kind:02x}, expected 0x08, unsigned bytes")
    if found != dimensions:
        mixed_up = "; images and labels are mixed up" if found in (1, 3) else ""
        raise DataFileError(f"{path}: {found} dimensions, expected {dimensions}{mixed_up}")
    size = math.prod(shape)
    if not 0 < size <= _MAX_BYTES:  # before anything of that size is allocated
        raise DataFileError(f"{path}: dimensions {shape} are {size} bytes, expected 1 to {_MAX_BYTES}")
    body = unpacked.read(size)
    if len(body) < size:
        raise DataFileError(f"{path}: truncated: {len(body)} bytes of data, expected {size} for dimensions {shape}")
    if wrong := unpacked.left_over():
        raise DataFileError(f"{path}: {wrong}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _size(images: np.ndarray) -> str:
    return " x ".join(str(length) for length in images.shape[1:])
