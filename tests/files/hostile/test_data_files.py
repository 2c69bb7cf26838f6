"""Data files that would exhaust memory or time, run code, or lack what they announce."""

import encodings.cp437  # noqa: F401  # of names in archives; imported before imports are watched
import gzip
import io
import pickle
import random
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ann
from ann.data.csv import read_csv
from ann.data.reading import unpacked
from hostile.harness import assert_refused, little_cost
from support import optional
from support.data_files import write_emnist

IMAGES, LABELS = np.zeros((8, 3, 3), np.uint8), np.arange(8, dtype=np.uint8)
ARRAYS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
ROW = b"5," + b",".join([b"0"] * 9) + b"\n"


def assert_no_data(path, data, about=None):
    message = assert_refused(ann.load_dataset, path, data, ann.DataFileError, about)
    return message.partition(f"{path}: ")[2]


def npz(**changes):
    """The bytes of an npz file. Each change is an array, or the bytes of a member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
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
    """An archive with a list of members that takes long to read."""
    entry = struct.pack(
        "<4s4B4HL2L5H2L", b"PK\1\2", *[20, 0, 20, 0], 0, 0, 0, 0, 0, 0, 0, 1, *[0] * 4, 0, 0
    )
    count = 400_000
    entries = (entry + b"a") * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entries), 0, 0)
    return b"PK\3\4" + entries + end


NPZ = {  # cases that are slow to make are made by the tests
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
    "huge shape": (npz(x_train=npy(header((2**40, 3, 3)))), "expected at most 1073741824 bytes"),
    "more than is there": (npz(x_train=npy(header((10**8, 3, 3)))), "which does not fit its size"),
    "less than is there": (
        npz(x_train=npy(header((8, 3, 3)), bytes(73))),
        "which does not fit its size",
    ),
    "negative": (npz(x_train=npy(header((-8, -3, 3)))), "expected at least one image"),
    "no images": (npz(x_train=IMAGES[:0]), "expected at least one image"),
    "a number": (npz(x_train=np.uint8(1)), "expected at least one image"),
    "bools as a shape": (
        npz(x_train=npy(header((True, 3, 3)), bytes(9))),
        "damaged npz archive",
    ),
    "code as a header": (npz(x_train=npy("__import__('os').system('echo')")), "x_train"),
    "deep header": (npz(x_train=npy("(" * 5000)), "x_train"),
    "long header": (npz(x_train=npy(header((8, 3, 3)) + " " * 10**6, version=b"\2\0")), "x_train"),
    "unknown version": (npz(x_train=npy(header((8, 3, 3)), bytes(72), b"\x09\x00")), "x_train"),
    "not npy": (npz(x_train=b"no array"), "x_train"),
    "a bomb": (
        lambda: npz(x_train=npy(header((8, 3, 3)), bytes(10**8))),
        "which does not fit its size",
    ),
    "another bomb": (lambda: npz(y_test=bytes(10**8)), "y_test"),
    "many members": (many_members, "a damaged npz archive, or too many arrays in it"),
    "other names": (npz()[:0] + b"PK\3\4", "a damaged npz archive"),
    "an empty archive": (npz()[:30], "a damaged npz archive"),
    "one array": (npz().replace(b"x_t", b"u_t"), "found u_train, y_train, u_test, y_test"),
    "too few labels": (npz(y_test=LABELS[:7]), "7 labels for 8 images"),
    "labels in rows": (npz(y_train=np.eye(8, dtype="u1")), r"labels of shape (8, 8)"),
    "negative label": (npz(y_train=LABELS.astype("i8") - 1), "got -1 at index 0"),
    "a huge label": (npz(y_train=LABELS.astype("i8") + 2**40), "whole numbers from 0 to 255"),
    "half a label": (npz(y_train=LABELS + 0.5), "got 0.5 at index 0"),
    "no label": (npz(y_train=LABELS * np.nan), "got nan at index 0"),
    "an infinite label": (npz(y_train=LABELS + np.inf), "got inf at index 0"),
    "an unknown label": (npz(y_test=LABELS + 1), "from 0 to 7, got 8 at index 7"),
    "NaN": (
        npz(x_train=IMAGES * np.nan),
        "x_train, y_train: pixels: expected numbers from 0 to 255, got nan",
    ),
    "infinite": (npz(x_train=IMAGES + np.inf), "from 0 to 255, got inf"),
    "negative pixels": (npz(x_train=IMAGES.astype("i2") - 1), "from 0 to 255, got -1"),
    "large pixels": (npz(x_train=IMAGES.astype("i2") + 256), "from 0 to 255, got 256"),
    "fractions": (npz(x_train=IMAGES + 0.3), "expected whole numbers from 0 to 255"),
    "colour": (npz(x_train=np.zeros((8, 3, 3, 3), "u1")), "images of shape (8, 3, 3, 3)"),
    "not square": (
        npz(x_train=np.zeros((8, 7), "u1")),
        "images of 7 pixels, which is not a square",
    ),
    "two sizes": (
        npz(x_train=np.zeros((8, 4, 4), "u1")),
        "training images have 4 x 4 pixels, test",
    ),
}


@pytest.mark.parametrize("name", NPZ)
def test_npz(tmp_path, name):
    data, message = NPZ[name]
    data = data() if callable(data) else data
    assert message in assert_no_data(tmp_path / "mnist.npz", data)


def test_npz_with_a_flipped_bit(tmp_path):
    """In each byte in turn: the file is loaded with the same shapes, or refused."""
    path, whole, loaded = tmp_path / "mnist.npz", npz(), 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x11
        path.unlink(missing_ok=True)  # a file that is written over may have to reach the disk
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings(action="ignore"):  # about a name that was damaged
                data = ann.load_dataset(path)
            loaded += 1
            assert data.train_images.shape in ((8, 3, 3), (7, 3, 3))  # 7: without test images
        except ann.DataFileError as error:
            assert str(error).startswith(f"{tmp_path}") and str(error).isprintable()
    assert 0 < loaded < len(whole) / 2


TABLES = {
    "nothing": (b"", "the file is empty"),
    "a header alone": (b"label," + b"p," * 8 + b"p\n", "a table without images"),
    "NaN": (ROW + ROW.replace(b"0", b"nan", 1), "line 2, column 2: expected a whole number"),
    "a NaN label": (ROW.replace(b"5", b"NaN"), "line 1, column 1: expected a whole number"),
    "half a label": (ROW + ROW.replace(b"5", b"0.5"), "line 2, column 1: expected a whole"),
    "negative": (ROW + ROW.replace(b"5", b"-5"), "got '-5'"),
    "large": (ROW + ROW.replace(b"0", b"256"), "got '256'"),
    "huge": (ROW + ROW.replace(b"0", b"9" * 10_000), "line 2, column 2"),
    "a word": (ROW + ROW.replace(b"5", b"five"), "got 'five'"),
    "terminal codes": (ROW + ROW.replace(b"5", b"\x1b[31m"), "line 2, column 1"),
    "a column less": (ROW + ROW[2:], "line 2: 9 columns, but line 1 has 10"),
    "a column more": (ROW * 3 + b"0," + ROW, "line 4: 11 columns, but line 1 has 10"),
    "one pixel too few": (ROW[2:] * 9, "images of 8 pixels, which is not a square number"),
    "a million columns": (b"0," * 10**6 + b"0\n", "a line of more than 262,144 bytes"),
    "a million names": (b"label," + b"p," * 10**6 + b"p\n", "a line of more than"),
    "no end of a line": (b"0,0" + b"0" * 10**7, "a line of more than"),
    "zeros": (ROW + bytes(10**7), "line"),
    "UTF-16": (ROW.decode().encode("utf-16"), "not a data set in a known format"),
    "a label without an image": (b"label,id\n1,2\n" * 8, "line 3, column 1"),
    "HTML": (b"<!DOCTYPE html>,\n", "this is a web page"),
}


def test_a_gzipped_table_without_its_checksum(tmp_path):
    data = gzip.compress(ROW * 9)[:-1]
    assert "truncated: the gzip checksum" in assert_no_data(tmp_path / "train.csv", data)


def test_a_long_name_in_a_gzip_header_costs_little(tmp_path):
    """Python's gzip module calls a few functions for each of its characters."""
    path, data = tmp_path / "train-images-idx3-ubyte.gz", gzip.compress(ROW)
    path.write_bytes(data[:3] + b"\x08" + data[4:10] + b"a" * 10**7 + b"\0" + data[10:])
    with little_cost(path.stat().st_size):
        assert b"".join(unpacked(path)) == ROW


