"""What the programs share: where things are, how a flag is checked, and how an error ends a program in one
line.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import runpy
import shlex
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

# what mpiexec tells its processes: how many there are
MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
SEVERAL = max(int(_size) if (_size := os.environ.get(_name, "")).isdecimal() else 1 for _name in MPI_SIZES)
FIRST = all(os.environ.get(_name, "0") == "0" for _name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK"))


def leave_early(line: str, code: int = 1) -> NoReturn:
    """End before MPI knows of this process, with a line. The others wait for it, unless it dies of a signal."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    if SEVERAL > 1 and hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code)


def _leave(*signal_and_frame: object) -> NoReturn:
    leave_early("interrupted: nothing was changed", 130)


# Ctrl-C while everything is still being imported; with nohup and in some shells' background it is ignored, and stays so
_HEEDS_CTRL_C = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _HEEDS_CTRL_C:
    signal.signal(signal.SIGINT, _leave)

# Output may be closed, or unable to show a file's name; neither may end a training
sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
for _stream in (sys.stdout, sys.stderr):
    if hasattr(_stream, "reconfigure"):  # not where a notebook has put its own in place
        _stream.reconfigure(errors="backslashreplace")

# NumPy's BLAS lets idle threads spin for up to 0.1 s, which slows down whoever else wants the processor: after 2^18
# cycles they sleep instead. A lower number costs small networks time, since waking up takes long.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")  # read when NumPy is imported

# Several processes on one machine share its processors
for _name in ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE"):  # of MPICH and of Open MPI
    if os.environ.get(_name, "").isdecimal():
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(os.environ[_name]))))

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this program belongs to, installed or not

try:
    import numpy
    import tqdm  # noqa: F401 (looked for here, so that one line says what is missing)

    import ann
    from ann.sources import SOURCES
except ModuleNotFoundError as error:
    _there = (ROOT / ".venv").is_dir() and not sys.prefix.startswith(str(ROOT))
    _cure = "source .venv/bin/activate" if _there else "python -m pip install -e ."
    leave_early(f"error: {error.name} is not installed for {sys.executable}; in {ROOT}: {_cure}")


def _complain(text: str) -> None:
    """Print a line on standard error; if nobody can take it, that must not cost the user a training."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


warnings.showwarning = lambda message, *rest, **options: _complain(f"warning: {message}")
warnings.simplefilter("always", ann.TrainingWarning)
numpy.seterr(all="ignore")  # a training that diverges is found by its end of the epoch, and said in one line

DATA, MODEL = ROOT / "data", Path("mnist_ann.pickle")
DEVICE_HELP = (
    "auto (default): a GPU if one computes (and, to train, if it is faster), else the CPU; gpu never falls back"
)


# what other programs call our flags
_OTHER_NAMES = {
    **dict.fromkeys(("--lr", "--rate", "--eta"), "--learning-rate"),
    **dict.fromkeys(("--layers", "--hidden-layers", "--widths", "--units"), "--hidden"),
    **dict.fromkeys(("--bs", "--batch", "--batchsize"), "--batch-size"),
    **dict.fromkeys(("--wd", "--decay", "--l2"), "--weight-decay"),
    **dict.fromkeys(("--patience", "--early-stop"), "--early-stopping"),
    **dict.fromkeys(("--out", "--save", "--o", "--model"), "--output"),
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

    def error(self, message: str) -> NoReturn:
        """End the program over wrong usage."""
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        known = self._option_string_actions
        if unknown and unknown[1].startswith("-"):
            word = "--" + unknown[1].strip("-").split("=")[0].replace("_", "-")
            near = [_OTHER_NAMES[word]] if word in _OTHER_NAMES else difflib.get_close_matches(word, known)
            if near and near[0] in known:
                message += f"; did you mean {near[0]}?"
        elif choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            near = difflib.get_close_matches(choice[1].lower(), re.findall(r"[\w-]+", choice[2]), 1)
            message += f"; did you mean {near[0]}?" if near else ""
        elif unknown:
            after = "; a value stands after its flag"
            example = f": --model {unknown[1]}" if "--model" in known else ""
            message += after + (", and widths are one word, such as 128,32" if "--hidden" in known else example)
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")

    def early(self, flag: str, **options: Any) -> Any:
        """The value of a flag on which others depend, before all are parsed; None where that fails."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
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
        with one_line_errors():
            for path in imported:
                _run(path)

    def add_common(self, *, model: bool = False, device: bool = True) -> None:
        """Add the flags that several programs have."""
        if device:
            self.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help=DEVICE_HELP)
        self.add_argument(
            "--data",
            type=data_place,
            default=DATA,
            metavar="FOLDER",
            help=f"a folder with the four IDX files (default: data/), or a name: {', '.join(SOURCES)}, which are "
            "downloaded",
        )
        if model:
            self.add_argument("--model", type=Path, default=MODEL, metavar="FILE", help=f"default: {MODEL}")


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
    return text if text in SOURCES else Path(text)


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
    return shlex.join([python, str(Path(sys.argv[0]).with_name(program)), *map(_word, words)])


