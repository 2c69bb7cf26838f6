"""Data files that would take all memory or all time, run something, or do not hold what they announce."""

import encodings.cp437  # noqa: F401  # of names in archives; imported before imports are watched
import functools
import gzip
import io
import os
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest

import ann
from hostile.harness import assert_refused

IMAGES, LABELS = np.zeros((8, 3, 3), np.uint8), np.arange(8, dtype=np.uint8)
ARRAYS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
ROW = b"5," + b",".join([b"0"] * 9) + b"\n"


def assert_no_data(path, data, about=None):
    message = assert_refused(ann.load_dataset, path, data, ann.DataFileError, about)
    return message.partition(f"{path}: ")[2]


@functools.cache
def blank(size):
    return bytes(size)


def npz(**changes):
    """The bytes of an npz file; a change is an array, or the bytes of its member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in {**ARRAYS, **changes}.items():
            if not isinstance(value, bytes):
                member = io.BytesIO()
                np.lib.format.write_array(member, np.asarray(value))
                value = member.getvalue()
            archive.writestr(f"{name}.npy", value)
    return buffer.getvalue()


def npy(header, body=b"", version=b"\x01\x00"):
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + body


def header(shape, descr="'|u1'", fortran="False"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}"


def many_members():
    """An archive whose list alone takes long to read."""
    entry = struct.pack(
        "<4s4B4HL2L5H2L", b"PK\1\2", *[20, 0, 20, 0], 0, 0, 0, 0, 0, 0, 0, 1, *[0] * 4, 0, 0
    )
    count = 400_000
    entries = (entry + b"a") * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entries), 0, 0)
    return b"PK\3\4" + entries + end


NPZ = {
    "objects": (npz(x_train=np.array([{}] * 8)), "of object, expected numbers"),
    "a pickle": (
        npz(x_train=npy(header("(8,)", "'|O'"), b"\x80\x04cos\nsystem\n(X\x04\0\0\0echotR.")),
        "of object, expected numbers",
    ),
    "text": (npz(y_train=np.array(["a"] * 8)), "of <U1, expected numbers"),
    "dates": (npz(y_train=np.zeros(8, "M8[s]")), "of datetime64"),
    "complex": (npz(x_train=IMAGES.astype("c8")), "of complex64"),
    "long doubles": (npz(x_train=IMAGES.astype("g")), "expected numbers"),
    "records": (npz(y_train=np.zeros(8, "u1,u1")), "expected numbers"),
    "subarrays": (npz(x_train=npy(header("(8,)", "('u1', (2**40,))"), bytes(8))), "x_train"),
    "huge": (npz(x_train=npy(header("(2**40, 3, 3)"))), "x_train"),
    "huge shape": (npz(x_train=npy(header((2**40, 3, 3)))), "expected 1 to 1073741824 bytes"),
    "more than is there": (npz(x_train=npy(header((10**8, 3, 3)))), "another number of bytes"),
    "less than is there": (
        npz(x_train=npy(header((8, 3, 3)), bytes(73))),
        "another number of bytes",
    ),
    "negative": (npz(x_train=npy(header((-8, -3, 3)))), "expected 1 to"),
    "no images": (npz(x_train=IMAGES[:0]), "expected 1 to"),
    "a number": (npz(x_train=np.uint8(1)), "expected 1 to"),
    "bools as a shape": (
        npz(x_train=npy(header((True, 3, 3)), bytes(9))),
        "damaged npz archive",
    ),
    "code as a header": (npz(x_train=npy("__import__('os').system('echo')")), "x_train"),
    "deep header": (npz(x_train=npy("(" * 5000)), "x_train"),
    "long header": (npz(x_train=npy(header((8, 3, 3)) + " " * 10**6, version=b"\2\0")), "x_train"),
    "unknown version": (npz(x_train=npy(header((8, 3, 3)), bytes(72), b"\x09\x00")), "x_train"),
    "not npy": (npz(x_train=b"no array"), "x_train"),
    "a bomb": (npz(x_train=npy(header((8, 3, 3)), blank(2 * 10**8))), "another number of bytes"),
    "another bomb": (npz(y_test=blank(2 * 10**8)), "y_test"),
    "many members": (many_members(), "a damaged npz archive, or one with too many arrays"),
    "other names": (npz()[:0] + b"PK\3\4", "a damaged npz archive"),
    "an empty archive": (npz()[:30], "a damaged npz archive"),
    "one array": (npz().replace(b"x_t", b"u_t"), "found u_train, y_train, u_test, y_test"),
    "too few labels": (npz(y_test=LABELS[:7]), "7 labels for the 8 images"),
    "labels in rows": (npz(y_train=np.eye(8, dtype="u1")), r"labels of shape (8, 8)"),
    "negative label": (npz(y_train=LABELS.astype("i8") - 1), "got -1 at index 0"),
    "a huge label": (npz(y_train=LABELS.astype("i8") + 2**40), "whole numbers from 0 to 255"),
    "half a label": (npz(y_train=LABELS + 0.5), "got 0.5 at index 0"),
    "no label": (npz(y_train=LABELS * np.nan), "got nan at index 0"),
    "an infinite label": (npz(y_train=LABELS + np.inf), "got inf at index 0"),
    "an unknown label": (npz(y_test=LABELS + 1), "from 0 to 7, got 8 at index 7"),
    "NaN": (npz(x_train=IMAGES * np.nan), "from 0 to 255, got nan"),
    "infinite": (npz(x_train=IMAGES + np.inf), "from 0 to 255, got inf"),
    "negative pixels": (npz(x_train=IMAGES.astype("i2") - 1), "from 0 to 255, got -1"),
    "large pixels": (npz(x_train=IMAGES.astype("i2") + 256), "from 0 to 255, got 256"),
    "fractions": (npz(x_train=IMAGES + 0.3), "expected whole numbers from 0 to 255"),
    "colour": (npz(x_train=np.zeros((8, 3, 3, 3), "u1")), "images of shape (8, 3, 3, 3)"),
    "not square": (npz(x_train=np.zeros((8, 7), "u1")), "7 pixels an image, which is not a"),
    "two sizes": (npz(x_train=np.zeros((8, 4, 4), "u1")), "training images are 4 x 4 pixels, test"),
}


@pytest.mark.parametrize("name", NPZ)
def test_npz(tmp_path, name):
    data, message = NPZ[name]
    assert message in assert_no_data(tmp_path / "mnist.npz", data)


def test_npz_with_a_flipped_bit(tmp_path):
    """Each byte in turn: it loads with the same shapes, or is refused."""
    whole, loaded = npz(), 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x11
        (tmp_path / "mnist.npz").write_bytes(damaged)
        try:
            with warnings.catch_warnings(action="ignore"):  # about a name that was damaged
                data = ann.load_dataset(tmp_path / "mnist.npz")
            loaded += 1
            assert data.train_images.shape in ((8, 3, 3), (7, 3, 3))  # 7: without test images
        except ann.DataFileError as error:
            assert str(error).startswith(f"{tmp_path}") and str(error).isprintable()
    assert 0 < loaded < len(whole) / 2


TABLES = {
    "nothing": (b"", "the file is empty"),
    "a header alone": (b"label," + b"p," * 8 + b"p\n", "a table without rows"),
    "NaN": (ROW + ROW.replace(b"0", b"nan", 1), "line 2, column 2: expected a whole number"),
    "a NaN label": (ROW.replace(b"5", b"NaN"), "line 1, column 1: expected a whole number"),
    "half a label": (ROW + ROW.replace(b"5", b"0.5"), "line 2, column 1: expected a whole"),
    "negative": (ROW + ROW.replace(b"5", b"-5"), "got '-5'"),
    "large": (ROW + ROW.replace(b"0", b"256"), "got '256'"),
    "huge": (ROW + ROW.replace(b"0", b"9" * 10_000), "line 2, column 2"),
    "a word": (ROW + ROW.replace(b"5", b"five"), "got 'five'"),
    "terminal codes": (ROW + ROW.replace(b"5", b"\x1b[31m"), "line 2, column 1"),
    "a column less": (ROW + ROW[2:], "line 2: 9 columns, in line 1 10"),
    "a column more": (ROW * 3 + b"0," + ROW, "line 4: 11 columns, in line 1 10"),
    "one pixel too few": (ROW[2:] * 9, "8 pixels an image, which is not a square"),
    "a million columns": (b"0," * 10**6 + b"0\n", "a line of more than 262,144 bytes"),
    "a million names": (b"label," + b"p," * 10**6 + b"p\n", "a line of more than"),
    "no end of a line": (b"0,0" + blank(10**7).replace(b"\0", b"0"), "a line of more than"),
    "zeros": (ROW + blank(10**7), "line"),
    "UTF-16": (ROW.decode().encode("utf-16"), "not a data set in a known format"),
    "a label without an image": (b"label,id\n1,2\n" * 8, "line 3, column 1"),
    "HTML": (b"<!DOCTYPE html>,\n", "this is a web page"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path, name, zipped):
    data, message = TABLES[name]
    path = tmp_path / "train.csv"
    assert message in assert_no_data(path, gzip.compress(data) if zipped else data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-8] + bytes(8), "damaged gzip data"),
        (lambda data: data[:-1], "truncated: the gzip checksum"),
        (lambda data: data + b"x", "left over after the gzip data"),
        (lambda data: data[:4000] + b"\xff" * 100 + data[4100:], "train.csv"),
    ],
)
def test_gzipped_tables(tmp_path, damage, message):
    noise = np.random.default_rng(0).integers(0, 9, (2000, 10)).astype("U1").tolist()
    table = "\n".join(map(",".join, noise)).encode()
    found = assert_no_data(tmp_path / "train.csv", damage(gzip.compress(table)))
    assert message in found or message == "train.csv"


def test_a_bomb_in_a_table_is_not_unpacked(tmp_path):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(blank(10**7)) for _ in range(100)) + packer.flush()
    data = gzip.compress(ROW) + bomb
    assert "a line of more than" in assert_no_data(tmp_path / "train.csv", data)


def test_a_damaged_partner_is_named(tmp_path):
    (tmp_path / "train.csv").write_bytes(ROW * 9)
    test = tmp_path / "test.csv"
    assert "line 2, column 1: expected" in assert_no_data(test, b"x,1,1,1,1,1,1,1,1,1\n" * 9)


def test_pipes(tmp_path):
    for name in ("train.csv", "mnist.npz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ann.DataFileError, match="not a regular file"):
            ann.load_dataset(tmp_path / name)
