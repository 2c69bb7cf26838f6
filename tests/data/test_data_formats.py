"""Each format holds the same small data set, and gives the same arrays as the four IDX files."""

import dataclasses
import functools
import gzip
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import ann
import ann.data.catalog
from support.data_files import (
    csv_bytes,
    python2_pickle,
    three_pairs,
    write_csv,
    write_emnist,
    write_npz,
    write_parquet,
    write_pickle,
    write_pictures,
)
from support.digits import write_mnist_like

OURS = ("train_images", "train_labels", "test_images", "test_labels")
WRITERS = {
    "npz": write_npz,
    "npz, compressed": functools.partial(write_npz, save=np.savez_compressed),
    "npz, other names": functools.partial(write_npz, names=OURS),
    "csv": write_csv,
    "csv without a header": functools.partial(write_csv, header=False),
    "csv, gzipped": functools.partial(write_csv, zipped=True),
    "csv, semicolons": functools.partial(write_csv, mark=";"),
    "csv, tabs": functools.partial(write_csv, mark="\t", header=False),
    "csv of Windows": functools.partial(write_csv, end="\r\n"),
    "pickle of Python 2": functools.partial(write_pickle, protocol="Python 2"),
    **{
        f"pickle {number}": functools.partial(write_pickle, protocol=number)
        for number in (2, 3, 4, 5)
    },
    "parquet": write_parquet,
    "parquet, several files": functools.partial(write_parquet, parts=3),
    "csv, other names": functools.partial(write_csv, names=("train.csv", "test.csv")),
}


def assert_same(found, expected):
    for name, array in expected.arrays().items():
        other = getattr(found, name)
        assert other.dtype == np.uint8 and not other.flags.writeable
        np.testing.assert_array_equal(other, array)
    assert found.classes == expected.classes


@pytest.fixture
def data(small_data):
    return ann.load_dataset(small_data)


@pytest.mark.parametrize("form", WRITERS)
def test_each_format_holds_the_same(tmp_path, data, form):
    folder = tmp_path / "other"
    folder.mkdir()
    assert_same(ann.load_dataset(WRITERS[form](folder, data)), data)
    assert_same(ann.load_dataset(folder), data)  # the only data set in it


def test_either_file_of_a_pair_can_be_named(tmp_path, data):
    write_csv(tmp_path, data)
    for name in ("mnist_train.csv", "mnist_test.csv"):
        assert_same(ann.load_dataset(tmp_path / name), data)


@settings(max_examples=40, deadline=None)
@given(
    images=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(3), st.just(3))),
    seed=st.integers(0, 9),
    header=st.booleans(),
    mark=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_of_bytes(tmp_path_factory, images, seed, header, mark, end):
    folder = tmp_path_factory.mktemp("tables")
    labels = np.random.default_rng(seed).integers(0, 4, len(images)).astype(np.uint8)
    expected = ann.Dataset(images, labels, images, labels)
    found = ann.load_dataset(write_csv(folder, expected, header=header, mark=mark, end=end))
    np.testing.assert_array_equal(found.train_images, images)
    np.testing.assert_array_equal(found.test_labels, labels)
    assert len(found.classes) == labels.max() + 1


def test_labels_in_the_last_column(tmp_path, data):
    for part in ("train", "test"):
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        rows = np.column_stack([images.reshape(len(images), -1), labels]).tolist()
        lines = [
            ",".join([*(f"pixel{i}" for i in range(64)), "class"]),
            *(str(row)[1:-1] for row in rows),
        ]
        (tmp_path / f"{part}.csv").write_text("\n".join(lines))
    assert_same(ann.load_dataset(tmp_path), data)


def test_a_byte_order_mark_and_blank_lines(tmp_path, data):
    write_csv(tmp_path, data)
    path = tmp_path / "mnist_train.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\n\n", 3) + b"\n\n")
    assert_same(ann.load_dataset(path), data)


