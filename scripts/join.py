"""Join trained networks into a committee, which usually makes fewer errors than any of them.

Examples:
  python scripts/train.py --seed 0 --output a.pickle
  python scripts/train.py --seed 1 --output b.pickle
  python scripts/join.py a.pickle b.pickle --output committee.pickle
  python scripts/test.py --model committee.pickle --report-members
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

import ann
from ann.cli.errors import one_line_errors
from ann.cli.parser import Parser, check_output
from ann.installation import command


def main() -> None:
    """Load the networks, join them and save the committee."""
    flags = parse_flags()
    with one_line_errors(lambda: f"{flags.output} is unchanged"):
        check_output(flags.output, ".pickle", *flags.models)
        networks = [ann.load_model(path) for path in flags.models]
        try:
            committee = ann.committee_of(networks)
        except ValueError as error:
            numbered = enumerate(flags.models, start=1)
            names = ", ".join(f"{number} is {path}" for number, path in numbered)
            raise ann.ModelFileError(f"{error} ({names})") from None
        check_different(flags.models, networks)
        committee.save(flags.output)
        print(f"saved {flags.output}: {committee!r}")
        print(f"test it: {command('test', '--model', flags.output, '--report-members')}")


def check_different(paths: Sequence[Path], networks: Sequence[ann.NeuralNetwork]) -> None:
    """Raise ModelFileError if two files have a network in common: its vote would count twice."""
    seen, twice = dict[bytes, Path](), "so its vote would count twice"
    for path, network in zip(paths, networks, strict=True):
        for member in network.backend.to_host(network.parameters).reshape(network.committee, -1):
            other = seen.setdefault(hashlib.sha256(member.tobytes()).digest(), path)
            if other is path:
                continue
            if other.resolve() == path.resolve():
                raise ann.ModelFileError(f"{path}: given twice, {twice}")
            raise ann.ModelFileError(f"{path}: {other} has the same network, {twice}")


@one_line_errors()
def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    text = "at least two model files of networks with the same layers"
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=text)
    parser.add("--output FILE", "where to save the committee", Path, required=True)
    flags = parser.parse_args()
    if len(flags.models) < 2:
        parser.error("a committee needs at least two models")
    return flags


if __name__ == "__main__":
    main()
