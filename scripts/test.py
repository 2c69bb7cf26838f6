"""Test a saved network on the test images, which are never trained on.

Examples:
  python scripts/test.py
  python scripts/test.py --model mine.pickle --verbose | grep wrong
  python scripts/test.py --picture mistakes.png
  python scripts/test.py --json
  # is one network better than another, or was it luck?
  python scripts/test.py --compare other.pickle
  # the errors of each member of a committee
  python scripts/test.py --report-members
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.analysis.figures import check_figure_path, save_figure
from ann.analysis.test_result import Comparison, TestResult
from ann.cli.data_set import check_fit, load_dataset
from ann.cli.descriptions import describe_members, describe_network, errors_of_members
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, check_not_read, data_name
from ann.data.catalog import class_names
from ann.errors import printable_path


@one_line_errors()
def main() -> None:
    """Load a network and the test images, and count the errors."""
    flags = parse_flags()
    if flags.picture:
        check_not_read(flags.picture, flags.model, flags.compare, flags.data)
        check_figure_path(flags.picture)
    backend = ann.get_backend(flags.device)
    network = ann.load_model(flags.model, backend)
    other = ann.load_model(flags.compare, backend) if flags.compare else None
    if flags.report_members and network.committee == 1:
        reason = "a single network, which has no members; leave out --report-members"
        raise ann.ModelFileError(f"{flags.model}: {reason}")
    dataset = load_dataset(flags.data)
    images, labels = dataset.test_images, dataset.test_labels
    check_fit(network, flags.model, dataset, flags.data)
    names = class_names(dataset.classes, network.output_dim)
    result = TestResult(labels, network.apply(images), names)
    members = errors_of_members(network, images, labels) if flags.report_members else None
    comparison = None
    if other:
        check_fit(other, flags.compare, dataset, flags.data)
        names = class_names(dataset.classes, max(network.output_dim, other.output_dim))
        comparison = Comparison(labels, result.predicted, other.predict(images), names)
    if flags.picture:
        save_figure(result.figure_of_errors(images), flags.picture)
    if flags.json:
        files = {"model": str(flags.model), "data": str(flags.data)}
        fields = {**files, **result.fields(), "device": backend.name}
        if members:
            fields["members"] = members
        if comparison:
            fields["comparison"] = comparison.fields()
        print(json.dumps(fields))
        return
    if flags.verbose:
        print(result.describe_images())
    print(f"device {backend.name}: {backend.description}")
    print(f"model {printable_path(flags.model)}: {describe_network(network)}")
    print(f"data {data_name(flags.data)}: {len(labels):,} test image{'s' * (len(labels) > 1)}")
    print(result.describe())
    if members:
        print(f"\n{describe_members(members, len(labels))}")
    if comparison:
        print(f"\n{comparison.describe(flags.model, flags.compare, every=flags.verbose)}")
    if flags.picture:
        print(f"\npicture of the errors, most confident first: {flags.picture.resolve()}")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_common()
    parser.add_model()
    form = parser.add_mutually_exclusive_group()
    parser.add("--verbose", "list all images, and mark the errors", group=form)
    parser.add("--json", "print one JSON object and nothing else", group=form)
    text = "compare with another model file: count the images that only one of the two gets wrong, "
    text += "test whether the difference may be luck (McNemar's test), and list images with "
    text += "different answers (with --verbose, all of them)"
    parser.add("--compare OTHER", text, Path)
    parser.add("--report-members", "count the errors of each member of a committee")
    parser.add("--picture FILE", "draw the errors, most confident first", Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