def test_a_bomb_in_a_table_is_not_unpacked(tmp_path):
    data = gzip.compress(ROW) + 100 * gzip.compress(bytes(10**7))
    assert "a line of more than" in assert_no_data(tmp_path / "train.csv", data)


def test_the_lines_of_a_table_are_not_kept(tmp_path):
    path, count = tmp_path / "train.csv.gz", 100_000
    path.write_bytes(gzip.compress(ROW * count))
    tracemalloc.start()
    contents = read_csv(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert contents.train.images.shape == (count, 9) and most < 3 * 10 * count


def test_the_limit_is_for_the_unpacked_contents_too(tmp_path):
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(b"\n" * 10**6))
    assert sum(map(len, unpacked(path, 10**6))) == 10**6
    with pytest.raises(ValueError, match=r"more than 999,999 bytes when unpacked"):
        list(unpacked(path, 10**6 - 1))


def test_a_damaged_partner_is_named(tmp_path):
    (tmp_path / "train.csv").write_bytes(ROW * 9)
    test = tmp_path / "test.csv"
    assert "line 2, column 1: expected" in assert_no_data(test, b"x,1,1,1,1,1,1,1,1,1\n" * 9)


PAIRS = tuple((np.zeros((8, 9), "f4"), np.arange(8)) for _ in range(3))
PICKLES = {
    "a function": (b"\x80\x04cos\nsystem\n(X\4\0\0\0echotR.", "it names 'os', 'system', and only"),
    "cut": (pickle.dumps(PAIRS, 2)[:-50], "it ends at byte"),
    "two pairs": (pickle.dumps(PAIRS[:2], 2), "expected a pickle of three pairs"),
    "a dict": (pickle.dumps({"a": 1}, 2), "expected a pickle of three pairs"),
    "numbers": (pickle.dumps(([1, 2], [1, 2], [1, 2]), 2), "expected a pickle of three pairs"),
    "arrays alone": (pickle.dumps([np.zeros(9, "f4")] * 1, 2), "expected a pickle of three pairs"),
    "objects": (pickle.dumps((*PAIRS[:2], (np.array([{}]), np.arange(1))), 4), "an array of 'O8'"),
    "too few labels": (
        pickle.dumps((*PAIRS[:2], (PAIRS[2][0], np.arange(7))), 2),
        "expected a pickle of three pairs",
    ),
    "other pixels": (
        pickle.dumps((PAIRS[0], (np.zeros((8, 16), "f4"), np.arange(8)), PAIRS[2]), 2),
        "the training images have 9 pixels, the validation images 16",
    ),
    "NaN": (
        pickle.dumps(((PAIRS[0][0] * np.nan, PAIRS[0][1]), *PAIRS[1:]), 4),
        "from 0 to 255, got nan",
    ),
    "labels of floats": (
        pickle.dumps(((PAIRS[0][0], np.arange(8) / 2), *PAIRS[1:]), 4),
        "got 0.5 at index 1",
    ),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        pytest.param(file, *case, id=f"{file}: {name}")
        for file, cases in (("train.csv", TABLES), ("mnist.pkl.gz", PICKLES))
        for name, case in cases.items()
    ],
)
def test_tables_and_pickles(tmp_path, file, data, message, zipped):
    path = tmp_path / file
    assert message in assert_no_data(path, gzip.compress(data) if zipped else data)


