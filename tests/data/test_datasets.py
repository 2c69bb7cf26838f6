import gzip
import itertools
import os
import struct
import tracemalloc

import numpy as np
import pytest

import ann
from ann.data.idx import read_idx
from ann.training.checkpoint_file import read_checkpoint
from support import ROOT
from support.digits import idx_bytes, write_mnist_like


def test_mnist_is_as_its_readme_describes_it(mnist):
    assert mnist.train_images.shape == (60000, 28, 28)
    assert mnist.test_images.shape == (10000, 28, 28)
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
        (b"", "the file is empty, expected an IDX header of 16 bytes"),
        (idx_bytes(GOOD)[:15], "truncated: 15 bytes, expected an IDX header of 16"),
        (
            idx_bytes(GOOD)[:-1],
            r"truncated: 23 bytes of data, expected 24 for dimensions \[2, 3, 4\]",
        ),
        (idx_bytes(GOOD) + b"\0", "extra bytes after the data that its header announces"),
        (
            b"PK" + idx_bytes(GOOD)[2:],
            "begins with 50 4b, expected 00 00; this is a zip archive: unpack it",
        ),
        (b"<!DOCTYPE html><title>404</title>", "this is a web page: download the file again"),
        (b"version https://git-lfs.github.com/spec/v1", "run git lfs pull"),
        (b"GIF89a, a picture", "begins with 47 49, expected 00 00$"),
        (idx_bytes(GOOD, kind=13), "IDX type 0x0d, expected 0x08"),
        (struct.pack(">HBB4I", 0, 8, 4, 1, 2, 3, 4) + bytes(24), "4 dimensions, expected 3"),
        (
            struct.pack(">HBB3I", 0, 8, 3, 0, 3, 4),
            r"dimensions \[0, 3, 4\] are 0 bytes, expected 1 to",
        ),
        (
            struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3),
            "dimensions .* bytes, expected 1 to 1073741824",
        ),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_bad_idx_files(tmp_path, data, message, zipped):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ann.DataFileError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_message_about_any_folder_is_one_line(tmp_path):
    folder = tmp_path / "a\n\x1b[31mfolder"
    folder.mkdir()
    write_mnist_like(folder)
    labels = next(folder.glob("t10k-labels*"))
    for data in (
        b"no labels",
        idx_bytes(np.zeros(1, np.uint8)),
        idx_bytes(np.full(100, 77, np.uint8)),
    ):
        labels.write_bytes(data)
        with pytest.raises(ann.DataFileError, match="t10k-labels") as caught:
            ann.load_dataset(folder)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-8] + bytes(4) + data[-4:], "damaged gzip data: incorrect data check"),
        (lambda data: data[:-4] + bytes(4), "damaged gzip data: incorrect length check"),
        (lambda data: data[:-1], "truncated: the gzip checksum at its end is missing"),
        (lambda data: data[:30], "truncated"),
        (lambda data: data + b"x", "extra bytes after the gzip data"),
        (lambda data: data + data, "extra bytes after the data that its header announces"),
        (lambda data: data + data[:2], "truncated: the gzip checksum at its end is missing"),
        (lambda data: data + data[:1], "extra bytes after the gzip data"),
        (lambda data: data + bytes(100_000) + b"x", "extra bytes after the gzip data"),
        (lambda data: gzip.compress(data), "it was gzipped twice: run gunzip on it"),
        (
            lambda data: data[:10] + b"\xff" * 20 + data[30:],
            "damaged gzip data.*; download the file again$",
        ),
    ],
)
def test_bad_gzip(tmp_path, damage, message):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(GOOD), mtime=0)))
    with pytest.raises(ann.DataFileError, match=message):
        read_idx(path, 3)


