"""The command line: a parser, the flags that several programs have, and types of arguments."""

import argparse
import os
import platform
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ann._version import __version__
from ann.cli.output import warn
from ann.cli.suggestions import suggestion
from ann.data.catalog import SOURCES
from ann.data.formats import KNOWN
from ann.errors import AnnError, printable_path
from ann.files.atomic import check_writable, user_path
from ann.installation import INSTALLED, ROOT, localized
from ann.validation import check_count, check_number

DATA: str | Path = "mnist" if INSTALLED else ROOT / "data"
MODEL = Path("mnist_ann.pickle")


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, with exit code 2."""

    def __init__(self, docstring: str | None) -> None:
        """``docstring``: what the program does and, after "Examples:", how to call it."""
        what, _, examples = (docstring or "").partition("\n\nExamples:\n")
        super().__init__(
            prog=f"python -m ann {Path(sys.argv[0]).stem}" if INSTALLED else None,
            description=what,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.register("type", Path, user_path)  # shells do not expand the ~ of --model=~/file
        python = f"Python {platform.python_version()}"
        versions = f"ann {__version__}, NumPy {np.__version__}, {python}"
        self.add_argument("--version", action="version", version=versions)

    def format_help(self) -> str:
        """The text of ``--help``, with commands that work here."""
        return localized(super().format_help())

    def error(self, message: str) -> NoReturn:
        """End the program because of wrong usage."""
        message += suggestion(message, self._actions)
        warn(f"{self.prog}: error: {message} (see --help)")
        sys.exit(2)

    def early(self, flag: str, **options: Any) -> Any:
        """The value of a flag that other flags depend on, before all are parsed; None if wrong."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.register("type", Path, user_path)
        parser.add_argument(flag, **{**options, "dest": "value"})
        try:
            return parser.parse_known_args()[0].value
        except argparse.ArgumentError:
            return None  # this parser will report it

    def add(
        self,
        flag: str,
        text: str,
        kind: Any = str,
        default: Any = None,
        group: Any = None,
        **options: Any,
    ) -> None:
        """Add a flag with a value, such as "--csv FILE", or a switch, such as "--json".

        A flag with ``choices`` has a value, too. ``group``: where to add it, if not to the parser.
        """
        name, _, value = flag.partition(" ")
        if value:
            options["metavar"] = value
        if value or "choices" in options:
            options |= {"type": kind, "default": default}
            text += f" (default: {default})" if default is not None else ""
        else:
            options["action"] = "store_true"
        (group or self).add_argument(name, help=text, **options)

    def add_import(self, default: Sequence[Path] = ()) -> None:
        """Add ``--import``, and run the files now: names that they register become choices.

        default: files to run if the flag is not given.
        """
        options: dict[str, Any] = {
            "dest": "imported",
            "action": "append",
            "type": Path,
            "metavar": "FILE",
            "help": "run this Python file first; it may call ann.register_activation",
        }
        self.add_argument("--import", **options)
        given = self.early("--import", **options)
        self.set_defaults(imported=[] if given else list(default))  # argparse appends to it
        for path in given or default:
            _run(path)

    def add_common(self, *, device: bool = True) -> None:
        """Add the flags that most programs have."""
        if device:
            self.add_device("auto")
        text = f"a file or folder ({KNOWN}), or the name of a data set to download: "
        text += f"{', '.join(SOURCES)} (default: {'mnist' if INSTALLED else 'data/'})"
        self.add("--data PATH", text, data_set)
        self.set_defaults(data=DATA)

    def add_device(self, default: str) -> None:
        """Add ``--device``."""
        text = "auto: a working GPU (for training: if it is faster), otherwise the CPU; gpu fails "
        text += "if there is none"
        self.add("--device", text, default=default, choices=("auto", "cpu", "gpu"))

    def add_classes(self) -> None:
        """Add ``--classes``, for programs that show answers but read no data set."""
        text = "the data set with the names of the classes (default: the training data)"
        self.add("--classes", text, choices=tuple(SOURCES))

    def add_model(self, positional: str = "", what: str = "a model file") -> None:
        """Add ``--model``, and a positional argument with the same meaning if it has a name."""
        group = self.add_mutually_exclusive_group()
        same = f"the same as {positional}" if positional else what
        self.add("--model FILE", same, Path, MODEL, group=group)
        if positional:
            options: dict[str, Any] = {"action": _IfGiven, "type": Path, "nargs": "?"}
            group.add_argument("model", metavar=positional, help=what, **options)


