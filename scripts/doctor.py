"""Check this machine and print, for each problem, how to fix it; or describe a model file.

Examples:
  python scripts/doctor.py
  python scripts/doctor.py --device gpu
  python scripts/doctor.py --data my_data
  # what a model file contains; no network is built from it
  python scripts/doctor.py --model mnist_ann.pickle
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this checkout's ann

from ann.cli import bootstrap

bootstrap.start()

from ann.cli.descriptions import describe_model
from ann.cli.doctor_checks import check_all
from ann.cli.errors import one_line_errors
from ann.cli.parser import DATA, Parser
from ann.installation import localized


@one_line_errors()
def main() -> None:
    """Print all findings; exit with 1 if anything is wrong."""
    flags = parse_flags()
    if flags.model is not None:
        print(describe_model(flags.model))
        return
    problems = 0
    for finding in check_all(flags.device, flags.data):
        print(localized(str(finding)))
        problems += bool(finding.fix)
    if problems:
        print(f"\n{problems} problem{'s' * (problems != 1)} found")
        sys.exit(1)
    print("\nno problems found")


def parse_flags() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_import()
    parser.add_common()
    parser.add("--model FILE", "only describe this model file", Path)
    flags = parser.parse_args()
    if flags.model is not None and (flags.data != DATA or flags.device != "auto"):
        parser.error("--model only describes a file: leave out --data and --device")
    return flags


if __name__ == "__main__":
    main()