@pytest.mark.parametrize("cuts", [(), (0,), (10,), (16,), (17, 30), range(1, 40), (40,)])
@pytest.mark.parametrize("padding", [0, 1, 100_000])
def test_gzip_members_in_a_row_are_one_file(tmp_path, cuts, padding):
    data, path = idx_bytes(GOOD), tmp_path / "images.gz"
    edges = [0, *cuts, len(data)]
    members = [gzip.compress(data[start:end]) for start, end in itertools.pairwise(edges)]
    path.write_bytes(b"".join(members) + bytes(padding))
    np.testing.assert_array_equal(read_idx(path, 3), GOOD)


def test_the_checksum_of_every_member_counts(tmp_path):
    data, path = idx_bytes(GOOD), tmp_path / "images.gz"
    first = gzip.compress(data[:20])
    path.write_bytes(first[:-8] + bytes(4) + first[-4:] + gzip.compress(data[20:]))
    with pytest.raises(ann.DataFileError, match=r"damaged gzip data: incorrect data check"):
        read_idx(path, 3)


@pytest.mark.parametrize("is_one_member", [True, False])
def test_a_bomb_is_not_unpacked(tmp_path, is_one_member):
    good, zeros = idx_bytes(GOOD), bytes(10**8)
    members = [good + zeros] if is_one_member else [good, zeros]
    path = tmp_path / "images.gz"
    path.write_bytes(b"".join(gzip.compress(member, 1) for member in members))
    tracemalloc.start()
    with pytest.raises(ann.DataFileError, match="extra bytes"):
        read_idx(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def _into_folders(folder, names):
    """Move each file into a folder with the same name, without the .gz."""
    for name in names:
        data = gzip.decompress((folder / name).read_bytes())
        (folder / name).unlink()
        name = name.removesuffix(".gz")
        (folder / name).mkdir()
        (folder / name / name).write_bytes(data)


def test_files_in_folders_of_their_own_names(small_data):
    expected = ann.load_dataset(small_data)
    names = sorted(path.name for path in small_data.iterdir())
    for count in (1, 3):  # some files, then all
        _into_folders(small_data, names[:count])
        names = names[count:]
        for name, array in ann.load_dataset(small_data).arrays().items():
            np.testing.assert_array_equal(array, getattr(expected, name))


def test_a_file_comes_before_a_folder_of_any_spelling(small_data):
    expected = ann.load_dataset(small_data)
    _into_folders(small_data, ["train-images-idx3-ubyte.gz"])
    inside = small_data / "train-images-idx3-ubyte" / "train-images-idx3-ubyte"
    (small_data / "train-images.idx3-ubyte").write_bytes(inside.read_bytes())
    inside.write_bytes(b"not this one")
    np.testing.assert_array_equal(ann.load_dataset(small_data).train_images, expected.train_images)


@pytest.mark.parametrize("mode", [0o000, 0o600])
@pytest.mark.parametrize(
    "place", [".", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz", ".."]
)
def test_files_without_read_permission(folder_without_root, mode, place):
    top = folder_without_root / "top"
    top.mkdir()
    folder = write_mnist_like(top / "data")
    _into_folders(folder, ["train-images-idx3-ubyte.gz"])
    locked = top if place == ".." else folder / place
    # reading needs 0o400 for a file, and also 0o100 for a folder
    locked.chmod(mode & 0o377 if locked.is_file() else mode)
    with pytest.raises(ann.DataFileError, match=rf"{folder}.*: cannot be read: Permission denied"):
        ann.load_dataset(folder)
    locked.chmod(0o700)
    ann.load_dataset(folder)


def test_links(small_data):
    path, aside = small_data / "t10k-labels-idx1-ubyte.gz", small_data / "aside"
    path.rename(aside)
    path.symlink_to(aside)
    ann.load_dataset(small_data)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(
        ann.DataFileError, match=f"{path}: this is a link to 'nowhere', which does not exist"
    ):
        ann.load_dataset(small_data)
    aside.rename(small_data / "t10k-labels.idx1-ubyte.gz")  # another spelling is there
    ann.load_dataset(small_data)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(
        ann.DataFileError, match=f"{path}: cannot be read: Too many levels of symbolic links"
    ):
        ann.load_dataset(small_data)


@pytest.mark.parametrize("name", ["TRAIN-IMAGES-IDX3-UBYTE.GZ", "train-images-idx3-ubyte.gz.gz"])
def test_a_similar_name_is_suggested(small_data, name):
    (small_data / "train-images-idx3-ubyte.gz").rename(small_data / name)
    if not (
        small_data / "train-images-idx3-ubyte.gz"
    ).exists():  # false if the file system ignores case
        with pytest.raises(
            ann.DataFileError, match=rf"it has no train-images.*; if {name} is that file, rename it"
        ):
            ann.load_dataset(small_data)


def test_images_and_labels_mixed_up(small_data):
    images, labels = (
        small_data / f"train-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1")
    )
    images.rename(small_data / "aside")
    labels.rename(images)
    (small_data / "aside").rename(labels)
    with pytest.raises(
        ann.DataFileError, match="1 dimensions, expected 3; images and labels are mixed up"
    ):
        ann.load_dataset(small_data)


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(ann.DataFileError, match="cannot be read"):
        read_idx(tmp_path, 3)
    for name in ("absent", "x" * 300):
        with pytest.raises(ann.DataFileError, match="no such data file or folder"):
            ann.load_dataset(tmp_path / name)
    with pytest.raises(ann.DataFileError, match="a folder without a data set in a known format"):
        ann.load_dataset(tmp_path)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ann.DataFileError, match="cannot be read: not a regular file"):
        ann.load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1", np.zeros(299, np.uint8), "299 labels for 300 images"),
        (
            "t10k-labels-idx1",
            np.full(100, 10, np.uint8),
            "labels: expected whole numbers from 0 to 9, got 10 at index 0",
        ),
        (
            "t10k-images-idx3",
            np.zeros((100, 8, 7), np.uint8),
            "training images have 8 x 8 pixels, test images 8 x 7",
        ),
        ("t10k-images-idx3", np.zeros(100, np.uint8), "1 dimensions, expected 3"),
    ],
)
def test_files_that_do_not_fit(small_data, name, array, message):
    (small_data / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
    with pytest.raises(ann.DataFileError, match=message):
        ann.load_dataset(small_data)


def test_a_misspelt_name_of_a_data_set():
    with pytest.raises(ann.DataFileError, match=r"kmnist; did you mean fashion-mnist\?$"):
        ann.load_dataset("fashion_mnist")


def test_a_file_in_place_of_a_folder(small_data):
    path = small_data / "t10k-labels-idx1-ubyte.gz"
    os.mkfifo(small_data / "pipe")
    with pytest.raises(ann.DataFileError, match="one of four IDX files: name the folder that"):
        ann.load_dataset(path)
    for place in (small_data / "pipe", "/dev/zero"):
        with pytest.raises(ann.DataFileError, match="cannot be read: not a regular file"):
            ann.load_dataset(place)
    with pytest.raises(ann.DataFileError, match="no such data file or folder"):
        ann.load_dataset(path / "through-a-file")


@pytest.mark.parametrize(
    "read",
    [
        lambda place: ann.load_dataset(place),
        lambda place: ann.load_model(place / "model.pickle"),
        lambda place: read_checkpoint(place / "checkpoint.npz"),
    ],
)
def test_errors_about_files_are_value_errors(tmp_path, read):
    """Like json.JSONDecodeError, so that callers need not know the exceptions of this package."""
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        read(tmp_path)
    assert isinstance(caught.value, ann.AnnError)


def test_class_names_are_a_list_but_not_a_string():
    images, labels = np.zeros((2, 4), dtype=np.uint8), [0, 1]
    for names in (["cat", "dog"], np.array(["cat", "dog"]), ("cat", "dog")):
        assert ann.Dataset(images, labels, images, labels, names).classes == ("cat", "dog")
    assert ann.Dataset(images, labels, images, labels).classes == ("0", "1")
    for wrong in ("ab", 2):
        with pytest.raises(ValueError, match=r"^classes: expected a list of names, got "):
            ann.Dataset(images, labels, images, labels, wrong)
