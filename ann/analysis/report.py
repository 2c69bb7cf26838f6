"""A report on a trained network: one HTML page of figures that opens in any browser.

    page = report(network, ann.load_dataset("mnist"))
    Path("report.html").write_text(page, encoding="utf-8")

It needs matplotlib and SciPy (the extra ``report``).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ann.analysis import inspection, metrics
from ann.analysis.figures import (
    MOST_MAPS,
    figure_as_html,
    figure_of_calibration,
    figure_of_confusion,
    figure_of_curves,
    figure_of_maps,
    figure_of_robustness,
)
from ann.analysis.html_page import Section, html_page
from ann.analysis.test_result import TestResult
from ann.data.catalog import class_names
from ann.data.datasets import Dataset
from ann.data.sheet import sheet
from ann.neural_network import NeuralNetwork
from ann.training.report import EpochReport

_MAX_CLASSES = 1000  # of a network that gets a report
_MISTAKES = 40  # that are shown
_IDEAL_INPUTS = 20
_DOUBTFUL = 8  # training images
_NEIGHBOURS = 4  # of each of them
_NONE = "<p>There are none.</p>"
_CHANGED = 2000  # test images that are changed to measure robustness


def report(
    network: NeuralNetwork,
    dataset: Dataset,
    name: str = "a network",
    epochs: Sequence[EpochReport] = (),
    progress: Callable[[list[Any]], Iterable[Any]] = list,
    data: str = "a data set",
) -> str:
    """The report as HTML.

    Args:
        network: up to 1,000 outputs.
        dataset: its test images are the ones that the report is about.
        name: of the network, for the title and for error messages.
        epochs: what ``ann.fit`` returned, for the learning curves.
        progress: wraps the list of section makers, as ``tqdm`` does, to show how many are done.
        data: the name of the data set.

    Raises:
        ImportError: matplotlib or SciPy is not installed.
        ValueError: there are too many outputs, or the data set does not fit the network.
    """
    if network.output_dim > _MAX_CLASSES:
        limit = f"{network.output_dim} outputs, and a report is for up to {_MAX_CLASSES}"
        raise ValueError(f"{name}: it has {limit}")
    changes = inspection.changes()  # an error about SciPy comes before the work
    outputs = network.apply(dataset.test_images)
    names = class_names(dataset.classes, network.output_dim)
    result = TestResult(dataset.test_labels, outputs, names)
    tested = _Tested(network, dataset, result, epochs, changes)
    curves = [_curves] if epochs else []
    maps = [_feature_maps] if _has_convolution(network) else []
    makers = [*curves, _confusion, _mistakes, _weights, *maps, _ideal_inputs, _calibration]
    makers += [_robustness, _doubtful_labels]
    sections = [make(tested) for make in progress(makers)]
    recipe = [f"{key} {value}" for key, value in (network.recipe or {}).items() if value]
    height, width = dataset.test_images.shape[1:]
    train, test = len(dataset.train_images), len(dataset.test_images)
    accuracy = 100 * (result.total - result.wrong) / result.total
    facts = {
        "model": name,
        "data": f"{data}: {train:,} training and {test:,} test images, {height} x {width} pixels",
        "accuracy": f"{accuracy:.2f} % of the test images",
        "network": repr(network).strip("<>"),
        "parameters": f"{network.parameters.size:,}",
        "seed": str(network.seed),
        "training": ", ".join(recipe) or "unknown",
    }
    return html_page(f"Report on {name}", facts, sections)


class _Tested(NamedTuple):
    """What the sections of a report are made from."""

    network: NeuralNetwork
    dataset: Dataset
    result: TestResult
    epochs: Sequence[EpochReport]
    changes: Sequence[inspection.Change]


def _curves(tested: _Tested) -> Section:
    return Section(
        "Learning curves",
        "The mean loss after each epoch and, if there were validation images, the errors on them. "
        "If the training loss keeps falling while the validation loss rises, the network is "
        "overfitting.",
        figure_as_html(figure_of_curves(tested.epochs), "loss against epochs"),
    )


def _confusion(tested: _Tested) -> Section:
    result = tested.result
    wrong, total = result.wrong, result.total
    low, high = metrics.wilson_interval(wrong, total)
    warning = metrics.learnt_nothing(wrong, result.labels)
    warning = warning and f"{warning[0].upper()}{warning[1:]}. "
    return Section(
        "Confusion matrix",
        f"{wrong:,} of {total:,} test images are wrong, {100 * wrong / total:.2f} % "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %). {warning}Each row is a label and "
        "each column a predicted class, so correct answers are on the diagonal. A darker cell has "
        "more errors; in dark mode, a lighter one.",
        figure_as_html(figure_of_confusion(result.confusion, result.names), "confusion matrix"),
    )


def _mistakes(tested: _Tested) -> Section:
    result = tested.result
    chosen = metrics.most_confident_mistakes(result.labels, result.outputs, _MISTAKES)
    captions = []
    for index in chosen:
        label, answer = (result.names[of[index]] for of in (result.labels, result.predicted))
        captions.append(f"label {label}, answer {answer} {_percent(result.outputs[index].max())}")
    return Section(
        "Most confident mistakes",
        f"{len(chosen)} of {result.wrong:,} mistakes: the label, the answer, and "
        "the output for that answer. Some labels may be wrong, and some images are illegible.",
        sheet(tested.dataset.test_images[chosen], captions, "a misclassified image")
        if captions
        else _NONE,
    )


def _weights(tested: _Tested) -> Section:
    weights = inspection.first_weights(tested.network, tested.dataset.test_images.shape[1:])
    colours = "orange, lowers it where it is violet, and has no effect where it is white."
    title, text = (
        "First-layer weights",
        f"The weights of {min(MOST_MAPS, len(weights))} of the {len(weights):,} neurons in the "
        f"first layer{_member(tested)}, each as an image. A lit pixel raises a neuron's input "
        f"where the image is {colours}",
    )
    if _has_convolution(tested.network):
        title, text = (
            "First-layer kernels",
            f"The {len(weights):,} kernels of the first convolution{_member(tested)}"
            f"{_shown(weights)}. Each slides over the image, and each position gives one pixel of "
            "a feature map. A lit pixel under the kernel raises that pixel where the kernel is "
            f"{colours}",
        )
    return Section(title, text, figure_as_html(figure_of_maps(weights), title.lower(), "maps"))


def _feature_maps(tested: _Tested) -> Section:
    result, image = tested.result, tested.dataset.test_images[0]
    layers = enumerate(tested.network.layer_list, start=1)
    numbers = [number for number, layer in layers if layer.get("type") == "conv2d"]
    found = inspection.feature_maps(tested.network, image.reshape(-1))
    figures = [sheet([image], [f"label {result.names[result.labels[0]]}"], "the first test image")]
    for number, maps in zip(numbers, found, strict=True):
        title = f"Layer {number}: {len(maps):,} filters{_shown(maps)}"
        figures += [f"<h3>{title}</h3>", figure_as_html(figure_of_maps(maps), title, "maps")]
    return Section(
        "Feature maps",
        f"What each filter of each convolution{_member(tested)} finds in the first test image. A "
        "feature map is a filter's output at each position, after the activation: orange above 0, "
        "violet below 0, and white at 0. The filters of the first convolution usually respond to "
        "edges and strokes, and those of later ones to shapes made of these.",
        "\n".join(figures),
    )


def _has_convolution(network: NeuralNetwork) -> bool:
    return any(layer.get("type") == "conv2d" for layer in network.layer_list)


def _shown(maps: np.ndarray) -> str:
    return f", of which {MOST_MAPS} are shown" if len(maps) > MOST_MAPS else ""


def _member(tested: _Tested) -> str:
    """The part of a caption that names the member of a committee, or nothing."""
    return " of the first member" if tested.network.committee > 1 else ""


def _ideal_inputs(tested: _Tested) -> Section:
    images = inspection.ideal_inputs(tested.network, _IDEAL_INPUTS)
    shares = tested.network.predict_proba(images).diagonal()
    names = tested.result.names
    named = zip(names, shares, strict=False)
    captions = [f"{name}: {_percent(share)}" for name, share in named]
    brightest = images.max(axis=1, keepdims=True)
    pictures = images / np.maximum(brightest, 1e-6)
    pictures = pictures.reshape(-1, *tested.dataset.test_images.shape[1:])
    some = f" of the first {_IDEAL_INPUTS}" if len(names) > _IDEAL_INPUTS else ""
    return Section(
        "Ideal inputs",
        f"For each class{some} an image that makes the network as sure of that class as possible, "
        "with the class's share of all outputs. Gradient ascent on the pixels found it, starting "
        "from dark grey; the brightest pixel is shown white. These images need not look like the "
        "training images: a network learns what separates the classes, not what they look like.",
        sheet(pictures, captions, "an ideal input"),
    )


def _calibration(tested: _Tested) -> Section:
    found = inspection.calibration(tested.result.outputs, tested.result.labels)
    return Section(
        "Calibration",
        "Of the answers given with a probability of 0.8, 80 % should be correct. Points below the "
        "line mean that the network is overconfident. A probability here is an output's share of "
        "all outputs. The mean distance from the line over all answers (the expected calibration "
        f"error) is {found.expected_error:.4f}.",
        figure_as_html(figure_of_calibration(found), "accuracy against confidence"),
    )


def _robustness(tested: _Tested) -> Section:
    changes = tested.changes
    images, labels = tested.dataset.test_images, tested.dataset.test_labels
    constant = 1 - np.bincount(labels).max() / len(labels)
    # Not the first ones: the first half of MNIST's test images is easier
    step = max(1, len(labels) // _CHANGED)
    images, labels = images[::step], labels[::step]
    rates = [inspection.robustness(tested.network, images, labels, change) for change in changes]
    return Section(
        "Robustness",
        f"Errors on {len(labels):,} changed test images against the strength of the change. A "
        "network only tolerates changes like those it saw in training: to improve, train with "
        "--rotation, --shift and the other distortions.",
        figure_as_html(figure_of_robustness(changes, rates, constant), "errors on changed images"),
    )


def _doubtful_labels(tested: _Tested) -> Section:
    dataset, names = tested.dataset, tested.result.names
    images, labels = dataset.train_images, dataset.train_labels
    outputs = tested.network.apply(images)
    answers = outputs.argmax(axis=1)
    worst = np.argsort(-inspection.losses(outputs, labels), kind="stable")[:_DOUBTFUL]
    chosen = [index for index in worst if answers[index] != labels[index]]
    neighbours = inspection.nearest(images.reshape(len(images), -1), chosen, _NEIGHBOURS)
    sheets = []
    for index, others in zip(chosen, neighbours, strict=True):
        captions = [f"label {names[labels[index]]}, answer {names[answers[index]]}"]
        captions += [f"nearest: {names[labels[other]]}" for other in others]
        sheets.append(sheet(images[[index, *others]], captions, "a training image"))
    return Section(
        "Doubtful labels",
        "The training images whose labels the network finds least likely, each followed by the "
        f"{_NEIGHBOURS} training images nearest to it (pixel by pixel) and their labels. If those "
        "agree with the network's answer, the label may be wrong.",
        "<hr>".join(sheets) or _NONE,
    )


def _percent(share: float) -> str:
    """A probability for a caption: never 100 %."""
    return f"{100 * min(share, 0.999):.1f} %"
