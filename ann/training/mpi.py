"""Processes on MPI, by mpi4py: on one machine or many, started by ``mpiexec``. Arrays on a CPU are summed by MPI
itself, those on GPUs, one for each process, by NVIDIA's NCCL through CuPy, which a CUDA graph can hold.
"""

from __future__ import annotations

import importlib
import time
import warnings
from typing import Any

import numpy as np

from ann.backends.base import Array, Backend
from ann.errors import DeviceError
from ann.training.distributed import on_all

_INSTALL = "pip install -e '.[mpi]'"


class MpiProcesses:
    """All processes that ``mpiexec`` has started, seen from one of them; see ``Processes``.

    Attributes:
        local: which one this is on its machine, and how many are there: for GPUs and processors.

    Raises:
        ImportError: mpi4py is not installed, or finds no MPI.
    """

    def __init__(self) -> None:
        try:
            self._mpi: Any = importlib.import_module("mpi4py.MPI")
        except ModuleNotFoundError:
            raise ImportError(f"several processes need mpi4py and an MPI: {_INSTALL}") from None
        except (ImportError, RuntimeError) as error:  # it has found no library
            reason = " ".join(str(error).split())
            raise ImportError(f"mpi4py finds no MPI: {_INSTALL}; it says: {reason}") from None
        self._world = self._mpi.COMM_WORLD
        self._farewell = self._world.Dup()
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        here = self._world.Split_type(self._mpi.COMM_TYPE_SHARED)
        self.local = here.Get_rank(), here.Get_size()
        self._bit = np.zeros(1, dtype=np.int32)
        self._nccl: Any = None

    def use(self, backend: Backend) -> None:
        """Sum arrays of this backend.

        Raises:
            DeviceError: NCCL is not there, or two processes have the same card.
        """
        if backend.name != "gpu" or self.size == 1:
            return
        self._xp = backend.xp
        self._nccl_module = on_all(self, self._load_nccl)
        cards = self.gather((self._mpi.Get_processor_name(), str(backend.xp.cuda.Device().pci_bus_id)))
        if len(set(cards)) < len(cards):
            raise DeviceError(f"{self.size} processes have {len(set(cards))} cards: start one process for each card")
        name = self._nccl_module.get_unique_id() if self.rank == 0 else None
        self._nccl = self._nccl_module.NcclCommunicator(self.size, self.gather(name)[0], self.rank)

    def _load_nccl(self) -> Any:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            nccl: Any = importlib.import_module("cupy.cuda.nccl")
        if not nccl.available:
            reason = "; CuPy says: " + " ".join(str(said[-1].message).split()) if said else ""
            raise DeviceError(f"several GPUs need NCCL: pip install nvidia-nccl-cu13 (or -cu12){reason}")
        return nccl

    def sum(self, array: Array) -> None:
        """See ``Processes``."""
        if self._nccl is None:
            self._world.Allreduce(self._mpi.IN_PLACE, array, op=self._mpi.SUM)
            return
        names, kind = self._nccl_module, array.dtype
        number = names.NCCL_FLOAT64 if kind == self._xp.float64 else names.NCCL_FLOAT32
        stream = self._xp.cuda.get_current_stream().ptr
        self._nccl.allReduce(array.data.ptr, array.data.ptr, array.size, number, names.NCCL_SUM, stream)

    def gather(self, value: Any) -> list[Any]:
        """See ``Processes``."""
        found: list[Any] = self._world.allgather(value)
        return found

    def any_process(self, bit: bool) -> bool:
        """See ``Processes``."""
        self._bit[0] = bit
        self._world.Allreduce(self._mpi.IN_PLACE, self._bit, op=self._mpi.MAX)
        return bool(self._bit[0])

    def all_leave(self, seconds: float | None) -> bool:
        """Wait, at most so long, until all have called this; whether they have."""
        request, until = self._farewell.Ibarrier(), None if seconds is None else time.monotonic() + seconds
        while not request.Test():
            if until and time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def abort(self, code: int) -> None:
        """End all processes, wherever they are. The call does not return."""
        self._world.Abort(code)