@pytest.mark.slow
def test_a_bomb_in_a_pickle(tmp_path):
    """Half a gigabyte, a quarter of which is unpacked."""
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(50 * gzip.compress(b"\x80\x02" + bytes(10**7)))
    with pytest.raises(ann.DataFileError, match="more than 268,435,456 bytes when unpacked"):
        ann.load_dataset(path)


@pytest.fixture
def pictures(tmp_path):
    """Two classes with two training pictures and two test pictures."""
    image_module = optional("PIL.Image")
    for part in ("train", "test"):
        for name in "ab":
            folder = tmp_path / "root" / part / name
            folder.mkdir(parents=True)
            for number in "12":
                image_module.fromarray(np.zeros((6, 5), np.uint8)).save(folder / f"{number}.png")
    root = tmp_path / "root"
    assert ann.load_dataset(root).train_images.shape == (4, 6, 5)
    return root


def png(width, height, *chunks):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunk(*one) for one in chunks)
        + chunk(b"IEND", b"")
    )


PICTURES = {
    "another size": (png(6, 6, (b"IDAT", zlib.compress(bytes(42)))), "6 x 6 pixels, but the first"),
    "two gigabytes": (png(2**16, 2**15, (b"IDAT", zlib.compress(bytes(99)))), "exceeds limit of"),
    "no pixels": (png(0, 0, (b"IDAT", b"")), "not a"),
    "a bomb": (lambda: png(5, 6, (b"IDAT", zlib.compress(bytes(10**8), 1))), ""),
    "a bomb of text": (
        lambda: png(5, 6, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 1))),
        "not a",
    ),
    "cut": (png(5, 6, (b"IDAT", zlib.compress(bytes(36))[:6])), "not a readable picture"),
    "empty": (b"", "not a picture in a known format"),
    "text": (b"no picture", "not a picture in a known format"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(pictures, name):
    data, message = PICTURES[name]
    data = data() if callable(data) else data
    path = pictures / "test" / "b" / "2.png"
    path.write_bytes(data)
    if not message:
        assert ann.load_dataset(pictures).test_images.shape == (4, 6, 5)
        return
    with little_cost(len(data)), pytest.raises(ann.DataFileError) as caught:
        ann.load_dataset(pictures)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert str(caught.value).isprintable()


def test_links_of_pictures(pictures, tmp_path):
    inside, outside = pictures / "train" / "a" / "3.png", tmp_path / "secret.png"
    inside.symlink_to("1.png")
    assert len(ann.load_dataset(pictures).train_images) == 5
    outside.write_bytes((pictures / "train" / "a" / "1.png").read_bytes())
    for target in (outside, "../../../secret.png", "/dev/zero", "nowhere/../../../../etc/passwd"):
        inside.unlink()
        inside.symlink_to(target)
        with pytest.raises(
            ann.DataFileError, match=f"{inside}: a link that leads out of {pictures}"
        ):
            ann.load_dataset(pictures)
    inside.unlink()
    (pictures / "train" / "c").symlink_to(tmp_path)
    with pytest.raises(ann.DataFileError, match=r"train/c: a link that leads out of"):
        ann.load_dataset(pictures)


def test_folders_of_pictures(pictures):
    (pictures / "test" / "c").mkdir()
    with pytest.raises(ann.DataFileError, match=r"test/c: no training images of this class"):
        ann.load_dataset(pictures)
    (pictures / "train" / "c").mkdir()
    with pytest.raises(ann.DataFileError, match=r"train/c: no picture \(PNG, JPEG, "):
        ann.load_dataset(pictures)
    for number in range(255):
        (pictures / "train" / f"more {number}").mkdir()
    with pytest.raises(
        ann.DataFileError, match="258 folders of pictures; the limit is 256 classes"
    ):
        ann.load_dataset(pictures)


MAPPINGS = [
    "",
    "\n\n",
    "0 48 49 50",
    "a 65",
    "-1 65",
    "0 48\n0 49",
    "0 7",
    "0 57344",
    "0 55296",
    "9" * 9999,
]


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_mappings_of_emnist(small_data, mapping):
    write_emnist(small_data, ann.load_dataset(small_data))
    path = small_data / "emnist-balanced-mapping.txt"
    path.write_text(mapping)
    with pytest.raises(
        ann.DataFileError, match=r"emnist-balanced-mapping.txt: (it is empty|expected a label)"
    ) as caught:
        ann.load_dataset(small_data)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_parts_of_emnist_that_are_unknown(small_data):
    write_emnist(small_data, ann.load_dataset(small_data), part="runes")
    with pytest.raises(
        ann.DataFileError, match=r"emnist-runes-mapping\.txt, which maps labels, is missing"
    ):
        ann.load_dataset(small_data)


def parquet_bytes(**columns):
    arrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns), buffer)
    return buffer.getvalue()


