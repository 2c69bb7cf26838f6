"""Whole files or none: a file is written beside its place and then moved there, so that a crash, a full disk or a
pulled plug leaves the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import secrets
import stat
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Replace or create the file with these contents, durably where the file system can promise that.

    A file that is replaced keeps its permissions and, if the system allows it, its owner.

    Raises:
        OSError: it cannot be written, or is read-only. An old file is unchanged, and no temporary file is left.
    """
    target = _target(path)
    _check_replaceable(target, path)
    descriptor, temporary = _create_beside(target, path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _keep_owner_and_mode(target, temporary)
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
    sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError now where ``write_atomically`` would raise it later. Leaves nothing behind."""
    target = _target(path)
    _check_replaceable(target, path)
    descriptor, probe = _create_beside(target, path)
    try:
        os.close(descriptor)
    finally:
        probe.unlink()


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The contents of a regular file, never waiting for a pipe's other end.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than ``most`` bytes.
    """
    path = user_path(path)
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and at most {most} are read", str(path))
        return file.read(status.st_size)  # read(most) would allocate most


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path, with a leading ``~`` or ``~name`` replaced by that user's home folder, as in a shell."""
    if isinstance(path, bytes):  # probably the contents of a file
        raise TypeError("expected a path as str or os.PathLike, got bytes")
    return Path(os.path.expanduser(path))


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _create_beside(target: Path, path: str | os.PathLike[str]) -> tuple[int, Path]:
    """A new file in the target's folder, open for writing: its descriptor and its path."""
    # a name that nobody uses, and short enough wherever the target's own is
    temporary = target.with_name(f".ann-{secrets.token_hex(8)}.part")
    try:
        # 0o666 less the umask, as for any new file; O_EXCL so that no link planted there is followed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        return os.open(temporary, flags, 0o666), temporary
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, f"There is no folder {target.parent}", str(path)) from None
    except OSError as error:
        raise _about(path, error) from None


def _check_replaceable(target: Path, path: str | os.PathLike[str]) -> None:
    """Raise OSError if this file is read-only, or cannot be replaced even though its folder is writable."""
    if not target.exists():
        return
    status = target.stat()
    # root can write to every file, but the permissions say what the owner wants
    if not (status.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise PermissionError(errno.EACCES, "It is read-only; make it writable, or name another file", str(path))
    if os.name == "posix":
        folder = target.parent.stat()
        owners = (0, status.st_uid, folder.st_uid)
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in owners:
            raise PermissionError(errno.EPERM, "In this folder only its owner may replace it", str(path))
        if target.is_mount():
            raise OSError(errno.EBUSY, "It is a mount point", str(path))


def _keep_owner_and_mode(target: Path, temporary: Path) -> None:
    """Copy owner and permissions from an old file, if there is one, as far as the file system and the user allow."""
    if target.exists():
        status = target.stat()
        with contextlib.suppress(OSError, AttributeError):  # Windows has no chown
            os.chown(temporary, status.st_uid, status.st_gid)
        with contextlib.suppress(OSError):
            temporary.chmod(stat.S_IMODE(status.st_mode))


def _about(path: str | os.PathLike[str], error: OSError) -> OSError:
    """The same error, but about the file that was asked for, not the temporary one beside it."""
    return OSError(error.errno, error.strerror, str(path))


def _target(path: str | os.PathLike[str]) -> Path:
    """The file that a path means: links are followed, and what is no regular file is not replaced."""
    target = Path(os.path.realpath(user_path(path)))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return target


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    with contextlib.suppress(OSError):  # some file systems cannot; the file is whole and in its place all the same
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def locked(folder: Path, *, wait: bool = False) -> Lock:
    """Keep other processes from a folder; a killed process lets go of it.

    Raises:
        BlockingIOError: another process holds it, and there is no waiting.
    """
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ModuleNotFoundError:  # on Windows: nobody is kept out
        return Lock(None)
    file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(file)
        raise
    return Lock(file)


class Lock:
    """Holds a folder until it is left, as by ``with``, or forgotten."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.__exit__()
