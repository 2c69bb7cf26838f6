"""Shared by all readers of data files: limits, unpacking and one-line errors."""

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ann.errors import DataFileError, printable_path
from ann.files.atomic import read_regular

MAX_BYTES = 2**30  # of a file, packed and unpacked; the largest file of EMNIST has 0.55 GB
# Words in the names of files with training images and with test images
_WORDS = (("training", "testing"), ("train", "test"), ("Train", "Test"), ("TRAIN", "TEST"))
_GZIP = b"\x1f\x8b"
_MEMBER = b"\x1f\x8b\x08"  # the first bytes of each gzip member
_MAX_MEMBERS = 2**16  # even empty members take time
_PADDING = re.compile(rb"\0+")
_PIECE = 2**16  # bytes unpacked at a time
_START = 2**12  # bytes in which formats are recognised
_CONVERT = (
    "convert it to npz, with the names of its arrays: f = {function}({{name!r}}); numpy.savez("
    "'mnist.npz', x_train=f['...'], y_train=f['...'], x_test=f['...'], y_test=f['...'])"
)
# The first bytes of a file that cannot be read -> what to do about it; {name} is its name
_HINTS = {
    b"<": "this is a web page: download the file again",
    b"PK": "this is a zip archive: unpack it",
    _GZIP: "it was gzipped twice: run gunzip on it",
    b"version ": "this may be a Git LFS pointer: run git lfs pull",
    b"\0\0\x08": "this is one of four IDX files: name the folder that contains them",
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file; {_CONVERT.format(function='h5py.File')}",
    b"MATLAB 5.0 ": f"a MATLAB file; {_CONVERT.format(function='scipy.io.loadmat')}",
    b"MATLAB ": f"an HDF5 file; {_CONVERT.format(function='h5py.File')}",  # of newer versions
}


@contextmanager
def errors_about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn OSError and ValueError into ``DataFileError``: one line that begins with the path."""
    name = printable_path(path)
    try:
        yield
    except DataFileError:
        raise
    except OSError as error:
        raise DataFileError(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataFileError(f"{name}: {error}") from None


def first_bytes(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file, unpacked if it is gzipped: enough to recognise its format."""
    start = b""
    for piece in unpacked(path, first=2**17):
        start += piece
        if len(start) >= _START:
            break
    return start[:_START]


def hint_about(start: bytes, name: str = "") -> str:
    """What to do about a file that begins with these bytes and cannot be read, or "".

    ``name``: the name of the file.
    """
    hints = (text for first, text in _HINTS.items() if start.startswith(first))
    return next(hints, "").format(name=name)


def pair_of(path: Path) -> tuple[Path, Path | None]:
    """The file with the training images, and the one with the test images or None, by their names.

    ``path`` is one of a pair such as mnist_train.csv and mnist_test.csv, or any other file.
    """
    for train, test in _WORDS:
        if train in path.name:
            return path, _partner(path, train, test)
        if test in path.name and (other := _partner(path, test, train)):
            return other, path
    return path, None


def _partner(path: Path, word: str, other: str) -> Path | None:
    """The file with the other word in its name, gzipped or not, if it exists."""
    name = other.join(path.name.rsplit(word, 1))
    plain = name.removesuffix(".gz")
    paths = map(path.with_name, (name, plain, f"{plain}.gz"))
    return next((one for one in paths if os.path.isfile(one)), None)


def unpacked(
    path: str | os.PathLike[str], most: int = MAX_BYTES, first: int | None = None
) -> Iterator[bytes]:
    """The contents of a file, unpacked if it is gzipped, in pieces of limited size.

    As in gunzip, several gzip members in a row are one file, and zeros after the last are padding.

    Args:
        path: the file, which ``read_regular`` reads.
        most: the largest size that is accepted, packed and unpacked, in bytes.
        first: read only this many bytes of the file; None: all.

    Raises:
        ValueError: the contents are larger, or the gzip data are damaged, do not end with a
            checksum, or are followed by something else.
    """
    data = read_regular(path, most, first)
    if not data.startswith(_GZIP):
        yield from (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
        return
    if data.count(_MEMBER) > _MAX_MEMBERS:
        raise ValueError(f"damaged gzip data: more than {_MAX_MEMBERS:,} members")
    size = 0
    try:
        for piece in _unzipped(data):
            size += len(piece)
            if size > most:
                raise ValueError(f"more than {most:,} bytes when unpacked")
            yield piece
    except zlib.error as error:
        reason = str(error).rpartition(": ")[2]
        raise ValueError(f"damaged gzip data: {reason}; download the file again") from None


def _unzipped(data: bytes) -> Iterator[bytes]:
    """The contents of gzip members. Python's gzip module takes seconds to skip a long file name."""
    view, position = memoryview(data), 0
    while position < len(data):
        if not data.startswith(_GZIP, position):
            raise ValueError("extra bytes after the gzip data")
        member = zlib.decompressobj(zlib.MAX_WBITS + 16)  # 16: with the header of gzip
        while not member.eof:
            packed = view[position : position + _PIECE]
            if not packed:
                raise ValueError("truncated: the gzip checksum at its end is missing")
            yield member.decompress(packed, _PIECE)
            position += len(packed) - len(member.unused_data or member.unconsumed_tail)
        if padding := _PADDING.match(data, position):
            position = padding.end()
