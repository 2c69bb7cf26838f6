"""NumPy's npz archives with four arrays, such as the ``mnist.npz`` of Keras: ``x_train``,
``y_train``, ``x_test`` and ``y_test``, or ``train_images`` and so on. Arrays of objects are
rejected, because they are pickles.
"""

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from ann.data.contents import Contents, Part
from ann.data.reading import MAX_BYTES
from ann.errors import printable_path, printable_text
from ann.files.atomic import read_regular

# (images, labels) for training, then for testing; Keras uses the first row of names
_NAMES = (
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("train_images", "train_labels"), ("test_images", "test_labels")),
)
_MAX_DIRECTORY = 2**16  # bytes: enough for the names of several hundred arrays
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_END, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"


def read_npz(path: Path, progress: object = None) -> Contents:
    """The four arrays of an npz file."""
    data = read_regular(path, MAX_BYTES)
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive, printable_path(path))
    except ValueError:
        raise
    except Exception as error:  # zipfile may raise anything for damaged archives
        raise ValueError(f"damaged npz archive: {printable_text(error)}") from None


def _check_directory(data: bytes) -> None:
    """Raise ValueError for a long list of members, because zipfile reads all of it."""
    end = data.rfind(_END)
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    if end < 0 or size > _MAX_DIRECTORY or data[max(0, end - 20) :].startswith(_ZIP64_LOCATOR):
        raise ValueError("a damaged npz archive, or too many arrays in it")


def _read(archive: zipfile.ZipFile, source: str) -> Contents:
    members = {info.filename.lower().removesuffix(".npy"): info for info in archive.infolist()}
    for train, test in _NAMES:
        train_part, test_part = (
            Part(f"{source}: {x}, {y}", _array(archive, members[x]), _array(archive, members[y]))
            if {x, y} <= members.keys()
            else None
            for x, y in (train, test)
        )
        if train_part:
            return Contents(train_part, test_part)
    found = printable_text(", ".join(members))
    raise ValueError(f"expected arrays x_train, y_train, x_test and y_test, found {found}")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array. Allocates no more than its header announces and the archive holds."""
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran, dtype = _HEADERS[version](file)
        except Exception:  # headers are parsed as Python literals
            raise ValueError(f"{member.filename}: a damaged header") from None
        kind = f"{member.filename}: shape {shape} of {printable_text(dtype)}"
        if dtype.kind not in "uif" or dtype.itemsize > 8:
            raise ValueError(f"{kind}, expected numbers")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) <= 0:
            raise ValueError(f"{kind}, expected at least one image")
        if size > MAX_BYTES:
            raise ValueError(f"{kind}, expected at most {MAX_BYTES} bytes")
        body = file.read(size)
        if len(body) != size or file.read(1):
            raise ValueError(f"{kind} according to its header, which does not fit its size")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
