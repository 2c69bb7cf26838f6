"""Export a saved network as a web page to draw on, or as a file for other programs.

Examples:
  python scripts/export.py --to page.html
  python scripts/export.py --to clothes.html clothes.pickle
  python scripts/export.py --to model.onnx mine.pickle
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.cli.data_set import check_fit, load_dataset
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, check_output, data_set
from ann.data.catalog import SOURCES
from ann.errors import printable_text
from ann.export.formats import FORMS
from ann.export.web_page import web_page
from ann.files.atomic import user_path, write_atomically

PAGE = ".html"
SUFFIXES = (PAGE, *FORMS)


@one_line_errors()
def main() -> None:
    """Load a network and write it in the format that the suffix names."""
    flags = parse_flags()
    suffix = flags.to.suffix.lower()
    check_output(flags.to, suffix, flags.model, flags.data)
    network = ann.load_model(flags.model)
    classes = SOURCES[flags.classes].classes if flags.classes else network.classes
    name = printable_text(flags.model.stem) + _accuracy(network, flags)
    make = FORMS.get(suffix) or (lambda net: web_page(net, classes, name).encode())
    data = make(network)
    write_atomically(flags.to, data)
    use = ": open it in a browser, and draw" if suffix == PAGE else ""
    print(f"saved {flags.to.resolve()}, {len(data) / 1e6:.2f} MB{use}")


def _accuracy(network: ann.NeuralNetwork, flags: argparse.Namespace) -> str:
    """The accuracy on the test images of ``--data`` in words, or nothing without ``--data``."""
    if flags.data is None:
        return ""
    dataset = load_dataset(flags.data)
    check_fit(network, flags.model, dataset, flags.data)
    result = network.evaluate(dataset.test_images, dataset.test_labels)
    return f", accuracy {100 * result.accuracy:.2f} % on {result.count:,} test images"


def output(text: str) -> Path:
    """An argparse type: a file whose suffix names the format."""
    path = user_path(text)
    if path.suffix.lower() not in SUFFIXES:
        expected = f"expected a name that ends in {', '.join(SUFFIXES)}"
        raise argparse.ArgumentTypeError(f"{expected}, got {text!r}")
    return path


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_model("MODEL")
    text = "page.html: a web page to draw on; model.onnx: for ONNX runtimes; model.safetensors: "
    text += "for PyTorch; model.npz: for NumPy"
    parser.add("--to FILE", text, output)
    parser.add_classes()
    text = "a data set, as train.py takes it: the page shows the accuracy on its test images"
    parser.add("--data PATH", text, data_set)
    flags = parser.parse_args()
    if flags.to is None:
        example = flags.model if flags.model.suffix.lower() in SUFFIXES else "page.html"
        parser.error(f"--to FILE is required: it names the file to write, such as --to {example}")
    for name in ("classes", "data"):
        if getattr(flags, name) is not None and flags.to.suffix.lower() != PAGE:
            parser.error(f"--{name} is for a web page: leave it out, or write --to page.html")
    return flags


if __name__ == "__main__":
    main()
