"""Recognise the digits on your own pictures: photos, scans or drawings.

Examples:
  python scripts/predict.py photo.jpg
  python scripts/predict.py --model coffee.pickle one.png two.png
  # a folder, and a table of the answers
  python scripts/predict.py photos/ --csv answers.csv
  # the accuracy on pictures such as 7/anna.jpg and 105_ben.jpg
  python scripts/predict.py photos/ --labels
  # draw boxes and answers onto the picture
  python scripts/predict.py --picture seen.png photo.jpg
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.analysis.reading import image_side, read_digits
from ann.cli.answer import Answer
from ann.cli.answer_log import AnswerLog
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser
from ann.cli.picture_list import expected_labels, find_pictures
from ann.data.catalog import SOURCES, class_names
from ann.errors import printable_path

TRAIN = "train one for pictures like yours: python scripts/train.py --recipe conv"


def main() -> None:
    """Load a network, and print its answer for each picture."""
    flags = parse_flags()
    log = AnswerLog(as_json=flags.json, table=flags.csv, figure=flags.picture)
    with one_line_errors(log.describe_progress):
        pictures = find_pictures(flags.pictures, log.fail)
        log.check_files(*pictures, flags.model)
        if not flags.model.exists():
            raise ann.ModelFileError(f"{printable_path(flags.model)}: no such model file; {TRAIN}")
        network = ann.load_model(flags.model, ann.get_backend(flags.device))
        if not image_side(network):
            problem = "this model does not classify square images"
            raise ann.ModelFileError(f"{printable_path(flags.model)}: {problem}; {TRAIN}")
        classes = SOURCES[flags.classes].classes if flags.classes else network.classes
        names = class_names(classes, network.output_dim)
        try:
            for path in log.progress(pictures):
                try:
                    expected = expected_labels(path, names) if flags.labels else None
                    reading = read_digits(path, network, names)
                except ann.DataFileError as error:
                    log.fail(error, path)
                else:
                    log.add(Answer(path, reading, expected), pictures=path in flags.pictures)
        except KeyboardInterrupt:
            log.finish(names)
            raise
        log.finish(names)
        if log.failed:
            sys.exit(1)


@one_line_errors()
def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_device("cpu")
    text = "a file in PNG, JPEG or many other formats, or a folder, for all pictures in it"
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help=text)
    parser.add_model()
    parser.add_classes()
    parser.add("--json", "print one JSON list and nothing else")
    text = "draw boxes and answers onto the pictures, at most onto the 40 least certain"
    parser.add("--picture FILE", text, Path)
    parser.add("--csv FILE", "write all answers into a table", Path)
    text = "take the right answers from the names of folders (7/anna.jpg) or files (105_ben.jpg), "
    text += "and print the accuracy and the confusion matrix"
    parser.add("--labels", text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
