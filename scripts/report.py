"""Write a report on a trained network: one page of pictures, which opens in any browser."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import html_page
import numpy as np
import report_figures as figures
from html_page import Section
from test import check_fit
from tqdm import tqdm

import ann
from ann.analysis import inspection
from ann.analysis.figures import figure_of_curves, figure_of_images, pyplot
from ann.analysis.metrics import confusion_matrix, learnt_nothing, surest_mistakes, wilson_interval
from ann.cli.commands import command
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser, check_suffix
from ann.errors import printable_path
from ann.files.atomic import check_writable, write_atomically
from ann.training.checkpoint_file import read_checkpoint
from ann.training.report import EpochReport
from ann.training.run_folder import read_training_state

EXAMPLES = """\
  python scripts/report.py
  python scripts/report.py mine.pickle --output mine.html
  # a run's folder, which has the learning curves too
  python scripts/train.py --run runs/first && python scripts/report.py runs/first"""
MOST = 40  # mistakes that are shown
IDEALS = 20  # classes whose ideal inputs are shown
CLASSES = 1000  # that a network may have
DOUBTED = 8  # labels that are shown, each with its neighbours
NEIGHBOURS = 4
CHANGED = 2000  # test images that are changed


def main() -> None:
    """Parse, load, look, write."""
    flags = parse_flags()
    with one_line_errors():
        check_suffix(flags.output, ".html")
        check_writable(flags.output)
        changes = inspection.changes()  # first, since what it says to install is enough for all of it
        pyplot().switch_backend("agg")  # it opens no window
        path, reports = model_and_reports(flags.model)
        network = ann.load_model(path, flags.device)
        if network.output_dim > CLASSES:
            raise ann.ModelFileError(
                f"{path}: it has {network.output_dim} outputs, and a report is for up to {CLASSES}"
            )
        dataset = ann.load_dataset(flags.data)
        check_fit(flags, path, network, dataset)
        seen = Seen.of(network, dataset)
        makers: list[Callable[[], Section]] = [partial(maker, seen) for maker in MAKERS]
        makers += [partial(changed_images, seen, changes), partial(doubts, seen)]
        if reports:
            makers.insert(0, partial(curves, reports))
        parts = [maker() for maker in tqdm(makers, desc="report", unit=" parts", disable=None, leave=False)]
        write_atomically(flags.output, page(flags.model, network, parts).encode())
        echo(f"saved {flags.output.resolve()}, {flags.output.stat().st_size / 1e6:.1f} MB: open it in a browser")


def model_and_reports(source: Path) -> tuple[Path, list[EpochReport]]:
    """A model file and, where the source is a run's folder, the reports of its epochs."""
    if not source.is_dir():
        return source, []
    model = source / "model.pickle"
    if not model.is_file():
        try:
            read_training_state(source)
            going = f"; resume it: {command('train', '--resume', source)}"
        except ann.AnnError:
            going = ""
        raise ann.ModelFileError(
            f"{source}: this folder holds no model.pickle, so no training was finished in it{going}"
        )
    try:
        return model, read_checkpoint(source / "checkpoint.npz")[1].reports
    except ann.CheckpointError as error:
        warnings.warn(f"no learning curves: {error}", RuntimeWarning, stacklevel=2)
        return model, []


class Seen(NamedTuple):
    """What a network makes of the test images, and what its outputs are called."""

    network: ann.NeuralNetwork
    dataset: ann.Dataset
    names: list[str]
    outputs: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, network: ann.NeuralNetwork, dataset: ann.Dataset) -> Seen:
        """Apply the network."""
        names = [*dataset.classes, *map(str, range(len(dataset.classes), network.output_dim))][: network.output_dim]
        outputs = network.apply(dataset.test_images)
        return cls(network, dataset, names, outputs, outputs.argmax(axis=1))


def curves(reports: Sequence[EpochReport]) -> Section:
    """How it learnt."""
    return Section(
        "Learning curves",
        "The mean loss of each epoch and, where images were held out, the mistakes on them. Where the loss of "
        "training images falls on while that of held-out images rises, the network is learning by heart.",
        figures.as_html(figure_of_curves(reports), "loss against epochs"),
    )


def confusions(seen: Seen) -> Section:
    """Which class is taken for which."""
    labels = seen.dataset.test_labels
    wrong, total = int((seen.predicted != labels).sum()), len(labels)
    low, high = wilson_interval(wrong, total)
    matrix = confusion_matrix(labels, seen.predicted, seen.network.output_dim)
    found = learnt_nothing(wrong, labels)
    nothing = f"{found[0].upper()}{found[1:]}. " if found else ""
    return Section(
        "What it takes for what",
        f"{wrong:,} of {total:,} test images are wrong, {100 * wrong / total:.2f} % (95 % interval {100 * low:.2f} to "
        f"{100 * high:.2f} %). {nothing}Rows are labels, columns answers; the diagonal is what is right, and the shade "
        "says where the mistakes are.",
        figures.as_html(figures.of_confusion(matrix, seen.names), "confusion matrix"),
    )


def mistakes(seen: Seen) -> Section:
    """The surest ones."""
    labels, names, predicted = seen.dataset.test_labels, seen.names, seen.predicted
    surest = surest_mistakes(labels, seen.outputs, MOST)
    captions = [
        f"{names[labels[place]]}, seen as\n{names[predicted[place]]}, {shown(seen.outputs[place].max())}"
        for place in surest
    ]
    pictures = sheet(seen.dataset.test_images[surest], captions, 8, "images that were mistaken")
    return Section(
        "Its mistakes, the surest first",
        f"{len(surest)} of {(predicted != labels).sum():,}: label, answer, and the output for that answer. Some "
        "labels may be wrong, and some images nobody could read.",
        pictures,
    )


