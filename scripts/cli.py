"""What the programs share: where things are, how a flag is checked, and how a line is said. It comes before what needs
NumPy, since it starts what must be first.
"""

from __future__ import annotations

import argparse
import difflib
import os
import platform
import re
import runpy
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import endings
import numpy
from startup import ROOT

import ann
from ann.data.catalog import SOURCES
from ann.files.atomic import user_path
from ann.spelling import did_you_mean

DATA, MODEL = ROOT / "data", Path("mnist_ann.pickle")

# what other programs call our flags
_OTHER_NAMES = {
    **dict.fromkeys(("--lr", "--rate", "--eta"), "--learning-rate"),
    **dict.fromkeys(("--layers", "--hidden-layers", "--widths", "--units"), "--hidden"),
    **dict.fromkeys(("--bs", "--batch", "--batchsize"), "--batch-size"),
    **dict.fromkeys(("--wd", "--decay", "--l2"), "--weight-decay"),
    **dict.fromkeys(("--patience", "--early-stop"), "--early-stopping"),
    **dict.fromkeys(("--out", "--save", "--o"), "--output"),
    **dict.fromkeys(("--gpu", "--cuda", "--cpu"), "--device"),
    **dict.fromkeys(("--continue", "--checkpoint"), "--resume"),
    **dict.fromkeys(("--val", "--validation-split"), "--validation"),
}


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, with exit code 2."""

    def __init__(self, description: str, examples: str) -> None:
        super().__init__(
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.register("type", Path, user_path)  # shells do not expand the ~ of --model=~/file
        versions = f"ann {ann.__version__}, NumPy {numpy.__version__}, Python {platform.python_version()}"
        self.add_argument("--version", action="version", version=versions)

    def error(self, message: str) -> NoReturn:
        """End the program over wrong usage."""
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        known = self._option_string_actions
        if unknown and unknown[1].startswith("-"):
            word = "--" + unknown[1].strip("-").split("=")[0].replace("_", "-")
            near = [_OTHER_NAMES[word]] if word in _OTHER_NAMES else difflib.get_close_matches(word, known)
            names = [str(action.metavar) for action in self._actions if not action.option_strings]
            if word == "--model" and "--hidden" in known:  # train.py writes the model
                near = ["--output"]
            if word.strip("-").upper() in names:
                message += f"; give {names[0]} without a flag"
            elif near and near[0] in known:
                message += f"; did you mean {near[0]}?"
        elif choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            message += did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif unknown:
            after = "; a value stands after its flag"
            example = f": --model {unknown[1]}" if "--model" in known else ""
            message += after + (", and widths are one word, such as 128,32" if "--hidden" in known else example)
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the program, for example after ``--help``."""
        with endings.one_line_errors():
            super().exit(status, message)
        raise AssertionError

    def early(self, flag: str, **options: Any) -> Any:
        """The value of a flag on which others depend, before all are parsed; None where that fails."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        parser.register("type", Path, user_path)
        parser.add_argument(flag, **{**options, "dest": "value"})
        try:
            return parser.parse_known_args()[0].value
        except argparse.ArgumentError:
            return None  # which the real parser will say

    def add_import(self, more: Sequence[Path] = ()) -> None:
        """Add ``--import``, and do it now: what it registers becomes a choice of other flags.

        more: files to import where none are named.
        """
        options: dict[str, Any] = {
            "dest": "imported",
            "action": "append",
            "default": None,
            "type": Path,
            "metavar": "FILE",
            "help": "a Python file that is run first; it may call ann.register_activation",
        }
        self.add_argument("--import", **options)
        named = self.early("--import", **options)
        imported = named or list(more)
        self.set_defaults(imported=[] if named else imported)  # to which those that are named will be added
        with endings.one_line_errors():
            for path in imported:
                _run(path)

    def add_common(self, *, model: bool = False, device: bool = True) -> None:
        """Add the flags that several programs have."""
        if device:
            self.add_device("auto")
        self.add_argument(
            "--data",
            type=data_place,
            default=DATA,
            metavar="FOLDER",
            help=f"a folder with the four IDX files (default: data/), or a name: {', '.join(SOURCES)}, which are "
            "downloaded",
        )
        if model:
            self.add_model()

    def add_device(self, default: str) -> None:
        """Add ``--device``."""
        text = "auto: a working GPU (for training: if it is faster), otherwise the CPU; gpu fails if there is none"
        self.add_argument(
            "--device", choices=("auto", "cpu", "gpu"), default=default, help=f"{text} (default: {default})"
        )

    def add_classes(self) -> None:
        """Add ``--classes``, for programs that show answers but read no data set."""
        text = "the data set whose class names are shown (default: mnist)"
        self.add_argument("--classes", choices=tuple(SOURCES), default="mnist", help=text)

    def add_model(self, positional: str = "", what: str = "a model file") -> None:
        """Add ``--model`` and, if ``positional`` names one, a positional argument that means the same."""
        group = self.add_mutually_exclusive_group()
        what = f"{what} (default: {MODEL})"
        same = f"the same as {positional}" if positional else what
        group.add_argument("--model", type=Path, default=MODEL, metavar="FILE", help=same)
        if positional:
            group.add_argument("model", action=_IfGiven, type=Path, nargs="?", metavar=positional, help=what)


class _IfGiven(argparse.Action):
    """Stores a positional argument; if it is not given, keeps the value of the flag."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, option: object = None) -> None:
        if values is not None:
            setattr(namespace, self.dest, values)