class _IfGiven(argparse.Action):
    """Stores a positional argument; if it is not given, keeps the value of the flag."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, option: object = None
    ) -> None:
        if values is not None:
            setattr(namespace, self.dest, values)


def _run(path: Path) -> None:
    """Run a user's Python file. Raises ValueError with one line for anything that it raises."""
    try:
        runpy.run_path(str(path))
    except (OSError, AnnError):
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = f"line {lines[-1]}: " if lines else ""
        raise ValueError(f"{path}: {line}{type(error).__name__}: {error}") from error


def data_set(text: str) -> str | Path:
    """An argparse type: the name of a data set, or a path, such as ./mnist."""
    return text if text in SOURCES else user_path(text)


def data_name(data: str | Path) -> str:
    """A data set in a program's output: its name or path; "mnist" for the default."""
    return "mnist" if data == DATA else printable_path(data)


def data_flags(flags: argparse.Namespace) -> list[object]:
    """The words ``--data`` and ``--import`` of a command that repeats these flags."""
    data = [] if flags.data == DATA else ["--data", flags.data]
    return [*data, *(word for path in flags.imported for word in ("--import", path))]


def checked(
    check: Callable[[Any], object], convert: Callable[[str], Any], expected: str
) -> Callable[[str], Any]:
    """An argparse type: convert the text, then check the value; either may raise ValueError."""

    def parse(text: str) -> Any:
        try:
            value = convert(text)
            check(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None
        return value

    return parse


def whole(at_least: int) -> Callable[[str], Any]:
    """An argparse type for whole numbers."""

    def check(value: int) -> None:
        if value >= 2**63:
            raise argparse.ArgumentTypeError("expected a whole number below 2^63")
        check_count("", value, at_least=at_least)

    return checked(check, int, f"a whole number of at least {at_least}")


def number(**bounds: float) -> Callable[[str], Any]:
    """An argparse type for numbers within the bounds of ``check_number``."""
    words = {"above": "above", "at_least": "of at least", "below": "below"}
    expected = " and ".join(f"{words[word]} {bound:g}" for word, bound in bounds.items())
    return checked(partial(check_number, "", **bounds), float, f"a number {expected}")


def seed_list(text: str) -> list[int]:
    """An argparse type: "0-9", or "0,3,5". At most 1,000 different seeds."""
    try:
        if "-" in text:
            first, last = map(int, text.split("-"))
            found = list(range(first, min(last, first + 1000) + 1))
        else:
            found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    is_valid = found and min(found) >= 0 and max(found) < 2**63
    if not (is_valid and len(set(found)) == len(found) <= 1000):
        raise argparse.ArgumentTypeError(
            f"expected seeds such as 0-9 or 0,3,5, at most 1,000 different ones, got {text!r}"
        )
    return found


def check_not_read(path: Path, *inputs: str | Path | None) -> None:
    """Raise ValueError if a file to write is one of those that the program reads."""
    if os.path.realpath(path) in (os.path.realpath(each) for each in inputs if each):
        raise ValueError(f"{path}: this is an input; name another file to write")


# Suffixes of our files: one with the suffix of another kind could replace it, or be taken for it
_SUFFIXES = {
    *(".safetensors", ".npz", ".onnx", ".html", ".pickle", ".png", ".jpg", ".svg", ".pdf"),
    *(".json", ".jsonl", ".py", ".csv", ".gz", ".parquet"),
}


def check_output(path: Path, own: str, *inputs: str | Path | None) -> None:
    """Check, before long work, that a file can be written after it. Its suffix should be ``own``.

    Raises:
        OSError: it is not writable.
        ValueError: its suffix is that of another kind of file, or it is one of the inputs.
    """
    check_not_read(path, *inputs)
    if path.suffix.lower() in _SUFFIXES - {own}:
        other = " (scripts/export.py writes other formats)" if own == ".pickle" else ""
        fix = f"name it {path.with_suffix(own).name}{other}"
        raise ValueError(f"{path}: this is written as {own}: {fix}")
    check_writable(path)