def test_training_images_alone(tmp_path, data):
    """Every seventh becomes a test image, with a warning."""
    path = tmp_path / "train.csv"
    path.write_bytes(csv_bytes(data.train_images, data.train_labels))
    message = r"train\.csv: it has no test images: every seventh of the 300 images becomes a"
    with pytest.warns(RuntimeWarning, match=message):
        found = ann.load_dataset(tmp_path)
    assert len(found.test_images) == 42 and len(found.train_images) == 258
    np.testing.assert_array_equal(found.test_images, data.train_images[6::7])
    np.testing.assert_array_equal(found.train_labels[:7], data.train_labels[[0, 1, 2, 3, 4, 5, 7]])
    path.write_bytes(csv_bytes(data.train_images[:6], data.train_labels[:6]))
    with pytest.raises(ann.DataFileError, match=r"no test images, and too few images \(6\)"):
        ann.load_dataset(path)


def test_test_images_without_labels(tmp_path, data):
    """As in Kaggle's competition, whose participants send in the labels."""
    table = csv_bytes(data.train_images, data.train_labels)
    (tmp_path / "train.csv").write_bytes(table)
    unlabelled = b"\n".join(line.partition(b",")[2] for line in table.split(b"\n"))
    (tmp_path / "test.csv").write_bytes(unlabelled)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    with pytest.warns(RuntimeWarning, match=r"test\.csv has no labels: every seventh of the 300"):
        assert len(ann.load_dataset(tmp_path).test_images) == 42
    with pytest.raises(ann.DataFileError, match="no labels found: put them into the first column"):
        (tmp_path / "train.csv").unlink()
        ann.load_dataset(tmp_path / "test.csv")


def test_several_data_sets_in_a_folder(tmp_path, data):
    write_csv(tmp_path, data)
    write_csv(tmp_path, data, names=("fashion_train.csv", "fashion_test.csv"))
    message = r"several data sets; name one of fashion_train\.csv, mnist_train\.csv"
    with pytest.raises(ann.DataFileError, match=message):
        ann.load_dataset(tmp_path)
    assert_same(ann.load_dataset(tmp_path / "fashion_train.csv"), data)


@pytest.mark.parametrize("classes", [2, 26, 256])
def test_the_number_of_classes_comes_from_the_data(tmp_path, data, classes):
    labels = np.arange(300) % classes
    labels[-100:] = classes - 1
    other = dataclasses.replace(data, train_labels=labels, test_labels=labels[:100], classes=())
    found = ann.load_dataset(write_npz(tmp_path, other))
    assert found.classes == other.classes == tuple(map(str, range(classes)))
    recipe = ann.Recipe(epochs=1, batch_size=50)
    assert recipe.network(found).output_dim == classes


@pytest.mark.parametrize(("divisor", "dtype"), [(255, "f4"), (256, "f4"), (255, "f8"), (1, "f4")])
def test_pixels_as_floats(tmp_path, data, divisor, dtype):
    divided = {
        name: (getattr(data, name) / divisor).astype(dtype)
        for name in ("train_images", "test_images")
    }
    other = dataclasses.replace(data, **divided, train_labels=data.train_labels.astype("f4"))
    assert_same(ann.load_dataset(write_npz(tmp_path, other)), data)


@pytest.mark.parametrize("shape", [(-1, 64), (-1, 8, 8, 1)])
def test_shapes_of_images(tmp_path, data, shape):
    reshaped = {
        name: getattr(data, name).reshape(shape) for name in ("train_images", "test_images")
    }
    assert_same(ann.load_dataset(write_npz(tmp_path, dataclasses.replace(data, **reshaped))), data)


def test_arrays_are_not_copied(tmp_path, data):
    """Images of uint8 are the array that was read from the file."""
    found = ann.load_dataset(write_npz(tmp_path, data))
    assert found.train_images.base is not None and not found.train_images.flags.owndata


