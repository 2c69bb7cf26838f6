"""The start of every program, before NumPy is imported; it needs only the standard library."""

import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import NoReturn

from ann.cli.output import protect_streams, warn
from ann.errors import TrainingWarning
from ann.installation import INSTALLED, ROOT

# The number of processes, as MPICH and Open MPI tell each of them
_SIZES = (os.environ.get(name, "") for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
PROCESSES = max([1, *(int(size) for size in _SIZES if size.isdecimal())])
FIRST = all(os.environ.get(name, "0") == "0" for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK"))

# Ctrl-C is ignored under nohup and in the background of some shells, and then it stays ignored
HEEDS_CTRL_C = signal.getsignal(signal.SIGINT) is signal.default_int_handler


def start() -> None:
    """Prepare this process; a missing library ends it with one line."""
    if HEEDS_CTRL_C:
        signal.signal(signal.SIGINT, _interrupted)
    protect_streams()
    _share_processors()
    if str(ROOT / "scripts") not in sys.path:  # python -P, -I and -m omit it
        sys.path.insert(0, str(ROOT / "scripts"))
    warnings.showwarning = lambda message, *rest, **options: warn(f"warning: {message}")
    # Even with python -W error, our warnings are printed and never end training
    warnings.simplefilter("default", RuntimeWarning)
    warnings.simplefilter("always", TrainingWarning)
    try:
        import numpy  # noqa: F401
        import tqdm  # noqa: F401
    except ModuleNotFoundError as error:
        virtual = (ROOT / ".venv").is_dir() and not sys.prefix.startswith(str(ROOT))
        fix = "source .venv/bin/activate" if virtual else "python -m pip install -e ."
        fix = f"python -m pip install {error.name}" if INSTALLED else f"in {ROOT}: {fix}"
        exit_early(f"error: {error.name} is not installed for {sys.executable}; {fix}")


def exit_early(line: str, code: int = 1) -> NoReturn:
    """Print a line and end before MPI knows this process.

    The other processes would wait for it forever unless it dies of a signal.
    """
    with suppress(OSError):
        warn(line)
    if PROCESSES > 1 and hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code)


def _interrupted(*signal_and_frame: object) -> NoReturn:
    exit_early("interrupted", 130)


def _share_processors() -> None:
    """Set how NumPy's BLAS uses threads; it reads this when NumPy is imported."""
    # Idle threads spin for up to 0.1 s and slow down other programs: sleep after 2^18 cycles
    # instead. A lower number slows down small networks, since waking up takes long.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")
    # Several processes on one machine share its processors
    for name in ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE"):  # of MPICH and of Open MPI
        if os.environ.get(name, "").isdecimal():
            share = max(1, (os.cpu_count() or 1) // int(os.environ[name]))
            os.environ.setdefault("OPENBLAS_NUM_THREADS", str(share))
