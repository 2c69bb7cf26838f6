"""The program that writes reports: the contents of the page, and files that it refuses."""

import base64
import re

import numpy as np
import pytest

import ann
from support.digits import write_mnist_like
from support.programs import FAST, run

pytestmark = pytest.mark.slow

TITLES = (
    "Confusion matrix",
    "Most confident mistakes",
    "First-layer weights",
    "Ideal inputs",
    "Calibration",
    "Robustness",
    "Doubtful labels",
)


@pytest.fixture
def few(tmp_path):
    """Fewer images, so that drawing them is quick."""
    return write_mnist_like(tmp_path / "few", train=20, test=5)


def titles(page):
    return tuple(re.findall(r"<h2[^>]*>([^<]*)</h2>", page))


def test_the_report_of_a_run(tmp_path, small_data):
    run("train", "--data", small_data, *FAST, "--validation", 60, "--run", "r", cwd=tmp_path)
    out, _ = run("report", "r", "--data", small_data, "--output", "p.html", cwd=tmp_path)
    assert out.startswith(f"saved {tmp_path / 'p.html'}, ") and out.endswith(
        ": open it in a browser\n"
    )
    page = (tmp_path / "p.html").read_text()
    assert titles(page) == ("Learning curves", *TITLES)
    pictures = re.findall(r'<img [^>]*alt="[^"]+" src="data:image/png;base64,([^"]+)"/?>', page)
    assert len(pictures) >= 6
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert (
        not re.search(r'(src|href)="(?!data:|#)', page) and "<script" not in page
    )  # it needs nothing else
    net, data = ann.load_model(tmp_path / "r/model.pickle"), ann.load_dataset(small_data)
    wrong = (net.predict(data.test_images) != data.test_labels).sum()
    assert f"{wrong} of {len(data.test_labels)} test images are wrong" in page


def test_the_report_of_a_model(tmp_path, few):
    run("train", "--data", few, *FAST, cwd=tmp_path)
    run("report", "--data", few, cwd=tmp_path)
    assert titles((tmp_path / "report.html").read_text()) == TITLES


def test_the_report_of_a_committee_with_markup_in_its_name(tmp_path, few):
    path = tmp_path / "<b>&amp;.pickle"
    layers = ann.Recipe(hidden=(7,), output_activation="softmax").layer_list(64, 12)
    ann.NeuralNetwork(layers, seed=3, committee=2).save(path)
    run("report", path, "--data", few, "--device", "cpu", cwd=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert titles(page) == TITLES
    assert "<b>" not in page and "&lt;b&gt;&amp;amp;.pickle" in page


@pytest.mark.parametrize(
    ("filters", "shown", "committee"),
    [(3, "", 1), (70, ", of which 64 are shown", 2)],
)
def test_the_report_of_a_network_with_convolution(tmp_path, few, filters, shown, committee):
    hidden = (f"conv{filters}x3", "pool2", "conv5x2", 7)
    layers = ann.Recipe(hidden=hidden, output_activation="softmax").layer_list(64, 10)
    ann.NeuralNetwork(layers, committee=committee).save(tmp_path / "m.pickle")
    run("report", "m.pickle", "--data", few, "--device", "cpu", cwd=tmp_path)
    page = (tmp_path / "report.html").read_text()
    before, after = TITLES[:2], TITLES[3:]
    assert titles(page) == (*before, "First-layer kernels", "Feature maps", *after)
    assert re.findall(r"<h3>(.*)</h3>\n<img", page) == [
        f"Layer 1: {filters} filters{shown}",
        "Layer 3: 5 filters",
    ]
    member = " of the first member" if committee > 1 else ""
    assert f"The {filters} kernels of the first convolution{member}{shown}. " in page


def test_the_report_of_a_network_without_mistakes(tmp_path, small_data):
    """If there is nothing to show, a sentence explains it."""
    data = ann.load_dataset(small_data)
    net = ann.NeuralNetwork(ann.Recipe(hidden=(64,)).layer_list(64, 10), seed=1)
    whole = ann.Dataset(
        np.concatenate([data.train_images, data.test_images]),
        np.concatenate([data.train_labels, data.test_labels]),
        data.test_images,
        data.test_labels,
    )
    ann.fit(net, whole, ann.Recipe(hidden=(64,), batch_size=50, epochs=60, weight_decay=0.0))
    assert (net.predict(whole.train_images) == whole.train_labels).all()
    net.save(tmp_path / "m.pickle")
    run("report", "m.pickle", "--data", small_data, cwd=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<p>There are none.</p>") == 2  # mistakes, and doubted labels


def test_the_report_of_few_classes_with_negative_outputs(tmp_path):
    """Only the labels 0 to 2, and the quadratic loss."""
    write_mnist_like(tmp_path / "three", train=6, test=5, classes=3)
    layers = ann.Recipe(
        hidden=(7,), activation="tanh", output_activation="tanh", loss="quadratic"
    ).layer_list(64, 3)
    ann.NeuralNetwork(layers, "quadratic", seed=3).save(tmp_path / "m.pickle")
    run("report", "m.pickle", "--data", "three", "--device", "cpu", cwd=tmp_path)
    assert titles((tmp_path / "report.html").read_text()) == TITLES


def test_the_report_of_many_classes(tmp_path, few):
    for outputs, code in ((300, 0), (1001, 1)):
        ann.NeuralNetwork(ann.Recipe(hidden=()).layer_list(64, outputs)).save(tmp_path / "m.pickle")
        _, error = run("report m.pickle --device cpu", "--data", few, cwd=tmp_path, code=code)
        assert ("m.pickle: it has 1001 outputs, and a report is for up to 1000" in error) == bool(
            code
        )
    assert "For each class of the first 20 an image" in (tmp_path / "report.html").read_text()


def test_the_report_of_a_run_without_checkpoint_or_end(tmp_path, few):
    run("train", "--data", few, *FAST, "--run", "r", cwd=tmp_path)
    (tmp_path / "r/checkpoint.npz").write_bytes(b"lost")
    warning = "warning: no learning curves: r/"
    _, error = run("report r", "--data", few, cwd=tmp_path, complaint=warning)
    assert titles((tmp_path / "report.html").read_text()) == TITLES and len(error.splitlines()) == 1
    (tmp_path / "r/model.pickle").unlink()
    _, error = run("report", "r", "--data", few, cwd=tmp_path, code=1)
    assert error.endswith(
        "so no training was finished in it\n"
    )  # --resume would refuse the damaged checkpoint
    (tmp_path / "r/checkpoint.npz").unlink()
    _, error = run("report", "r", "--data", few, cwd=tmp_path, code=1)
    assert re.search("so no training was finished in it; resume it: .*train.py --resume r$", error)


def test_bad_sources(tmp_path, small_data):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no model")
    data = ["--data", small_data]
    for source, complaint in (
        (
            "empty",
            "error: empty: this folder holds no model.pickle, so no training was finished in it",
        ),
        ("text", "error: text: not a model file of this program"),
        ("nowhere", "error: nowhere: no such model file"),
    ):
        _, error = run("report", source, *data, cwd=tmp_path, code=1)
        assert error.startswith(complaint)
    ann.NeuralNetwork(ann.Recipe().layer_list(784, 10)).save(tmp_path / "large.pickle")
    _, error = run("report", "large.pickle", *data, cwd=tmp_path, code=1)
    assert "images of 64 pixels; large.pickle takes 784" in error
    _, error = run("report", "large.pickle", "--output", "nowhere/x.html", cwd=tmp_path, code=1)
    assert error.startswith("error: nowhere")
    assert not (tmp_path / "report.html").exists()