def by_class(data):
    """The same data set, in the order in which folders of pictures are read."""
    orders = [np.argsort(labels, kind="stable") for labels in (data.train_labels, data.test_labels)]
    orders = np.repeat(np.array(orders, dtype=object), 2)
    arrays = {
        name: array[of] for (name, array), of in zip(data.arrays().items(), orders, strict=True)
    }
    return dataclasses.replace(data, **arrays)


@pytest.mark.parametrize(
    ("names", "suffix"),
    [(("train", "test"), ".png"), (("training", "Testing"), ".PNG"), (("train", "test"), ".bmp")],
)
def test_a_folder_of_pictures_for_each_class(tmp_path, data, names, suffix):
    write_pictures(tmp_path, data, *names, suffix)
    calls = []
    found = ann.load_dataset(tmp_path, lambda *call: calls.append(call))
    assert_same(found, by_class(data))
    for name, count in zip(names, (300, 100), strict=True):
        assert [call for call in calls if call[0] == str(tmp_path / name)][-1][1:] == (
            count,
            count,
            " pictures",
        )


def test_names_of_folders_are_the_classes(tmp_path, data):
    """Numbers come first, then words; hidden folders and other files are ignored."""
    names = ("0", "2", "10", "ant", "bee", "cow", "dog", "eel", "fox", "gnu")
    write_pictures(tmp_path, dataclasses.replace(data, classes=names))
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no picture")
    found = ann.load_dataset(tmp_path)
    assert found.classes == names
    np.testing.assert_array_equal(found.train_labels, np.sort(data.train_labels))


def test_a_folder_with_a_phone_s_picture(tmp_path, data):
    """Its format is unknown: the error says what to do, and the picture is not left out
    silently.
    """
    write_pictures(tmp_path, data)
    path = tmp_path / "train" / "0" / "phone.heic"
    path.write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0")
    with pytest.raises(ann.DataFileError, match=f"{path}: a HEIC or AVIF .*: save it as JPEG"):
        ann.load_dataset(tmp_path)


def test_pictures_without_test_pictures(tmp_path, data):
    write_pictures(tmp_path, data)
    with pytest.warns(RuntimeWarning, match="no test images: every seventh of the 300 images"):
        found = ann.load_dataset(tmp_path / "train")
    assert len(found.test_images) == 42 and set(found.test_labels) == set(range(10))


@pytest.mark.parametrize("place", ["MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"])
def test_the_folders_of_torchvision(tmp_path, data, place):
    names = {
        "F": ann.data.catalog.SOURCES["fashion-mnist"].classes,
        "K": ann.data.catalog.SOURCES["kmnist"].classes,
    }
    (tmp_path / place).mkdir(parents=True)
    write_mnist_like(tmp_path / place)
    for folder in (tmp_path, tmp_path / place.split("/")[0], tmp_path / place):
        found = ann.load_dataset(folder)
        assert_same(found, dataclasses.replace(data, classes=names.get(place[0], data.classes)))


def test_a_folder_with_any_other_raw_folder(tmp_path, data):
    (tmp_path / "raw").mkdir()
    assert_same(ann.load_dataset(write_npz(tmp_path, data).parent), data)


def test_several_data_sets_of_torchvision(tmp_path):
    for name in ("MNIST", "FashionMNIST"):
        (tmp_path / name).mkdir()
        write_mnist_like(tmp_path / name / "raw")
    with pytest.raises(
        ann.DataFileError, match=r"several data sets; name one of .*/MNIST, .*/FashionMNIST"
    ):
        ann.load_dataset(tmp_path)


