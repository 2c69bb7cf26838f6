"""Files in the IDX format of the MNIST database: two zero bytes, a type (8: unsigned bytes), the
number of dimensions, each dimension as a big-endian 32-bit number, then the bytes. They may be
gzipped.
"""

import math
import os
import struct
import zlib

import numpy as np

from ann.errors import DataFileError, printable_path
from ann.files.atomic import read_regular

_MAX_BYTES = 2**28  # of one unpacked file
_GZIP = b"\x1f\x8b"
# what a file in another format probably is, by its first bytes
_OTHER_FORMATS = {
    b"<": "; this is a web page: download the file again",
    b"PK": "; this is a zip archive: unpack it",
    _GZIP: "; it was gzipped twice: run gunzip on it",
    b"ve": "; this may be a Git LFS pointer: run git lfs pull",
}


def read_idx(path: str | os.PathLike[str], dimensions: int) -> np.ndarray:
    """The unsigned bytes in an IDX file, gzipped or not: a read-only array with so many axes.

    Raises:
        DataFileError: it is unreadable, or its header, length or checksum is wrong.
    """
    name = printable_path(path)
    try:
        return _parse(_Unpacked(read_regular(path, _MAX_BYTES)), dimensions)
    except OSError as error:
        raise DataFileError(f"{name}: cannot be read: {error.strerror}") from None
    except zlib.error as error:
        reason = f"damaged gzip data: {error}; download the file again"
        raise DataFileError(f"{name}: {reason}") from None
    except ValueError as error:
        raise DataFileError(f"{name}: {error}") from None


class _Unpacked:
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


def _parse(unpacked: _Unpacked, dimensions: int) -> np.ndarray:
    length = 4 + 4 * dimensions
    header = unpacked.read(length)
    if not header:
        raise ValueError(f"the file is empty, expected an IDX header of {length} bytes")
    if len(header) < length:
        raise ValueError(f"truncated: {len(header)} bytes, expected an IDX header of {length}")
    zeros, kind, found, *shape = struct.unpack(f">HBB{dimensions}I", header)
    if zeros != 0:
        start = bytes(header[:2])
        hint = _OTHER_FORMATS.get(start) or _OTHER_FORMATS.get(start[:1], "")
        raise ValueError(f"not an IDX file: it begins with {start.hex(' ')}, expected 00 00{hint}")
    if kind != 8:
        raise ValueError(f"IDX type 0x{kind:02x}, expected 0x08, unsigned bytes")
    if found != dimensions:
        hint = "; images and labels are mixed up" if found in (1, 3) else ""
        raise ValueError(f"{found} dimensions, expected {dimensions}{hint}")
    size = math.prod(shape)
    if not 0 < size <= _MAX_BYTES:  # before anything of that size is allocated
        raise ValueError(f"dimensions {shape} are {size} bytes, expected 1 to {_MAX_BYTES}")
    body = unpacked.read(size)
    if len(body) < size:
        expected = f"expected {size} for dimensions {shape}"
        raise ValueError(f"truncated: {len(body)} bytes of data, {expected}")
    unpacked.check_end()
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
