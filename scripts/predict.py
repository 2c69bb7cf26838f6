"""Recognise the digits on your own pictures: photos, scans or drawings."""

import argparse
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.analysis.figures import check_figure_path, save_figure
from ann.cli.answer import Answer, figure_of_answers
from ann.cli.commands import localized
from ann.cli.errors import one_line_errors
from ann.cli.output import echo, warn
from ann.cli.parser import Parser
from ann.data.catalog import SOURCES, class_names
from ann.data.picture_file import read_picture
from ann.errors import printable_path
from ann.nn.layer_list import input_shape

EXAMPLES = """\
  python scripts/predict.py photo.jpg
  python scripts/predict.py --model coffee.pickle one.png two.png
  # before and after, as a picture
  python scripts/predict.py --picture seen.png photo.jpg"""


def main() -> None:
    """Load a network, and print its answer for each picture."""
    flags = parse_flags()
    with one_line_errors():
        if flags.picture:
            if any(flags.picture.resolve() == path.resolve() for path in flags.pictures):
                name = printable_path(flags.picture)
                raise ValueError(f"{name}: one of the pictures to read; draw to another file")
            check_figure_path(flags.picture)
        network = ann.load_model(flags.model, ann.get_backend(flags.device))
        side, shape = math.isqrt(network.input_dim), input_shape(network.layer_list)
        if shape not in ((side * side,), (1, side, side)) or network.output_dim < 2:
            raise ann.ModelFileError(f"{flags.model}: this model does not classify square images")
        names = class_names(SOURCES[flags.classes].classes, network.output_dim)
        answers, failed = [], False
        for path in flags.pictures:
            try:
                picture = read_picture(path)
            except ann.DataFileError as error:
                warn(localized(f"error: {error}"))
                failed = True
                continue
            answer = Answer.of(network, names, path, picture)
            answers.append(answer)
            if not flags.json:
                echo(answer.describe())
                echo(answer.text_pictures())
        if flags.json:
            echo(json.dumps([answer.fields() for answer in answers]))
        if flags.picture and answers:
            save_figure(figure_of_answers(answers), flags.picture)
            if not flags.json:
                echo(f"picture: {flags.picture.resolve()}")
        if failed:
            sys.exit(1)


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__ or "", EXAMPLES)
    parser.add_import()
    parser.add_device("cpu")
    text = "PNG, JPEG and many other formats"
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help=text)
    parser.add_model()
    parser.add_classes()
    text = "print one JSON list and nothing else"
    parser.add_argument("--json", action="store_true", help=text)
    text = "draw them, before and after"
    parser.add_argument("--picture", type=Path, metavar="FILE", help=text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
