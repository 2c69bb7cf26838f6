"""Run a program: ``python -m ann train`` is ``python scripts/train.py``, installed or not."""

import ast
import runpy
import sys

from ann.cli import bootstrap
from ann.installation import ROOT


def main() -> None:
    """Run the program that the first argument names, or list the programs."""
    found = {path.stem: path for path in sorted((ROOT / "scripts").glob("*.py"))}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in found:
        sys.argv = [str(found[name]), *sys.argv[2:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    bootstrap.start()
    from ann._version import __version__
    from ann.cli.errors import one_line_errors
    from ann.cli.output import warn
    from ann.spelling import did_you_mean

    with one_line_errors():
        if name == "--version":
            print(f"ann {__version__}")
            return
        if name not in ("--help", "-h"):
            warn(f"error: no program {name!r}{did_you_mean(name, found)}; see python -m ann")
            sys.exit(2)
        print("usage: python -m ann PROGRAM ...; PROGRAM --help explains its flags\n")
        for name, path in found.items():
            docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            sentence = " ".join(docstring.split()).partition(". ")[0].rstrip(".")
            print(f"{name:11} {sentence}.")


if __name__ == "__main__":
    main()