def picture_bytes(side=3):
    return png(side, side, (b"IDAT", zlib.compress(bytes(side * (side + 1)))))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"no picture"] * 8, "label": range(8)}, "row 0: not a picture in a known"),
        ({"image": [None] * 8, "label": range(8)}, "row 0: no picture"),
        ({"image": ["text"] * 8, "label": range(8)}, "row 0: no picture"),
        (
            {"image": [picture_bytes()] * 8, "label": [None] * 8},
            "a row without a label, or with one",
        ),
        (
            {"image": [picture_bytes()] * 8, "label": [0.5] * 8},
            "a row without a label, or with one",
        ),
        (
            {"image": [picture_bytes()] * 8, "label": ["a"] * 8},
            "a row without a label, or with one",
        ),
        ({"image": [picture_bytes()] * 8, "label": [-1] * 8}, "labels: expected whole numbers"),
        ({"image": [picture_bytes()] * 8, "label": [2**40] * 8}, "labels: expected whole numbers"),
        ({"image": [picture_bytes()] * 8, "\x1b\n": [0] * 8}, "its columns are"),
        (
            {"image": [picture_bytes(), picture_bytes(4)], "label": [0, 0]},
            "row 1: a picture of 4 x 4",
        ),
        ({"image": [png(2**16, 2**15)], "label": [0]}, "row 0: not a readable picture: Image size"),
        ({"image": [], "label": []}, "no images"),
    ],
)
def test_parquet(tmp_path, columns, message):
    path = tmp_path / "train.parquet"
    path.write_bytes(parquet_bytes(**{name: list(values) for name, values in columns.items()}))
    with pytest.raises(ann.DataFileError) as caught:
        ann.load_dataset(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert str(caught.value).isprintable()


def test_damaged_parquet(tmp_path):
    optional("PIL.Image")
    path = tmp_path / "train.parquet"
    whole = parquet_bytes(image=[picture_bytes()] * 8, label=list(range(8)))
    choice = random.Random(0)
    for number in range(300):
        damaged = bytearray(whole)
        for _ in range(choice.choice((1, 1, 3))):
            damaged[choice.randrange(4, len(damaged))] ^= 1 << choice.randrange(8)
        path.write_bytes(damaged if number else whole[: len(whole) // 2])
        try:
            with warnings.catch_warnings(action="ignore"):  # there are no test images
                ann.load_dataset(path)
        except ann.DataFileError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()


def test_parquet_with_more_rows_than_it_announces(tmp_path):
    path = tmp_path / "train.parquet"
    whole = parquet_bytes(image=[picture_bytes()] * 99, label=list(range(99)))
    # its footer has the number of rows, 99 (c6 01), before a list (19) of row groups
    path.write_bytes(whole.replace(b"\xc6\x01\x19", b"\xc4\x01\x19"))
    with pytest.raises(ann.DataFileError, match="more than the 98 images that it announces"):
        ann.load_dataset(path)


@pytest.mark.parametrize("names", ["", "[]", "no json", '{"info": []}', "[" * 100_000])
def test_class_names_of_parquet(tmp_path, names):
    """The names are numbers if the hub's description cannot be read."""
    arrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    table = arrow.table({"image": [picture_bytes()] * 8, "label": list(range(8))})
    table = table.replace_schema_metadata({"huggingface": names})
    for part in ("train", "test"):
        parquet.write_table(table, tmp_path / f"{part}.parquet")
    assert ann.load_dataset(tmp_path).classes == tuple("01234567")


STARTS = [
    b"",
    b"PK\3\4",
    b"\x80\2",
    b"\x80\4(",
    b"PAR1",
    b"MATLAB 5.0 ",
    b"label,a\n1,",
    b"1,2\n",
    b"\0\0\x08\3",
]


@settings(max_examples=300, deadline=None)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=60), zipped=st.booleans())
def test_any_bytes(tmp_path_factory, start, rest, zipped):
    path = tmp_path_factory.mktemp("any") / "train.data"
    path.write_bytes(gzip.compress(start + rest) if zipped else start + rest)
    try:
        with warnings.catch_warnings(action="ignore"):  # there are no test images
            ann.load_dataset(path)
    except ImportError as error:  # without an extra
        assert (start + rest).startswith(b"PAR1")
        assert str(error).startswith("parquet files need pyarrow: pip install")
    except ann.DataFileError as error:
        text = str(error)
        assert text.startswith(f"{path}: ") and text.isprintable() and len(text) < 600
