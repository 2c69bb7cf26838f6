"""The programs with users' own data: other formats, numbers of classes and class names."""

import json

import pytest

import ann
from support.data_files import write_csv, write_emnist, write_npz, write_pictures
from support.digits import write_mnist_like
from support.programs import run

pytestmark = pytest.mark.slow

NAMES = ("ant", "bee", "cow")
TRAIN = ["--hidden", "8", "--epochs", 2, "--batch-size", 20, "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with pictures of three classes and a network trained on them."""
    place = tmp_path_factory.mktemp("formats")
    data = ann.load_dataset(write_mnist_like(place / "idx", classes=3))
    named = ann.Dataset(*data.arrays().values(), classes=NAMES)
    write_pictures(place / "pictures", named)
    out, error = run("train", "--data", "pictures", *TRAIN, "--output", "three.pickle", cwd=place)
    assert "network 64-8-3," in out and not error
    return place


def test_a_network_knows_its_classes(folder):
    net = ann.load_model(folder / "three.pickle")
    assert net.classes == NAMES and net.recipe["classes"] == list(NAMES)
    joined = ann.committee_of([net, net])
    joined.save(folder / "joined.pickle")
    assert ann.load_model(folder / "joined.pickle").classes == NAMES


def test_programs_show_class_names(folder):
    model = ["--model", "three.pickle"]
    out, _ = run("test", "--data", "pictures", *model, "--device", "cpu", cwd=folder)
    assert "rows: true class, columns: predicted class" in out and " ant  " in out
    out, _ = run("try_loader", "--data", "pictures", cwd=folder)
    assert "3 classes: ant, bee, cow" in out and "bee" in out
    run("export", *model, "--to", "page.html", cwd=folder)
    page = (folder / "page.html").read_text()
    assert f'"classes": {json.dumps(list(NAMES))}' in page and "Draw something" in page


def test_one_image_is_not_one_images(folder, tmp_path):
    data = ann.load_dataset(folder / "pictures")
    one = [*list(data.arrays().values())[:2], data.test_images[:1], data.test_labels[:1]]
    path = write_npz(tmp_path, ann.Dataset(*one))
    out, _ = run("test", "--data", path, "--model", "three.pickle", "--device", "cpu", cwd=folder)
    assert ": 1 test image\n" in out
    out, _ = run("try_loader", "--data", path, cwd=folder)
    assert "test: 1 image of 8 x 8 pixels" in out


def test_many_classes(tmp_path):
    """With EMNIST's 47 classes, the table of errors stays narrow."""
    data = ann.load_dataset(write_mnist_like(tmp_path / "idx"))
    write_emnist(tmp_path, data)
    emnist = tmp_path / "emnist-balanced-train-images-idx3-ubyte"
    out, _ = run("train", "--data", emnist, *TRAIN, cwd=tmp_path)
    assert "network 64-8-47," in out
    out, _ = run("test", "--data", emnist, "--device", "cpu", cwd=tmp_path)
    assert "each true class, and the class that it was most often mistaken for" in out
    table = out.partition("mistaken for\n")[2].partition("\n\n")[0].splitlines()
    assert len(table) == 48 and max(map(len, table)) < 80


def test_training_images_alone_are_split_with_a_warning(tmp_path):
    data = ann.load_dataset(write_mnist_like(tmp_path / "idx"))
    write_csv(tmp_path, data, names=("train.csv", "other.csv"))
    (tmp_path / "other.csv").unlink()
    warning = "warning: train.csv: it has no test images: every seventh of the 300 images becomes"
    for program, flags in (("train", TRAIN), ("test", ["--device", "cpu"])):
        _, error = run(program, "--data", "train.csv", *flags, cwd=tmp_path, complaint=warning)
        assert error.count("\n") == 1


def test_the_label_of_a_class_that_the_model_does_not_have(folder, tmp_path):
    data = write_mnist_like(tmp_path / "ten")
    _, error = run("test", "--data", data, "--model", folder / "three.pickle", cwd=tmp_path, code=1)
    assert "labels up to 9" in error and "has 3 outputs" in error
