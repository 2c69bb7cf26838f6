"""A program that several processes run together: the first one prints, and all end together."""

import io
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ann.backends.base import Backend
from ann.backends.select import get_backend
from ann.cli import bootstrap
from ann.cli.run_folder import versions
from ann.training.distributed import SINGLE_PROCESS, Processes, check_same
from ann.training.mpi import MpiProcesses

FLAG = "--distributed"
_PATIENCE = 2.0  # seconds to wait for the other processes, which may have the same error


@contextmanager
def launch(kind: type[MpiProcesses] = MpiProcesses) -> Iterator[Processes]:
    """All processes that ``mpiexec`` started, if the command line has the flag.

    An error that several of them have is printed once, and none waits for one that has died.
    """
    if FLAG not in sys.argv[1:]:
        if bootstrap.PROCESSES > 1:
            consequence = "every process would train its own network"
            line = f"error: started by mpiexec, but without {FLAG} {consequence}"
            sys.exit(line if bootstrap.FIRST else 1)
        yield SINGLE_PROCESS
        return
    try:
        processes = kind()
    except ImportError as error:
        bootstrap.exit_early(f"error: {error}")
    errors, held = sys.stderr, io.StringIO()
    if processes.rank > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = held
    if processes.size > 1:
        _take_a_gpu(processes)
    code = 0
    try:
        yield processes
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    if not processes.all_leave(_PATIENCE if code else None):
        if processes.rank > 0:
            errors.write(f"process {processes.rank}: {held.getvalue()}")
        errors.flush()
        time.sleep(0.3)  # mpiexec may lose lines that it has not passed on when it ends everything
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI would add its own lines
        processes.abort(code)
    if code:
        sys.exit(code)


def agree_on_backend(processes: Processes, backend: Backend, precision: str) -> Backend:
    """The backend that all processes use: this one if all have it, otherwise the CPU.

    Raises:
        ValueError: the processes have different versions of libraries.
    """
    if not isinstance(processes, MpiProcesses):
        return backend
    if len(set(processes.gather(backend.name))) > 1:
        backend = get_backend("cpu", precision)
    of_machines = ("Python", "machine", "threads")
    libraries = {name: each for name, each in versions(backend).items() if name not in of_machines}
    check_same(processes, {f"version of {name}": each for name, each in libraries.items()})
    processes.use(backend)
    return backend


def _take_a_gpu(processes: MpiProcesses) -> None:
    """Let this process see one GPU: the first process on a machine the first one, and so on."""
    rank, _ = processes.local
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(rank)
    elif "," in visible:
        gpus = visible.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[rank] if rank < len(gpus) else "-1"
