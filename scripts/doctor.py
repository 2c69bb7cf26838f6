"""Check this machine and print, for each problem, how to fix it; or describe a model file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P, -I and -m omit it

import cli
import endings
from contents import in_words
from doctor_checks import check_all

EXAMPLES = """\
  python scripts/doctor.py
  python scripts/doctor.py --device gpu
  python scripts/doctor.py --data my_data
  # what a model file contains; no network is built from it
  python scripts/doctor.py --model mnist_ann.pickle"""


def main() -> None:
    """Print all findings; exit with 1 if anything is wrong."""
    flags = parse_flags()
    with endings.one_line_errors():
        if flags.model:
            cli.say(in_words(flags.model))
            return
        problems = 0
        for finding in check_all(flags.device, flags.data):
            cli.say(str(finding))
            problems += bool(finding.fix)
        if problems:
            cli.say(f"\n{problems} problem{'s' * (problems != 1)} found")
            sys.exit(1)
        cli.say("\nno problems found")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    description = "Check this machine and print, for each problem, how to fix it."
    parser = cli.Parser(description, EXAMPLES)
    parser.add_import()
    parser.add_common()
    text = "only describe this model file"
    parser.add_argument("--model", type=Path, metavar="FILE", help=text)
    return parser.parse_args()


if __name__ == "__main__":
    main()