def _word(value: object) -> str:
    """A value as a word that no program takes for a flag: a file called -x is ./-x."""
    return os.path.join(".", value) if isinstance(value, Path) and str(value).startswith("-") else str(value)


def say(text: str) -> None:
    """Print a line at once. A reader that has seen enough, such as head, must not cost the user a training."""
    try:
        print(text, flush=True)
    except OSError:  # a closed pipe, or a log on a full disk
        _silence()


def _silence() -> None:
    """Let what is still to be printed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Interruption:
    """Within it, Ctrl-C and SIGTERM are noted, so that training can end with the step that it is making.

    A second Ctrl-C, if it comes some time after the first, is a KeyboardInterrupt at once: the step does not end.

    Attributes:
        signal: the number of the one that came, or 0.
    """

    signal = 0
    _PATIENCE = 2.0  # seconds: a shaky finger, or a program that passes on what the terminal has sent, means one

    def __enter__(self) -> Interruption:
        self._before = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._note)}
        if _HEEDS_CTRL_C:
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.signal:
            self.signal, self._noted = number, now
        elif number == signal.SIGINT and now - self._noted > self._PATIENCE:
            raise KeyboardInterrupt


def leave(number: int, text: str) -> NoReturn:
    """End after a signal: exit code 130 for Ctrl-C, 143 for SIGTERM, as shells have it."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)  # once is enough
    _end(128 + number, text)


@contextmanager
def one_line_errors(kept: Callable[[], str] = lambda: "", names: Collection[str] = ()) -> Iterator[None]:
    """Turn what users can cause into one line on standard error and exit code 1, or 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        kept: says what remains of the work, for these two.
        names: arguments of Python that errors may begin with, and that users know as flags.
    """
    try:
        if _HEEDS_CTRL_C:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _terminate)
        yield
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # all is done, and nothing left to interrupt
        sys.stdout.flush()
    except (ann.AnnError, ValueError, ImportError) as error:
        name, colon, rest = str(error).partition(": ")
        _end(1, f"error: --{name.replace('_', '-')}: {rest}" if colon and name in names else f"error: {error}")
    except BrokenPipeError:
        _silence()
    except OSError as error:
        _end(1, f"error: {error.filename or 'system'}: {error.strerror or error}")
    except MemoryError:
        _end(1, "error: not enough memory; try a smaller network or batch size")
    except KeyboardInterrupt:
        leave(signal.SIGINT, f"interrupted: {kept()}".rstrip(": "))
    except _Terminated:
        leave(signal.SIGTERM, f"interrupted: {kept()}".rstrip(": "))


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminate(*signal_and_frame: object) -> NoReturn:
    raise _Terminated


def _end(code: int, line: str) -> NoReturn:
    _complain(" ".join(line.split()))
    sys.exit(code)
