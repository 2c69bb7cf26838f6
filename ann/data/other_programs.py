"""MATLAB and HDF5 files. Their arrays may have any names, so they are not read. An error message
shows how to convert them.
"""

from pathlib import Path

from ann.data.contents import Contents
from ann.data.reading import first_bytes

_HDF5, _MATLAB = b"\x89HDF\r\n\x1a\n", b"MATLAB "
_SAVE = (
    "numpy.savez('mnist.npz', x_train=f['...'], y_train=f['...'], x_test=f['...'], y_test=f['...'])"
)


def is_of_other_programs(path: Path, start: bytes) -> bool:
    """Whether a file begins like a MATLAB or HDF5 file."""
    return start.startswith((_HDF5, _MATLAB))


def refuse(path: Path, progress: object = None) -> Contents:
    """Raise ValueError; the message has the two statements that convert the file."""
    is_old = first_bytes(path).startswith(b"MATLAB 5.0 ")  # newer ones are HDF5 inside
    kind, read = ("MATLAB", "scipy.io.loadmat") if is_old else ("HDF5", "h5py.File")
    lines = f"f = {read}({path.name!r}); {_SAVE}"
    raise ValueError(f"a {kind} file; convert it to npz, with the names of its arrays: {lines}")
