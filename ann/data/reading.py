"""What all readers of data files share: limits, unpacking, and errors of one line."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ann.errors import DataFileError, printable_path
from ann.files.atomic import read_regular

MAX_BYTES = 2**30  # of one file, also unpacked; the largest file of EMNIST has 0.55 GB
_GZIP = b"\x1f\x8b"


@contextmanager
def errors_about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong with a file into ``DataFileError``, one line that begins with its path."""
    name = printable_path(path)
    try:
        yield
    except DataFileError:
        raise
    except OSError as error:
        raise DataFileError(f"{name}: cannot be read: {error.strerror}") from None
    except zlib.error as error:
        reason = f"damaged gzip data: {error}; download the file again"
        raise DataFileError(f"{name}: {reason}") from None
    except ValueError as error:
        raise DataFileError(f"{name}: {error}") from None


def first_bytes(path: str | os.PathLike[str], count: int = 2**12) -> bytes:
    """The first bytes of a file, unpacked if it is gzipped."""
    return bytes(Unpacked(read_regular(path, MAX_BYTES, 2**16)).read(count))


class Unpacked:
    """The contents of a file, unpacked if it is gzipped, in pieces of at most the requested size.

    As in gunzip, several gzip members in a row are one file, and zeros after the last are padding.
    """

    _MEMBERS = 2**16  # a limit, since even empty ones take time
    _BLOCK = 2**14  # bytes given to zlib at a time; it copies what follows a member's end

    def __init__(self, data: bytes) -> None:
        self._packed = memoryview(data)
        self._members = 1
        self._gzip = zlib.decompressobj(wbits=31) if self._at_member() else None  # 31: gzip format

    def _at_member(self) -> bool:
        return bytes(self._packed[:2]) == _GZIP

    def read(self, count: int) -> bytes | memoryview:
        """Up to ``count`` more bytes, fewer only at the end. Raises zlib.error if damaged."""
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

    def check_end(self) -> None:
        """Raise ValueError unless everything has been read and the last checksum was there."""
        if self.read(1):
            raise ValueError("bytes are left over after the data that its header promises")
        if self._gzip is not None and not self._gzip.eof:
            raise ValueError("truncated: the gzip checksum at its end is missing")
        if bytes(self._packed).strip(b"\0"):
            raise ValueError("bytes are left over after the gzip data")
