import gzip
import os
import struct

import numpy as np
import pytest
from conftest import ROOT, idx_bytes, write_mnist_like

import ann
from ann.datasets import read_idx


@pytest.fixture(scope="module")
def mnist():
    return ann.load_dataset("mnist")


def test_mnist_is_what_its_readme_says(mnist):
    assert mnist.train_images.shape == (60000, 28, 28) and mnist.test_images.shape == (10000, 28, 28)
    assert mnist.train_labels.shape == (60000,) and mnist.test_labels.shape == (10000,)
    for array in mnist.arrays().values():
        assert array.dtype == np.uint8 and isinstance(array, np.ndarray)
    assert list(mnist.train_labels[:5]) == [5, 0, 4, 1, 9]
    assert list(mnist.test_labels[:5]) == [7, 2, 1, 0, 4]


def test_folder_and_name_give_the_same(mnist, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the name does not depend on the working directory
    by_folder = ann.load_dataset(ROOT / "data")
    np.testing.assert_array_equal(by_folder.test_images, mnist.test_images)
    np.testing.assert_array_equal(ann.load_dataset().test_labels, mnist.test_labels)


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("zipped", [True, False])
def test_spellings(tmp_path, dash, zipped):
    folder = write_mnist_like(tmp_path / "data")
    expected = ann.load_dataset(folder)
    for path in list(folder.iterdir()):
        data = path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", f"{dash}idx")
        if zipped:
            (folder / name).write_bytes(data)
        else:
            (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(data))
    found = ann.load_dataset(str(folder))
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), array)


GOOD = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 0 bytes, expected an IDX header of 16"),
        (idx_bytes(GOOD)[:15], "truncated: 15 bytes, expected an IDX header of 16"),
        (idx_bytes(GOOD)[:-1], r"truncated: 23 bytes of data, expected 24 for dimensions \[2, 3, 4\]"),
        (idx_bytes(GOOD) + b"\0", "bytes are left over after the data that its header promises"),
        (b"PK" + idx_bytes(GOOD)[2:], "not an IDX file: it begins with 50 4b, expected 00 00"),
        (idx_bytes(GOOD, kind=13), "IDX type 0x0d, expected 0x08"),
        (struct.pack(">HBB4I", 0, 8, 4, 1, 2, 3, 4) + bytes(24), "4 dimensions, expected 3"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, 3, 4), r"dimensions \[0, 3, 4\] are 0 bytes, expected 1 to"),
        (struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3), "dimensions .* bytes, expected 1 to 268435456"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_bad_idx_files(tmp_path, data, message, zipped):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ann.DataFileError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-8] + bytes(4) + data[-4:], "damaged gzip data.*incorrect data check"),
        (lambda data: data[:-4] + bytes(4), "damaged gzip data.*incorrect length check"),
        (lambda data: data[:-1], "truncated: the gzip checksum at its end is missing"),
        (lambda data: data[:30], "truncated"),
        (lambda data: data + b"x", "bytes are left over after the gzip data"),
        (lambda data: data + data, "bytes are left over after the gzip data"),
        (lambda data: data[:10] + b"\xff" * 20 + data[30:], "damaged gzip data"),
    ],
)
def test_bad_gzip(tmp_path, damage, message):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(GOOD), mtime=0)))
    with pytest.raises(ann.DataFileError, match=message):
        read_idx(path, 3)


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(GOOD) + bytes(200_000_000)))
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(ann.DataFileError, match="left over"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_what_is_no_file(tmp_path):
    with pytest.raises(ann.DataFileError, match="cannot be read"):
        read_idx(tmp_path, 3)
    for name in ("absent", "x" * 300):
        with pytest.raises(ann.DataFileError, match="no such data folder"):
            ann.load_dataset(tmp_path / name)
    with pytest.raises(ann.DataFileError, match=r"it holds no train-images-idx3-ubyte\.gz, nor"):
        ann.load_dataset(tmp_path)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ann.DataFileError, match="cannot be read: not a regular file"):
        ann.load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1", np.zeros(299, np.uint8), "299 labels for the 300 images"),
        ("t10k-labels-idx1", np.full(100, 10, np.uint8), "labels: expected labels from 0 to 9, got 10 at index 0"),
        ("t10k-images-idx3", np.zeros((100, 8, 7), np.uint8), "training images are 8 x 8 pixels, test images 8 x 7"),
        ("t10k-images-idx3", np.zeros(100, np.uint8), "1 dimensions, expected 3"),
    ],
)
def test_files_that_do_not_fit(small_data, name, array, message):
    (small_data / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
    with pytest.raises(ann.DataFileError, match=message):
        ann.load_dataset(small_data)


def test_a_file_in_place_of_a_folder(small_data):
    path = small_data / "t10k-labels-idx1-ubyte.gz"
    with pytest.raises(ann.DataFileError, match="this is a file; give the folder that holds the four IDX files"):
        ann.load_dataset(path)
