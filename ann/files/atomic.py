"""Files that are written completely or not at all: each is written beside its target and then
renamed, so a crash, a full disk or a power cut leaves the old file or the new one, never half of
one. Also bounded reading of files, and locks on folders.
"""

import contextlib
import errno
import importlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Create or replace a file, flushed to the disk where the file system supports that.

    A file that is replaced keeps its permissions and, if the system allows it, its owner.

    Raises:
        OSError: it cannot be written or is read-only. Then an old file is unchanged and no
            temporary file is left.
    """
    with _new_file_beside(path) as (descriptor, temporary, target):
        with os.fdopen(descriptor, "wb") as file:
            _keep_owner_and_mode(target, temporary)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError that ``write_atomically`` would raise later. Leaves nothing behind."""
    with _new_file_beside(path) as (descriptor, _, _):
        os.close(descriptor)


def read_regular(path: str | os.PathLike[str], most: int, first: int | None = None) -> bytes:
    """The contents of a regular file of at most ``most`` bytes. Never waits for a pipe.

    Args:
        path: the file.
        most: the largest size that is accepted, in bytes.
        first: read only this many bytes, from the beginning; None: all.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    path = user_path(path)
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "the path contains a NUL byte", str(path))
    without_waiting = getattr(os, "O_NONBLOCK", 0)
    with open(
        path, "rb", opener=lambda name, flags: os.open(name, flags | without_waiting)
    ) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > most:
            reason = f"it has {status.st_size} bytes; the limit is {most}"
            raise OSError(errno.EFBIG, reason, str(path))
        size = status.st_size  # read(most) would allocate most
        return file.read(size if first is None else min(size, first))


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path, with a leading ``~`` or ``~name`` replaced by that user's home folder."""
    if isinstance(path, bytes):  # probably the contents of a file
        raise TypeError("expected a path as str or os.PathLike, got bytes")
    return Path(os.path.expanduser(path))


def _target(path: str | os.PathLike[str]) -> Path:
    """The file to write, with links followed.

    Raises OSError if it is not a regular file, is read-only, or may not be replaced in its folder.
    """
    target = Path(os.path.realpath(user_path(path)))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if not target.exists():
        return target
    status = target.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    # root can write to every file, but the permissions say what the owner wants
    if not (status.st_mode & 0o222 and os.access(target, os.W_OK)):
        reason = "It is read-only; make it writable, or name another file"
        raise PermissionError(errno.EACCES, reason, str(path))
    if os.name == "posix":
        folder = target.parent.stat()
        owners = (0, status.st_uid, folder.st_uid)
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in owners:
            reason = "In this folder only its owner may replace it"
            raise PermissionError(errno.EPERM, reason, str(path))
        if target.is_mount():
            raise OSError(errno.EBUSY, "It is a mount point", str(path))
    return target


@contextlib.contextmanager
def _new_file_beside(path: str | os.PathLike[str]) -> Iterator[tuple[int, Path, Path]]:
    """Create a temporary file beside the file to write: (descriptor, temporary path, target path).

    The temporary file is deleted at the end, unless it was renamed. OSErrors name ``path``.
    """
    target = _target(path)
    # an unused name, short enough for any file system
    temporary = target.with_name(f".ann-{secrets.token_hex(8)}.part")
    # 0o666 minus the umask, as for any new file; O_EXCL follows no link that another user made
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
        try:
            yield descriptor, temporary, target
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except FileNotFoundError:
        is_folder = target.parent.is_dir()  # such as /proc, where no file can be created
        reason = "Cannot be created there" if is_folder else f"There is no folder {target.parent}"
        raise FileNotFoundError(errno.ENOENT, reason, str(path)) from None
    except OSError as error:
        is_closed = isinstance(error, PermissionError) and error.filename2 is None  # no rename
        advice = "You may not write to its folder; choose another folder"
        raise OSError(error.errno, advice if is_closed else error.strerror, str(path)) from None


def _keep_owner_and_mode(target: Path, temporary: Path) -> None:
    """Copy the owner and permissions of an old file, as far as file system and user allow."""
    if target.exists():
        status = target.stat()
        with contextlib.suppress(OSError, AttributeError):  # Windows has no chown
            os.chown(temporary, status.st_uid, status.st_gid)
        with contextlib.suppress(OSError):
            temporary.chmod(stat.S_IMODE(status.st_mode))


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut, where the file system supports that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Lock(contextlib.ExitStack):
    """A lock on a folder against other processes. It is released at the end of ``with``, when the
    object is deleted, or with the process, even if it is killed. On Windows nothing is locked.

    Raises:
        BlockingIOError: another process holds the lock, and ``wait`` is False.
    """

    def __init__(self, folder: Path, *, wait: bool = False) -> None:
        super().__init__()
        with contextlib.suppress(ModuleNotFoundError):
            fcntl: Any = importlib.import_module("fcntl")
            descriptor = os.open(folder, os.O_RDONLY)
            self.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def __del__(self) -> None:
        self.close()
