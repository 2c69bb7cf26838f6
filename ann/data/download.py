"""Downloads the files of a data set, each from the first mirror that has it. Interrupted downloads
are resumed. A file gets its name only after its SHA-256 was checked, so a folder never holds an
incomplete file.
"""

import contextlib
import errno
import hashlib
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ann.data.catalog import SOURCES, Source
from ann.data.contents import Progress
from ann.errors import DataFileError, printable_path, printable_text
from ann.files.atomic import Lock, sync_folder

_TIMEOUT = 20.0  # seconds without a byte
_SLOWEST, _WINDOW = 1000, 30.0  # slower mirrors are skipped: bytes per second, seconds
_CHUNK = 2**16
_Report = Callable[[int], None]  # called with the number of bytes received


class _MirrorError(Exception):
    """Why a mirror cannot provide a file."""


def download(name: str, folder: Path, progress: Progress | None = None) -> None:
    """Download the files of a named data set that are not in the folder, which may not exist yet.

    A second process that does the same waits for the first. ``progress`` is called with the name of
    a file, the bytes received, its size and "B".

    Raises:
        DataFileError: no mirror has one of the files, or it cannot be written.
    """
    source = SOURCES[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Lock(folder, wait=True):  # two processes would write to the same .part file
            for file in source.files:
                if not (folder / file).exists():
                    _download_file(source, folder / file, progress)
    except OSError as error:
        path = printable_path(error.filename or folder)
        raise DataFileError(f"{path}: cannot be written: {error.strerror}") from None


def _download_file(source: Source, path: Path, progress: Progress | None) -> None:
    """Download one file from the first mirror that has it."""
    size, digest = source.files[path.name]

    def report(done: int) -> None:
        if progress:
            progress(path.name, done, size, "B")

    reasons = []
    for mirror in source.mirrors:
        try:
            return _download_from(mirror + path.name, path, size, digest, report)
        except _MirrorError as error:
            reasons.append(f"{mirror} {error}")
    folder = printable_path(path.parent)
    if all(" cannot be reached" in reason for reason in reasons):
        raise DataFileError(
            f"{path.parent.name}: {'; '.join(reasons)}: is this machine on the internet? "
            f"If not, put the four files {', '.join(source.files)} into {folder}, or name a folder "
            "that has them: ann.load_dataset(FOLDER), --data FOLDER"
        )
    advice = f"try again, or put the file into {folder}"
    raise DataFileError(f"{path.name}: no mirror has it: {'; '.join(reasons)}; {advice}")


def _download_from(address: str, path: Path, size: int, digest: str, report: _Report) -> None:
    """Download a file from one address. If that fails, a .part file may remain."""
    part = path.with_name(f"{path.name}.part")
    with open(part, "ab", opener=_open_regular) as file:
        begun = file.tell()
        if begun > size:
            file.truncate(begun := 0)
        report(begun)
        try:
            if begun < size:
                _receive(address, file, begun, size, report)
            file.flush()
            os.fsync(file.fileno())
        finally:
            if not os.fstat(file.fileno()).st_size:
                part.unlink()
    with open(part, "rb") as file:
        right = hashlib.file_digest(file, "sha256").hexdigest() == digest
    if right:
        part.replace(path)
        sync_folder(path.parent)
        return
    part.unlink()
    if not begun:
        raise _MirrorError("sends a file with the wrong SHA-256")
    # the old .part file was not the beginning of this file
    _download_from(address, path, size, digest, report)


def _open_regular(path: str, flags: int) -> int:
    """Open a regular file. A pipe would block forever, and a link would lead elsewhere."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return file


def _receive(address: str, file: BinaryIO, begun: int, size: int, report: _Report) -> None:
    """Append the bytes from ``begun`` on, or write all of them if the server ignores the range."""
    headers = {"User-Agent": "ann", "Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    request = urllib.request.Request(address, headers=headers)
    opener = urllib.request.build_opener(_Redirects)
    with contextlib.closing(_ask(opener.open, request, timeout=_TIMEOUT)) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise _MirrorError("sends a web page instead")
        content_range = answer.headers.get("Content-Range", "")
        resumes = answer.status == 206 and content_range.startswith(f"bytes {begun}-")
        start = begun if resumes else 0
        promised = answer.headers.get("Content-Length")
        if promised is not None and promised != str(size - start):
            found = printable_text(promised)
            raise _MirrorError(f"has {found} bytes of it, expected {size - start}")
        file.truncate(start)
        _copy(answer.read1, file, start, size, report)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web only, and does not read their bodies."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()
        if not newurl.lower().startswith(("http://", "https://")):
            raise urllib.error.URLError("it redirects to something other than the web")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _copy(
    read: Callable[[int], bytes], file: BinaryIO, done: int, size: int, report: _Report
) -> None:
    since, before = time.monotonic(), done
    while done < size:
        chunk = _ask(read, min(_CHUNK, size - done))
        if not chunk:
            raise _MirrorError(f"breaks off after {done:,} of {size:,} bytes")
        file.write(chunk)
        done += len(chunk)
        report(done)
        if (seconds := time.monotonic() - since) > _WINDOW:
            if done - before < _SLOWEST * seconds:
                speed = (done - before) / seconds
                raise _MirrorError(f"is too slow: {speed:.0f} bytes per second")
            since, before = time.monotonic(), done


def _ask(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function that talks to a mirror. Its errors become ``_MirrorError``."""
    try:
        return function(*arguments, **options)
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"answers {error.code} {_reason(error.reason)}") from None
    except urllib.error.URLError as error:
        raise _MirrorError(f"cannot be reached: {_reason(error.reason)}") from None
    except Exception as error:
        raise _MirrorError(f"breaks off: {_reason(error) or type(error).__name__}") from None


def _reason(error: object) -> str:
    return printable_text(getattr(error, "strerror", None) or error)
