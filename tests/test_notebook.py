"""Displays in notebooks: networks, data sets and reports as HTML; and the tutorial."""

import base64
import dataclasses
import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import ann
from ann.analysis.figures import pyplot
from ann.neural_network import Evaluation
from ann.nn.activations import ACTIVATIONS
from support import ROOT, optional

TUTORIAL = ROOT / "scripts/tutorial.ipynb"
DIGITS = ann.Dataset(
    np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5), [1, 0, 2, 11], [], [], ("<b>", "&", "c")
)


def shown(thing):
    """Its HTML, parsed: everything is escaped, and every element is closed."""
    return ElementTree.fromstring(f"<div>{thing._repr_html_()}</div>")


def texts(tree, tag):
    return ["".join(element.itertext()) for element in tree.iter(tag)]


def test_a_data_set_is_a_sheet_of_images_and_labels():
    tree = shown(DIGITS)
    assert texts(tree, "p") == ["Dataset of 4 training and 0 test images"]
    assert texts(tree, "figcaption") == ["&", "<b>", "c", "11"]
    image = optional("PIL.Image")
    for element, pixels in zip(tree.iter("img"), DIGITS.train_images, strict=True):
        data = base64.b64decode(element.get("src").removeprefix("data:image/png;base64,"))
        np.testing.assert_array_equal(np.array(image.open(io.BytesIO(data))), pixels)


@pytest.mark.parametrize(
    ("images", "labels", "captions"),
    [
        (np.full((2, 3, 3), np.nan), np.eye(3)[:2], ["<b>", "&"]),  # floats and target rows
        (DIGITS.train_images.tolist(), [0, 0, 0, 0], ["<b>"] * 4),
        (np.zeros((2, 9)), [0, 1], []),  # no pictures
        (np.zeros((2, 3, 3)), np.full((2, 3), 0.5), []),  # no classes
        (np.zeros((2, 3, 3)), [0], []),  # too few labels
    ],
)
def test_data_sets_of_other_arrays(images, labels, captions):
    tree = shown(dataclasses.replace(DIGITS, train_images=images, train_labels=labels))
    assert texts(tree, "figcaption") == captions


def test_a_network_is_a_table_of_its_layers():
    recipe = ann.Recipe(hidden=("conv8x5", "pool2", 64), activation="relu")
    tree = shown(ann.NeuralNetwork(recipe.layer_list(784, 10), committee=2))
    (title,) = texts(tree, "p")
    assert title.startswith("committee of 2 NeuralNetworks: 2 x 74,650 parameters")
    assert [texts(row, "td") for row in tree.iter("tr")][1:] == [
        ["inputs", "28x28", "", ""],
        ["conv8x5", "8x24x24", "relu", "208"],
        ["pool2", "8x12x12", "", "0"],
        ["dense", "64", "relu", "73,792"],
        ["dense", "10", "sigmoid", "650"],
    ]


def test_reports_are_curves():
    assert texts(shown(ann.EpochReports()), "p") == ["no epochs yet"]
    losses = (1.0, 0.5, 0.0)
    reports = ann.EpochReports(
        ann.EpochReport(epoch, 9, loss, 0.1, 1.0, 1.0, Evaluation(2 * loss, 3, 60))
        for epoch, loss in enumerate(losses, start=1)
    )
    tree = shown(reports)
    training, validation = (
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in tree.iter("polyline")
    )
    for curve in (training, validation):
        xs, ys = zip(*curve, strict=True)
        assert list(xs) == sorted(xs) and xs[-1] < 200  # the axis is for 9 epochs
        assert list(ys) == sorted(ys)  # SVG's y axis points downwards
    assert all(
        above < below for (_, above), (_, below) in zip(validation[:2], training[:2], strict=True)
    )
    assert texts(tree, "p") == [str(reports[-1])]
    overflowed = dataclasses.replace(reports[0], validation=Evaluation(np.inf, 3, 60))
    assert len(list(shown(ann.EpochReports([overflowed])).iter("polyline"))) == 1


def test_the_tutorial_is_stored_without_outputs():
    cells = json.loads(TUTORIAL.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    text = "".join(line for cell in cells for line in cell["source"])
    links = re.findall(r"\]\(([^)#]+)", text)
    assert len(links) == 3 and all((TUTORIAL.parent / link).exists() for link in links)


FEW = """
import dataclasses
mnist = ann.load_dataset("mnist")
few = {"train_images": mnist.train_images[:1500], "train_labels": mnist.train_labels[:1500]}
ann.load_dataset = lambda name: dataclasses.replace(mnist, **few)
"""


def shortened(source):
    """The code of a cell, changed to few images and one epoch."""
    source = source.replace("epochs=8", "epochs=1").replace("10_000", "300")
    return source + FEW if "import ann\n" in source else source


class Display:
    """What IPython's display returns."""

    def update(self, thing):
        self.shown = shown(thing)


@pytest.mark.slow
def test_the_tutorial_runs_on_every_device(backend, monkeypatch, capsys):
    """Only the name of the device changes."""
    optional("matplotlib")
    optional("tqdm")
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "18")
    monkeypatch.setattr(ann, "load_dataset", ann.load_dataset)
    monkeypatch.setitem(ACTIVATIONS, "softsign", None)
    display = Display()
    names = {"display": lambda thing, display_id: display, "chosen": backend}
    for cell in json.loads(TUTORIAL.read_text())["cells"]:
        if cell["cell_type"] == "code":
            code = shortened("".join(cell["source"])).replace('device = "cpu"', "device = chosen")
            exec(compile(code, "tutorial.ipynb", "exec"), names)
    pyplot().close("all")
    assert len(texts(display.shown, "svg")) == 1
    assert names["three"].backend is backend
    assert "together: " in capsys.readouterr().out


@pytest.mark.slow
def test_the_tutorial_runs_in_a_kernel(monkeypatch):
    """Cell by cell, as for a reader."""
    nbclient, nbformat = optional("nbclient"), optional("nbformat")
    optional("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # set by the tests
    notebook = nbformat.read(TUTORIAL, as_version=4)
    for cell in notebook.cells:
        cell.source = shortened(cell.source)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": ROOT}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    html = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len([text for text in html if "<svg" in text]) == 3  # the first one is updated
    assert any("<table" in text for text in html) and any("<figure" in text for text in html)
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) == 3  # each once
    assert "together: " in outputs[-1].text
