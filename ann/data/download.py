"""Getting the files of a data set. A file is taken from whichever mirror has it, goes on where an earlier try ended,
and gets its name only when its SHA-256 is right, so a folder never holds half a file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from ann.data.catalog import SOURCES, Source
from ann.errors import DataFileError, printable_path, printable_text, require
from ann.files.atomic import Lock, locked, sync_folder

_TIMEOUT = 20.0  # seconds without a byte
_PATIENCE = 3  # times as long for the whole of an answer's headers, or of a piece
_SLOWEST, _WINDOW = 1000, 30.0  # bytes a second, over so many seconds; a slower mirror is given up
_CHUNK = 2**16


class _NotThisMirrorError(Exception):
    """Why a mirror does not give a file."""


def cache_folder(name: str) -> Path:
    """Where a data set is kept for all programs of this user. Raises ImportError without platformdirs."""
    use = f"{name}: data sets by name need platformdirs, to find where to keep them"
    platformdirs = require("platformdirs", "data", use)
    return Path(platformdirs.user_cache_dir("ann")) / name


def download(name: str, folder: Path) -> None:
    """Get those of a data set's files that are not in the folder, with a bar on a terminal and a line a file elsewhere.

    Raises:
        DataFileError: no mirror has one of them, or it cannot be written; in one line.
    """
    source = SOURCES[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):  # two processes would write into the same .part file
            for file, (size, digest) in source.files.items():
                if not (folder / file).exists():
                    _get(source, folder / file, size, digest)
    except OSError as error:
        path = printable_path(error.filename or folder)
        raise DataFileError(f"{path}: cannot be written: {error.strerror}") from None


def _alone_in(folder: Path) -> Lock:
    try:
        return locked(folder)
    except BlockingIOError:
        print(f"waiting for another process that downloads to {folder}", file=sys.stderr, flush=True)
        return locked(folder, wait=True)


def _get(source: Source, path: Path, size: int, digest: str) -> None:
    """One file, from the first mirror that has it."""
    reasons = []
    with _Bar(path.name, size) as bar:
        for mirror in source.mirrors:
            try:
                _get_from(mirror + path.name, path, size, digest, bar)
            except _NotThisMirrorError as reason:
                reasons.append(f"{mirror} {reason}")
            else:
                return
    if all(" cannot be reached" in reason for reason in reasons):
        raise DataFileError(
            f"{path.parent.name}: {'; '.join(reasons)}: is this machine on the internet? Else put its four files, "
            f"{', '.join(source.files)}, into {printable_path(path.parent)}"
        )
    raise DataFileError(
        f"{path.name}: no mirror gives it: {'; '.join(reasons)}; try again, or put the file into "
        f"{printable_path(path.parent)}"
    )


def _get_from(address: str, path: Path, size: int, digest: str, bar: _Bar) -> None:
    """The file from there, or ``_NotThisMirrorError``; what came of it stays in a .part file, to go on with."""
    part = path.with_name(f"{path.name}.part")
    for _ in range(2):  # again from the start where what was there before is not a part of it
        with open(part, "ab", opener=_regular) as file:
            begun = file.tell()
            if begun > size:
                file.truncate(begun := 0)
            try:
                if begun < size:
                    _receive(address, file, begun, size, bar)
                file.flush()
                os.fsync(file.fileno())
            finally:
                if not os.fstat(file.fileno()).st_size:
                    part.unlink()
        if _sha256(part) == digest:
            part.replace(path)
            sync_folder(path.parent)
            return
        part.unlink()
        if not begun:
            break
    raise _NotThisMirrorError("gives another file, by its SHA-256")


def _regular(path: str, flags: int) -> int:
    """Open a file, and no pipe, which would never end, or link, which leads to another."""
    file = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return file


def _receive(address: str, file: BinaryIO, begun: int, size: int, bar: _Bar) -> None:
    """Append the bytes from ``begun`` on, or write all where it sends all."""
    request = urllib.request.Request(address, headers={"User-Agent": "ann", "Accept-Encoding": "identity"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    opener = urllib.request.build_opener(_Redirects)
    try:
        with ExitStack() as stack:
            answer = _in_time(opener.open, request, timeout=_TIMEOUT)
            # in another thread, since closing waits for a read that is given up but not over
            stack.callback(threading.Thread(target=answer.close, daemon=True).start)
            if answer.headers.get_content_type() == "text/html":
                raise _NotThisMirrorError("gives a web page in its place")
            goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-")
            start = begun if goes_on else 0
            promised = answer.headers.get("Content-Length")
            if promised is not None and promised != str(size - start):
                raise _NotThisMirrorError(f"has {_reason(promised)} bytes for it, expected {size - start}")
            file.truncate(start)
            _copy(answer.read1, file, start, size, bar)
    except urllib.error.HTTPError as error:
        error.close()
        raise _NotThisMirrorError(f"answers {error.code} {_reason(error.reason)}") from None
    except urllib.error.URLError as error:
        raise _NotThisMirrorError(f"cannot be reached: {_reason(error.reason)}") from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web alone, and does not read what comes with them, which may be anything."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()
        if not newurl.lower().startswith(("http://", "https://")):
            raise urllib.error.URLError("it leads elsewhere than to the web")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(read: Callable[[int], bytes], file: BinaryIO, done: int, size: int, bar: _Bar) -> None:
    bar.start(done)
    since, before = time.monotonic(), done
    while done < size:
        chunk = _in_time(read, min(_CHUNK, size - done))
        if not chunk:
            raise _NotThisMirrorError(f"breaks off after {done:,} of {size:,} bytes")
        file.write(chunk)
        done += len(chunk)
        bar.update(len(chunk))
        if (seconds := time.monotonic() - since) > _WINDOW:
            if done - before < _SLOWEST * seconds:
                raise _NotThisMirrorError(f"is too slow: {(done - before) / seconds:.0f} bytes a second")
            since, before = time.monotonic(), done


def _in_time(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Ask something of a mirror, in a thread that is left to itself where the answer takes too long: a socket's timeout
    begins anew with every byte. What goes wrong is the mirror's fault, unlike what goes wrong in writing.
    """
    result: list[Any] = []

    def ask() -> None:
        try:
            result.append(function(*arguments, **options))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE * _TIMEOUT)
    if not result:
        raise _NotThisMirrorError(f"does not answer in {_PATIENCE * _TIMEOUT:.0f} s")
    if isinstance(result[0], urllib.error.URLError):
        raise result[0]
    if isinstance(result[0], Exception):
        raise _NotThisMirrorError(f"breaks off: {_reason(result[0]) or type(result[0]).__name__}")
    return result[0]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: object) -> str:
    return printable_text(error.strerror if isinstance(error, OSError) and error.strerror else error)


class _Bar:
    """How far a file is: a bar on a terminal, which goes when it is done, and elsewhere a line when it begins."""

    def __init__(self, name: str, size: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            desc=name,
            total=size,
            unit="B",
            unit_scale=True,
            file=sys.stderr,
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        if self._bar.disable:
            print(f"downloading {name}, {size / 1e6:.1f} MB", file=sys.stderr, flush=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def start(self, done: int) -> None:
        """What was there before."""
        self._bar.reset()
        self._bar.update(done)

    def update(self, count: int) -> None:
        """So many bytes more."""
        self._bar.update(count)