@pytest.mark.parametrize("place", ["", "gzip", "raw", "EMNIST/raw"])
def test_emnist(tmp_path, data, place):
    """The images are upright, and the labels are characters."""
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    write_emnist(folder, data, "letters", first=1)
    expected = dataclasses.replace(data, classes=tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assert_same(ann.load_dataset(tmp_path), expected)


def test_emnist_with_a_mapping(tmp_path, data):
    codes = "".join(
        f"{label} {ord(character)}\n" for label, character in enumerate("07Aaqrtxyz", 1)
    )
    write_emnist(tmp_path, data, "letters", first=1, mapping=codes)
    assert ann.load_dataset(tmp_path).classes == tuple("07Aaqrtxyz")
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n3 66 98\n")
    with pytest.raises(ann.DataFileError, match=r"label \d+ is not in the mapping file"):
        ann.load_dataset(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_tables_of_emnist(tmp_path, data, zipped):
    """Their images are transposed as well."""
    parts = {
        name: array.transpose(0, 2, 1) if array.ndim == 3 else array
        for name, array in data.arrays().items()
    }
    names = ("emnist-balanced-train.csv", "emnist-balanced-test.csv")
    write_csv(tmp_path, dataclasses.replace(data, **parts), zipped, names, header=False)
    found = ann.load_dataset(tmp_path)
    assert len(found.classes) == 47
    assert_same(found, dataclasses.replace(data, classes=found.classes))


def test_parts_of_emnist(tmp_path, data):
    counts = {"byclass": 62, "bymerge": 47, "balanced": 47, "digits": 10, "mnist": 10}
    for part in counts:
        write_emnist(tmp_path, data, part)
    with pytest.raises(
        ann.DataFileError, match=r"several versions of EMNIST; name one of their files"
    ):
        ann.load_dataset(tmp_path)
    for part, count in counts.items():
        found = ann.load_dataset(tmp_path / f"emnist-{part}-train-images-idx3-ubyte")
        assert len(found.classes) == len(set(found.classes)) == count
        assert_same(found, dataclasses.replace(data, classes=found.classes))


def test_a_pickle_of_python_2_is_what_numpy_reads(data):
    pairs = three_pairs(data)
    found = pickle.loads(python2_pickle(pairs), encoding="latin1")
    for pair, other in zip(pairs, found, strict=True):
        np.testing.assert_array_equal(pair[0], other[0])
        np.testing.assert_array_equal(pair[1], other[1])


def test_class_names_in_parquet(tmp_path, data):
    names = tuple("abcdefghij")
    assert ann.load_dataset(write_parquet(tmp_path, data, names=names)).classes == names


@pytest.mark.parametrize("name", ["train-00000-of-00002.parquet", "test-00000-of-00002.parquet"])
def test_any_file_of_a_parquet_data_set_can_be_named(tmp_path, data, name):
    assert_same(ann.load_dataset(write_parquet(tmp_path, data, parts=2) / name), data)


def test_parquet_in_the_folder_of_a_repository(tmp_path, data):
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data", data)
    assert_same(ann.load_dataset(tmp_path), data)


@pytest.mark.parametrize(
    ("start", "lines"),
    [
        (b"\x89HDF\r\n\x1a\n", "h5py.File"),
        (b"MATLAB 5.0 MAT-file", "scipy.io.loadmat"),
        (b"MATLAB 7.3 MAT-file", "h5py.File"),
    ],
)
def test_files_to_convert(tmp_path, start, lines):
    path = tmp_path / "mnist.data"
    path.write_bytes(start + bytes(1000))
    message = (
        rf"convert it to npz.*: f = {lines}\('mnist.data'\); numpy.savez\('mnist.npz', x_train="
    )
    with pytest.raises(ann.DataFileError, match=message):
        ann.load_dataset(path)


def test_gzipped_twice(tmp_path, data):
    path = tmp_path / "train.csv.gz"
    table = csv_bytes(data.train_images, data.train_labels)
    path.write_bytes(gzip.compress(gzip.compress(table)))
    with pytest.raises(ann.DataFileError, match="gzipped twice"):
        ann.load_dataset(path)


def test_test_images_do_not_become_training_images(tmp_path, data):
    """Even if the training images have other names."""
    path = write_npz(tmp_path, data, names=("images", "labels", "x_test", "y_test"))
    with pytest.raises(ann.DataFileError, match="expected arrays x_train, y_train, x_test"):
        ann.load_dataset(path)
