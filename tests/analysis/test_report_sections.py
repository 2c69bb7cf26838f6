"""The report as a function, as a notebook calls it; tests/programs tests the whole page."""

import re

import pytest

import ann
from ann.analysis.report import report
from support import optional

optional("matplotlib")
optional("scipy")


@pytest.mark.slow
def test_a_page_from_python(small_data):
    dataset = ann.load_dataset(small_data)
    recipe = ann.Recipe(hidden=(8,), epochs=2, batch_size=50)
    net = ann.NeuralNetwork(recipe.layer_list(64, 10), seed=1)
    epochs = ann.fit(net, dataset, recipe)
    made = []

    def progress(makers):
        for make in makers:
            made.append(make)
            yield make

    page = report(net, dataset, "<mine>", epochs, progress)
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert titles[:2] == ["Learning curves", "Confusion matrix"] and len(titles) == len(made) == 8
    assert "<title>Report on &lt;mine&gt;</title>" in page and "<mine>" not in page
    assert f"<dt>parameters</dt><dd>{net.parameters.size:,}</dd>" in page


def test_a_network_that_does_not_fit(small_data):
    dataset = ann.load_dataset(small_data)
    layers = [{"input_dim": 9, "output_dim": 10, "activation": "sigmoid"}]
    with pytest.raises(ValueError, match=r"expected shape \(N, 9\)"):
        report(ann.NeuralNetwork(layers), dataset)
    layers = [{"input_dim": 64, "output_dim": 1001, "activation": "sigmoid"}]
    with pytest.raises(ValueError, match=r"mine: it has 1001 outputs, and .* up to 1000"):
        report(ann.NeuralNetwork(layers), dataset, "mine")
    layers = [{"input_dim": 64, "output_dim": 5, "activation": "sigmoid"}]
    with pytest.raises(ValueError, match="labels: expected labels from 0 to 4, got"):
        report(ann.NeuralNetwork(layers), dataset)
