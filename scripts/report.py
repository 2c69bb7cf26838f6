"""Write a report on a trained network: one page of pictures, which opens in any browser."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator
from pathlib import Path

import cli
import numpy as np
import report_figures as figures
from test import check_fit
from tqdm import tqdm

import ann
import ann.analysis as analysis
from ann.checkpoint_file import read_checkpoint
from ann.files import check_writable, write_atomically
from ann.metrics import confusion_matrix, wilson_interval
from ann.plots import figure_of_curves, figure_of_images, pyplot
from ann.reports import EpochReport

EXAMPLES = """\
  python scripts/report.py
  python scripts/report.py mine.pickle --output mine.html
  # a run's folder, which has the learning curves too
  python scripts/train.py --run runs/first && python scripts/report.py runs/first"""
MOST = 40  # mistakes that are shown
DOUBTED = 8  # labels that are shown, each with its neighbours
NEIGHBOURS = 4
CHANGED = 2000  # test images that are changed

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; background: white; border-radius: 6px; padding: 8px; box-sizing: border-box; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
nav a { margin-right: 1rem; }
@media print { h2 { break-before: page; } h2:first-of-type { break-before: auto; } nav { display: none; } }
"""


def main() -> None:
    """Parse, load, look, write."""
    flags = parse_flags()
    with cli.one_line_errors():
        check_writable(flags.output)
        changes = analysis.changes()  # first, since what it says to install is enough for all of it
        pyplot().switch_backend("agg")  # it opens no window
        path, reports = model_and_reports(flags.source)
        network = ann.load_model(path, flags.device)
        dataset = ann.load_dataset(flags.data)
        check_fit(flags, path, network, dataset)
        parts = list(sections(network, dataset, reports, changes))
        write_atomically(flags.output, page(path, network, parts).encode())
        cli.say(f"saved {flags.output.resolve()}, {flags.output.stat().st_size / 1e6:.1f} MB: open it in a browser")


def model_and_reports(source: Path) -> tuple[Path, list[EpochReport]]:
    """A model file and, where the source is a run's folder, the reports of its epochs."""
    if not source.is_dir():
        return source, []
    if not (source / "model.pickle").is_file():
        raise ann.ModelFileError(f"{source}: this folder holds no model.pickle, so no training was finished in it")
    return source / "model.pickle", read_checkpoint(source / "checkpoint.npz")[1].reports


