"""What must be so before NumPy is imported, which everything else needs: a word for Ctrl-C, streams that never end a
program, threads that share the processors, this checkout's package, and one line where something is not installed.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

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
HEEDS_CTRL_C = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if HEEDS_CTRL_C:
    signal.signal(signal.SIGINT, _leave)


class Stream:
    """Standard output or error that never ends a program: what cannot be written is lost, and the program continues.

    Attributes:
        error: the first failure, which ``endings`` reports; None if there was none, or only a reader that left.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]  # for file names
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text; if that fails, it is lost."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written; if that fails, it is lost."""
        self._try(self._stream.flush)

    def _try(self, function: Callable[..., object], *arguments: str) -> None:
        try:
            function(*arguments)
        except BrokenPipeError:  # the reader, such as head, has what it wanted
            pass
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


for _name in ("stdout", "stderr"):
    _before = getattr(sys, _name)  # None if it is closed
    _stream = _before or open(os.devnull, "w")  # noqa: SIM115
    if hasattr(_stream, "reconfigure"):  # not where a notebook has put its own in place
        _stream = Stream(_stream)
    if _before is getattr(sys, f"__{_name}__"):
        setattr(sys, f"__{_name}__", _stream)  # Python flushes this one too when it ends
    setattr(sys, _name, _stream)

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
    import tqdm  # noqa: F401 (looked for here, so that one line says what is missing)

    import ann
except ModuleNotFoundError as error:
    _there = (ROOT / ".venv").is_dir() and not sys.prefix.startswith(str(ROOT))
    _cure = "source .venv/bin/activate" if _there else "python -m pip install -e ."
    leave_early(f"error: {error.name} is not installed for {sys.executable}; in {ROOT}: {_cure}")


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


warnings.showwarning = lambda message, *rest, **options: complain(f"warning: {message}")
# Even with python -W error, our warnings are printed and never end a training
warnings.simplefilter("default", RuntimeWarning)
warnings.simplefilter("always", ann.TrainingWarning)
