"""Whole files or none: a file is written beside its place and then moved there, so that a crash, a full disk or a
pulled plug leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace or create the file with these contents, durably.

    Raises:
        OSError: it cannot be written; an old file is as it was, and nothing is left beside it.
    """
    target = _target(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        # 0o666 less the umask, as for any new file; O_EXCL so that no link planted there is followed
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _about(path, error) from None
        raise
    _sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError now where ``write_atomically`` would raise it later. Leaves nothing behind."""
    target = _target(path)
    probe = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()
    except OSError as error:
        raise _about(path, error) from None


def _about(path: str | os.PathLike[str], error: OSError) -> OSError:
    """The same error, but about the file that was asked for, not the temporary one beside it."""
    return OSError(error.errno, error.strerror, str(path))


def _target(path: str | os.PathLike[str]) -> Path:
    """The file that a path means: links are followed, and what is no regular file is not replaced."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "Is a directory", str(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(22, "Not a regular file", str(path))
    return target


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut. Windows cannot open folders, and needs no such thing."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