def sections(
    network: ann.NeuralNetwork, dataset: ann.Dataset, reports: list[EpochReport], changes: list[analysis.Change]
) -> Iterator[tuple[str, str, str]]:
    """(title, what to see in it, pictures as HTML), one after the other, under a progress bar."""
    names = [*dataset.classes, *map(str, range(len(dataset.classes), network.output_dim))]
    images, labels, shape = dataset.test_images, dataset.test_labels, dataset.test_images.shape[1:]
    bar = tqdm(total=6 + len(changes), desc="report", unit=" parts", disable=None, leave=False)
    with bar:
        if reports:
            yield (
                "Learning curves",
                "The mean loss of each epoch and, where images were held out, the mistakes on them. Where the loss of "
                "training images falls on while that of held-out images rises, the network is learning by heart.",
                figures.as_html(figure_of_curves(reports), "loss against epochs"),
            )
        outputs = network.apply(images)
        predicted, chances = outputs.argmax(axis=1), analysis.probabilities(outputs)
        matrix = confusion_matrix(labels, predicted, network.output_dim)
        low, high = wilson_interval(int((predicted != labels).sum()), len(labels))
        yield (
            "What it takes for what",
            f"{(predicted != labels).sum():,} of {len(labels):,} test images are wrong, "
            f"{100 * (predicted != labels).mean():.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %). Rows "
            "are labels, columns answers; the diagonal is what is right, and the shade says where the mistakes are.",
            figures.as_html(figures.of_confusion(matrix, names), "confusion matrix"),
        )
        bar.update()
        wrong = np.flatnonzero(predicted != labels)
        surest = wrong[np.argsort(-chances[wrong, predicted[wrong]], kind="stable")][:MOST]
        captions = [f"{names[labels[n]]}, seen as\n{names[predicted[n]]}, {shown(chances[n].max())}" for n in surest]
        yield (
            "Its mistakes, the surest first",
            f"{len(surest)} of {len(wrong):,}: label, answer, and the probability that the network gave it. Some "
            "labels may be wrong, and some digits nobody could read.",
            figures.as_html(figure_of_images(images[surest], captions, columns=8), "images that were mistaken")
            if len(surest)
            else "<p>There are none.</p>",
        )
        bar.update()
        weight = network.backend.to_host(network.layers[0].weight).reshape(-1, *network.layers[0].weight.shape[-2:])[0]
        yield (
            "What its first neurons look at",
            f"The weights of {min(64, weight.shape[1])} of the {weight.shape[1]:,} neurons of the first layer"
            f"{' of the first member' if network.leading else ''}, each as an image: orange pixels, if they are lit, "
            "push the neuron up, violet ones down, white ones do nothing.",
            figures.as_html(figures.of_weights(weight, shape), "weights of the first layer"),
        )
        bar.update()
        ideals = analysis.ideal_inputs(network)
        sure = analysis.probabilities(network.apply(ideals)).diagonal()
        captions = [f"{name}: {shown(chance)}" for name, chance in zip(names, sure, strict=True)]
        yield (
            "What it would like best",
            "For each class an image that the network takes for it as surely as it can, found by gradient ascent on "
            "the pixels from dark grey, and the probability that it gives; the brightest pixel of each is shown white. "
            "Nobody would draw such: the network knows what tells digits apart, and not what they look like.",
            figures.as_html(figure_of_images(brightened(ideals).reshape(-1, *shape), captions), "ideal inputs"),
        )
        bar.update()
        found = analysis.calibration(outputs, labels)
        yield (
            "Whether its probabilities can be believed",
            "Answers that were given with a probability of 0.8 should be right 8 times of 10. Points below the line: "
            "too sure of itself. The mean distance from the line, over answers (expected calibration error): "
            f"{found.expected_error:.4f}.",
            figures.as_html(figures.of_calibration(found), "reliability against confidence"),
        )
        bar.update()
        some = np.arange(0, len(labels), max(1, len(labels) // CHANGED))  # the first half of MNIST's is the easier
        shares = []
        for change in changes:
            shares.append(analysis.robustness(network, images[some], labels[some], change))
            bar.update()
        chance = 1 - np.bincount(labels).max() / len(labels)
        yield (
            "What throws it off",
            f"Mistakes on {len(some):,} test images that were changed, against how far. A network learns to bear only "
            "what it has seen: train with --rotation, --shift and the like.",
            figures.as_html(figures.of_robustness(changes, shares, chance), "mistakes against changes"),
        )
        yield ("Labels that it doubts", *doubts(network, dataset, names))
        bar.update()


def doubts(network: ann.NeuralNetwork, dataset: ann.Dataset, names: list[str]) -> tuple[str, str]:
    """The training images with the highest losses, each beside those that are most like it."""
    images, labels = dataset.train_images, dataset.train_labels
    outputs = network.apply(images)
    chances = analysis.probabilities(outputs)
    order = np.argsort(-analysis.losses(outputs, labels), kind="stable")
    chosen = order[:DOUBTED][chances[order[:DOUBTED]].argmax(axis=1) != labels[order[:DOUBTED]]]
    text = (
        "The training images whose labels the network finds least likely, each with the "
        f"{NEIGHBOURS} training images that are nearest to it, pixel by pixel, and their labels. Where those agree "
        "with the network, the label may be wrong."
    )
    if not len(chosen):
        return text, "<p>There are none: every training image is recognised.</p>"
    near = analysis.nearest(images.reshape(len(images), -1), chosen, NEIGHBOURS)
    rows, captions = [], []
    for place, others in zip(chosen, near, strict=True):
        rows += [place, *others]
        answer = chances[place].argmax()
        captions += [
            f"label {names[labels[place]]}\nanswer {names[answer]}",
            *(f"{names[labels[n]]}\n" for n in others),
        ]
    return text, figures.as_html(figure_of_images(images[rows], captions, 2 * (NEIGHBOURS + 1)), "doubted labels")


def brightened(images: np.ndarray) -> np.ndarray:
    """Images (N, I), each with its brightest pixel white."""
    bright: np.ndarray = 255 * images / np.maximum(images.max(axis=1, keepdims=True), 1e-6)
    return bright


def shown(chance: float) -> str:
    """A probability in few words: nothing is certain."""
    return f"{100 * chance:.0f} %" if chance < 0.995 else f"{min(100 * chance, 99.99):.2f} %"


def page(path: Path, network: ann.NeuralNetwork, parts: list[tuple[str, str, str]]) -> str:
    """The report as one page, which needs nothing else."""
    recipe = network.recipe or {}
    facts = {
        "model": str(path),
        "network": repr(network).strip("<>"),
        "parameters": f"{network.parameters.size:,}",
        "seed": str(network.seed),
        "training": ", ".join(f"{name} {value}" for name, value in recipe.items() if value) or "not known",
    }
    listed = "\n".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
    links = "\n".join(f'<a href="#part{n}">{html.escape(title)}</a>' for n, (title, _, _) in enumerate(parts, start=1))
    body = "\n".join(
        f'<h2 id="part{number}">{html.escape(title)}</h2>\n<p>{html.escape(text)}</p>\n{pictures}'
        for number, (title, text, pictures) in enumerate(parts, start=1)
    )
    title = f"Report on {html.escape(path.name)}"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{title}</h1>\n<dl>\n{listed}\n</dl>\n<nav>\n{links}\n</nav>\n{body}\n</body>\n</html>\n"
    )


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = cli.Parser("Write a page of pictures about a trained network.", EXAMPLES)
    parser.add_import()
    parser.add_common()
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        default=cli.MODEL,
        metavar="RUN_OR_MODEL",
        help=f"a model file, or the folder of a run (default: {cli.MODEL})",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: report.html)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
