"""What is different for a program that several processes run together: the first one speaks, all end together, and none
waits for one that is gone.
"""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from ann.cli import bootstrap
from ann.training.distributed import SINGLE_PROCESS, Processes
from ann.training.mpi import MpiProcesses

FLAG = "--distributed"
_PATIENCE = 2.0  # seconds in which others say the same, if it is the same for all


@contextmanager
def processes() -> Iterator[Processes]:
    """All that ``mpiexec`` has started, if the command line has the flag; what they leave with is said once."""
    if FLAG not in sys.argv[1:]:
        if bootstrap.PROCESSES > 1:
            line = f"error: started by mpiexec, and without {FLAG} every process would train a network of its own"
            sys.exit(line if bootstrap.FIRST else 1)
        yield SINGLE_PROCESS
        return
    try:
        crew = MpiProcesses()
    except ImportError as error:
        bootstrap.exit_early(f"error: {error}")
    errors, held = sys.stderr, io.StringIO()
    if crew.rank > 0:
        sys.stdout, sys.stderr = open(os.devnull, "w"), held  # noqa: SIM115
    if crew.size > 1:
        _take_a_card(crew)
    code = 0
    try:
        yield crew
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    if not crew.all_leave(_PATIENCE if code else None):
        if crew.rank > 0:
            errors.write(f"process {crew.rank}: {held.getvalue()}")
        errors.flush()
        time.sleep(0.3)  # mpiexec may drop lines that it has not passed on when it ends everything
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI would add lines of its own
        crew.abort(code)
    if code:
        sys.exit(code)


def _take_a_card(crew: MpiProcesses) -> None:
    """Let this process see one GPU: the first on a machine the first one, and so on."""
    rank, _ = crew.local
    cards = os.environ.get("CUDA_VISIBLE_DEVICES")
    if cards is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(rank)
    elif "," in cards:
        named = cards.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = named[rank] if rank < len(named) else "-1"