def _run(path: Path) -> None:
    try:
        runpy.run_path(str(path))
    except (OSError, ann.AnnError) as error:
        raise error
    except Exception as error:  # whatever a user's file raises
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"line {lines[-1]}: " if lines else ""
        raise ValueError(f"{path}: {place}{type(error).__name__}: {error}") from error


def data_place(text: str) -> str | Path:
    """An argparse type: the name of a data set, or a folder, such as ./mnist."""
    return text if text in SOURCES else user_path(text)


# of other files of ours, which a model's or a page's would replace, or be taken for
_ENDINGS = {
    ".safetensors",
    ".npz",
    ".onnx",
    ".html",
    ".pickle",
    ".png",
    ".jpg",
    ".svg",
    ".pdf",
    ".json",
    ".jsonl",
    ".py",
}


def check_ending(path: Path, own: str, other: str = "") -> None:
    """Raise ValueError where a file's name has the ending of another kind of file; ``other`` says how to make such."""
    if path.suffix.lower() in _ENDINGS - {own}:
        more = f" ({other})" if other else ""
        raise ValueError(f"{path}: this is written as {own}: name it {path.with_suffix(own).name}{more}")


def load_dataset(folder_or_name: str | os.PathLike[str]) -> ann.Dataset:
    """``ann.load_dataset``, with the progress of a download on standard error."""
    from download_bar import DownloadBar

    with DownloadBar() as bar:
        return ann.load_dataset(folder_or_name, bar.update)


OTHER_FORMS = "export.py makes other forms of it"  # said of a model


def checked(check: Callable[[Any], object], convert: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    """An argparse type: convert the text, then check the value; either may raise ValueError."""

    def parse(text: str) -> Any:
        try:
            value = convert(text)
            check(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}") from None
        return value

    return parse


def command(program: str, *words: object) -> str:
    """A line that runs another program of this folder with this Python, from where the user is now."""
    here = shutil.which("python")
    if here and os.path.abspath(here) == sys.executable:  # not resolved: a virtual environment's python is a link
        python = "python"
    elif sys.executable.startswith(os.getcwd() + os.sep):
        python = os.path.join(".", os.path.relpath(sys.executable))
    else:
        python = sys.executable
    beside = Path(sys.argv[0]).with_name(program)  # does not exist if this program was started through a link
    return shlex.join([python, str(beside if beside.exists() else ROOT / "scripts" / program), *map(_word, words)])


def _word(value: object) -> str:
    """A value as a word that no program takes for a flag: a file called -x is ./-x."""
    return os.path.join(".", value) if isinstance(value, Path) and str(value).startswith("-") else str(value)


def say(text: str) -> None:
    """Print a line immediately."""
    print(text, flush=True)
