"""The programs with convolutional networks: training, committees, descriptions and wrong shapes."""

import gzip
import json

import numpy as np
import pytest

import ann
from support.digits import idx_bytes, write_mnist_like
from support.pictures import CONV_LIST
from support.programs import run

pytestmark = pytest.mark.slow

LAYERS = ["--hidden", "conv4x3,pool2,8", "--activation", "relu", "--epochs", 2, "--batch-size", 20]
NETWORK = "8x8-conv4x3-pool2-8-10"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data, and two models trained on them and joined."""
    place = tmp_path_factory.mktemp("pictures")
    data = ["--data", write_mnist_like(place / "small"), "--device", "cpu"]
    for seed in (0, 1):
        out, _ = run(
            "train", *data, *LAYERS, "--seed", seed, "--output", f"{seed}.pickle", cwd=place
        )
        assert f"network {NETWORK}, 426 parameters, seed {seed}" in out
        assert "--hidden conv4x3,pool2,8" in out
    run("join", "0.pickle", "1.pickle", "--output", "both.pickle", cwd=place)
    return place


@pytest.fixture
def wide(tmp_path):
    """Data with images of 4 x 16 pixels, as many as in 8 x 8."""
    data = write_mnist_like(tmp_path / "wide")
    dataset = ann.load_dataset(data)
    for name, images in (("train", dataset.train_images), ("t10k", dataset.test_images)):
        contents = gzip.compress(idx_bytes(images.reshape(-1, 4, 16)))
        (data / f"{name}-images-idx3-ubyte.gz").write_bytes(contents)
    return data


def test_a_committee_is_tested_like_its_members(folder):
    def result(model, *flags):
        words = "--data", "small", "--device", "cpu", "--json", "--model", f"{model}.pickle"
        return json.loads(run("test", *words, *flags, cwd=folder)[0])

    both = result("both", "--report-members")
    assert both["members"] == [result(0)["wrong"], result(1)["wrong"]]
    comparison = result(0, "--compare", "both.pickle")["comparison"]
    assert comparison["wrong_other"] == both["wrong"]


def test_doctor_describes_the_layers(folder):
    single, both = (
        run("doctor", "--model", f"{name}.pickle", cwd=folder)[0] for name in ("0", "both")
    )
    assert f"network   {NETWORK}, relu, relu, sigmoid\n" in single
    assert f"network   committee of 2, each {NETWORK}, relu, relu, sigmoid\n" in both
    assert "numbers   426, " in single and "numbers   852, " in both


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("conv4x9,8", "layer 1: kernel 9 is larger than its image, 8x8"),
        ("conv4x3,pool4,8", "layer 2: size 4 does not divide its image, 4x6x6"),
        ("8,conv4x3", "layer 2: conv2d needs pictures, but layer 1 is dense"),
        ("conv0x3,8", "layer 1: filters: expected a whole number of at least 1, got 0"),
    ],
)
def test_layers_that_do_not_fit(folder, hidden, message):
    flags = "--data", "small", "--device", "cpu", "--hidden", hidden, "--output", "no.pickle"
    _, error = run("train", *flags, cwd=folder, code=1)
    assert error.startswith(f"error: {message}")
    assert not (folder / "no.pickle").exists()


def test_images_of_another_shape(folder, wide):
    on_wide = "--data", wide, "--device", "cpu"
    run("train", *on_wide, *LAYERS, "--output", "4x16.pickle", cwd=folder, complaint=None)
    run("test", *on_wide, "--model", "4x16.pickle", cwd=folder, complaint=None)
    for data, model, message in (
        (wide, "0.pickle", f"{wide}: images of 4x16 pixels; 0.pickle takes 8x8"),
        ("small", "4x16.pickle", "small: images of 8x8 pixels; 4x16.pickle takes 4x16"),
    ):
        flags = "--data", data, "--device", "cpu", "--model", model
        assert message in run("test", *flags, cwd=folder, code=1)[1]
    words = "0.pickle", "4x16.pickle", "--output", "no.pickle"
    _, error = run("join", *words, cwd=folder, code=1)
    assert "network 2: its layers differ from network 1's: " in error
    assert "4x16 -> conv4x3" in error and "8x8 -> conv4x3" in error


@pytest.mark.parametrize("shape", [[4, 16], [4, 4, 4]])
def test_predict_needs_one_square_channel(tmp_path, shape):
    layers = [{**CONV_LIST[0], "input_shape": shape}, CONV_LIST[-1]]
    ann.NeuralNetwork(layers).save(tmp_path / "x.pickle")
    _, error = run("predict", "--model", "x.pickle", "x.png", cwd=tmp_path, code=1)
    assert "x.pickle: this model does not classify square images" in error


def test_predict_reads_pictures(folder):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("scipy")
    pixels = np.full((60, 60), 255, np.uint8)
    pixels[15:45, 28:33] = 0
    image.fromarray(pixels).save(folder / "one.png")
    out, _ = run("predict", "--model", "both.pickle", "--json", "one.png", cwd=folder)
    (answer,) = json.loads(out)
    assert answer["label"] in [str(digit) for digit in range(10)]
