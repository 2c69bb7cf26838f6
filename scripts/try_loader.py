"""Look at the data: ten training images and five test images with their labels.

Examples:
  python scripts/try_loader.py                 other images each time
  python scripts/try_loader.py --seed 3        the same images each time
  python scripts/try_loader.py --output digits.png
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import numpy as np

import ann
from ann.analysis.figures import check_figure_path, figure_of_images, save_figure, show_figure
from ann.analysis.text_pictures import speaks_unicode, text_sheet
from ann.cli.data_set import load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, check_not_read, whole
from ann.data.catalog import DIGITS
from ann.data.distortion import examples
from ann.installation import localized
from ann.training.named_recipes import RECIPES

PICTURE, DISTORTED = Path("mnist_images.png"), Path("mnist_distorted.png")


@one_line_errors()
def main() -> None:
    """Load the data, choose some images and show them."""
    flags = parse_flags()
    if flags.output:
        check_not_read(flags.output, flags.data)
        check_figure_path(flags.output)
    dataset = load_dataset(flags.data)
    for part in ("train", "test"):
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        height, width = images.shape[1:]
        size = f"{len(images):,} image{'s' * (len(images) > 1)} of {height} x {width} pixels"
        print(f"{part}: {size}, labels {labels.min()} to {labels.max()}")
    if not set(dataset.classes) <= set(DIGITS):
        count = len(dataset.classes)
        print(f"{count} class{'es' * (count > 1)}: {', '.join(dataset.classes)}")
    random = np.random.default_rng(flags.seed)
    images, captions = distort(dataset, random) if flags.distort else choose(dataset, random)
    print(text_sheet(images, captions, unicode=speaks_unicode(sys.stdout)))
    show(images, captions, flags)


def choose(dataset: ann.Dataset, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Ten training images and five test images, with labels and indices as captions."""
    images, captions = [], list[str]()
    for part, count in (("train", 10), ("test", 5)):
        pixels, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        indices = random.choice(len(pixels), count, replace=len(pixels) < count)
        images.append(pixels[indices])
        captions += [f"label {dataset.classes[labels[index]]}, {part} {index}" for index in indices]
    return np.concatenate(images), captions


def distort(dataset: ann.Dataset, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """A training image, and sixteen distortions of it, as strong as those of the recipe "quick"."""
    index = int(random.integers(len(dataset.train_images)))
    image, label = dataset.train_images[index], dataset.classes[dataset.train_labels[index]]
    strengths = RECIPES["quick"].recipe.strengths
    seed = int(random.integers(2**32))
    distorted = examples(ann.get_backend("cpu"), image, strengths, 16, seed)
    captions = [
        f"label {label}, train {index}",
        *(f"distorted {number}" for number in range(1, 17)),
    ]
    return np.concatenate([image[None], np.rint(distorted).astype(np.uint8)]), captions


def show(images: np.ndarray, captions: list[str], flags: argparse.Namespace) -> None:
    """Show a window, or write a file if one was asked for or there is no display."""
    try:
        figure = figure_of_images(images, [text.replace(", ", "\n") for text in captions])
    except ImportError as error:
        if flags.output:
            raise
        print(localized(str(error)))
        return
    if flags.output is None and show_figure(figure):
        return
    output = flags.output or (DISTORTED if flags.distort else PICTURE)
    save_figure(figure, output)
    print(f"picture: {output.resolve()}")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_common(device=False)
    parser.add("--seed SEED", "chooses the images (default: other images each time)", whole(0))
    parser.add("--distort", "show one training image and sixteen distortions of it instead")
    parser.add("--output FILE", "write the picture here instead of opening a window", Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