def first_weights(seen: Seen) -> Section:
    """What the first layer looks at."""
    network = seen.network
    weight = network.backend.to_host(network.layers[0].weight).reshape(-1, *network.weight_shapes[0])[0]
    return Section(
        "What its first neurons look at",
        f"The weights of {min(64, weight.shape[1])} of the {weight.shape[1]:,} neurons of the first "
        f"layer{' of the first member' if network.leading else ''}, each as an image: orange pixels, if they are lit, "
        "push the neuron up, violet ones down, white ones do nothing.",
        figures.as_html(figures.of_weights(weight, seen.dataset.test_images.shape[1:]), "weights of the first layer"),
    )


def ideals(seen: Seen) -> Section:
    """The inputs that it would like best."""
    images = inspection.ideal_inputs(seen.network, IDEALS)
    sure = inspection.probabilities(seen.network.apply(images)).diagonal()
    captions = [f"{name}: {shown(chance)}" for name, chance in zip(seen.names, sure, strict=False)]
    pictures = 255 * images / np.maximum(images.max(axis=1, keepdims=True), 1e-6)
    shaped = pictures.reshape(-1, *seen.dataset.test_images.shape[1:])
    return Section(
        "What it would like best",
        f"For each class{f' of the first {IDEALS}' if len(seen.names) > IDEALS else ''} an image that the network "
        "takes for it as surely as it can, found by gradient ascent on the pixels from dark grey, and its share of "
        "all outputs; the brightest pixel of each is shown white. Nobody would draw such: the network knows what "
        "tells classes apart, and not what they look like.",
        sheet(shaped, captions, 5, "ideal inputs"),
    )


def reliability(seen: Seen) -> Section:
    """Whether it knows how sure it may be."""
    found = inspection.calibration(seen.outputs, seen.dataset.test_labels)
    return Section(
        "Whether its probabilities can be believed",
        "Answers that were given with a probability of 0.8 should be right 8 times of 10. Points below the line: too "
        "sure of itself. A probability is here an output's share of all. The mean distance from the line, over "
        f"answers (expected calibration error): {found.expected_error:.4f}.",
        figures.as_html(figures.of_calibration(found), "reliability against confidence"),
    )


def sheet(images: np.ndarray | Sequence[np.ndarray], captions: Sequence[str], columns: int, alt: str) -> str:
    """Images, each under its caption, as HTML, or that there are none."""
    if not len(images):
        return "<p>There are none.</p>"
    return figures.as_html(figure_of_images(images, captions, columns), alt)


MAKERS = (confusions, mistakes, first_weights, ideals, reliability)


def changed_images(seen: Seen, changes: Sequence[inspection.Change]) -> Section:
    """What throws it off."""
    images, labels = seen.dataset.test_images, seen.dataset.test_labels
    some = np.arange(0, len(labels), max(1, len(labels) // CHANGED))  # the first half of MNIST's is the easier
    shares = [inspection.robustness(seen.network, images[some], labels[some], change) for change in changes]
    commonest = 1 - np.bincount(labels).max() / len(labels)
    return Section(
        "What throws it off",
        f"Mistakes on {len(some):,} test images that were changed, against how far. A network learns to bear only "
        "what it has seen: train with --rotation, --shift and the like.",
        figures.as_html(figures.of_robustness(changes, shares, commonest), "mistakes against changes"),
    )


def doubts(seen: Seen) -> Section:
    """The training images with the highest losses, each beside those that are most like it."""
    images, labels, names = seen.dataset.train_images, seen.dataset.train_labels, seen.names
    outputs = seen.network.apply(images)
    answers = outputs.argmax(axis=1)
    order = np.argsort(-inspection.losses(outputs, labels), kind="stable")
    chosen = [place for place in order[:DOUBTED] if answers[place] != labels[place]]
    rows, captions = [], []
    for place, others in zip(
        chosen, inspection.nearest(images.reshape(len(images), -1), chosen, NEIGHBOURS), strict=True
    ):
        rows += [place, *others]
        captions.append(f"label {names[labels[place]]}\nanswer {names[answers[place]]}")
        captions += [f"{names[labels[other]]}\n" for other in others]
    shown_images = [images[row] for row in rows]
    pictures = sheet(shown_images, captions, 2 * (NEIGHBOURS + 1), "doubted labels")
    return Section(
        "Labels that it doubts",
        f"The training images whose labels the network finds least likely, each with the {NEIGHBOURS} training images "
        "that are nearest to it, pixel by pixel, and their labels. Where those agree with the network, the label may "
        "be wrong.",
        pictures,
    )


def shown(chance: float) -> str:
    """A probability in few words: nothing is certain."""
    return f"{100 * min(chance, 0.999):.1f} %"


def page(source: Path, network: ann.NeuralNetwork, parts: Sequence[Section]) -> str:
    """The report as one page, which needs nothing else."""
    recipe = network.recipe or {}
    facts = {
        "model": printable_path(source),
        "network": repr(network).strip("<>"),
        "parameters": f"{network.parameters.size:,}",
        "seed": str(network.seed),
        "training": ", ".join(f"{name} {value}" for name, value in recipe.items() if value) or "not known",
    }
    return html_page.page(f"Report on {printable_path(source)}", facts, parts)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Write a page of pictures about a trained network.", EXAMPLES)
    parser.add_import()
    parser.add_common()
    parser.add_model("RUN_OR_MODEL", "a model file, or the folder of a run")
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: report.html)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
