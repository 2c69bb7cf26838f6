"""Look at the data: ten training images and five test images with their labels."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.analysis.figures import check_figure_path, figure_of_images, save_figure, show_figure
from ann.analysis.text_pictures import speaks_unicode, text_sheet
from ann.cli.download_bar import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.output import echo
from ann.cli.parser import Parser, checked
from ann.data.distortion import examples
from ann.training.named_recipes import RECIPES
from ann.validation import check_count

EXAMPLES = """\
  python scripts/try_loader.py                 another choice each time
  python scripts/try_loader.py --seed 3        the same choice each time
  python scripts/try_loader.py --output digits.png"""
PICTURE, DISTORTED = Path("mnist_images.png"), Path("mnist_distorted.png")


def main() -> None:
    """Parse, choose, show."""
    flags = parse_flags()
    with one_line_errors():
        if flags.output:
            check_figure_path(flags.output)
        dataset = load_dataset(flags.data)
        for part in ("train", "test"):
            images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
            height, width = images.shape[1:]
            echo(
                f"{part}: {len(images):,} images of {height} x {width} pixels, labels {labels.min()} to {labels.max()}"
            )
        random = np.random.default_rng(flags.seed)
        images, captions = distort(dataset, random) if flags.distort else choose(dataset, random)
        echo(text_sheet(images, captions, unicode=speaks_unicode(sys.stdout)))
        show(images, captions, flags.output, DISTORTED if flags.distort else PICTURE)


def choose(dataset: ann.Dataset, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Ten training images and five test images, with captions that say which and what."""
    train = random.choice(len(dataset.train_images), 10, replace=len(dataset.train_images) < 10)
    test = random.choice(len(dataset.test_images), 5, replace=len(dataset.test_images) < 5)
    images = np.concatenate([dataset.train_images[train], dataset.test_images[test]])
    captions = [f"{dataset.classes[dataset.train_labels[index]]} train {index}" for index in train]
    captions += [f"{dataset.classes[dataset.test_labels[index]]} test {index}" for index in test]
    return images, captions


def distort(dataset: ann.Dataset, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """A training image, and the same under sixteen distortions, as far as the recipe of this name goes."""
    index = int(random.integers(len(dataset.train_images)))
    image, label = dataset.train_images[index], dataset.classes[dataset.train_labels[index]]
    strengths = RECIPES["quick"].recipe.strengths
    found = examples(ann.get_backend("cpu"), image, strengths, 16, int(random.integers(2**32)))
    captions = [f"{label} train {index}", *(f"distorted {number}" for number in range(1, 17))]
    return np.concatenate([image[None], np.rint(found).astype(np.uint8)]), captions


def show(images: np.ndarray, captions: list[str], output: Path | None, usual: Path) -> None:
    """A window where there is a display; a file, usually this one, where there is none, or where one was asked for."""
    try:
        figure = figure_of_images(images, captions)
    except ImportError as error:
        if output:
            raise
        echo(str(error))
        return
    if output is None and show_figure(figure):
        return
    output = output or usual
    save_figure(figure, output)
    echo(f"picture: {output.resolve()}")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser("Show ten random training images and five test images with their labels.", EXAMPLES)
    parser.add_common(device=False)
    seed = checked(partial(check_count, "", at_least=0), int, "a whole number of at least 0")
    parser.add_argument("--seed", type=seed, help="of the choice (default: another one each time)")
    parser.add_argument(
        "--distort", action="store_true", help="show one training image under sixteen distortions instead"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the picture here instead of opening a window"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
