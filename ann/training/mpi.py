"""Processes started by ``mpiexec`` on one or more machines, through mpi4py. MPI sums arrays on
CPUs. On GPUs, one per process, NVIDIA's NCCL sums them through CuPy; a CUDA graph can record that.
"""

import importlib
import time
import warnings
from typing import Any

import numpy as np

from ann.backends.base import Array, Backend
from ann.errors import DeviceError, printable_text
from ann.installation import install_command
from ann.training.distributed import Processes, on_all

_INSTALL = install_command("mpi")


class MpiProcesses(Processes):
    """All processes that ``mpiexec`` started, seen from one of them.

    Attributes:
        local: the number of this process on its machine, and the number of processes there. They
            determine its GPU and its share of the processors.

    Raises:
        ImportError: mpi4py is not installed, or does not find an MPI library.
    """

    def __init__(self) -> None:
        try:
            self._mpi: Any = importlib.import_module("mpi4py.MPI")
        except ModuleNotFoundError:
            raise ImportError(f"several processes need mpi4py and an MPI: {_INSTALL}") from None
        except (ImportError, RuntimeError) as error:  # mpi4py found no MPI library
            reason = printable_text(error, 300)
            raise ImportError(f"mpi4py finds no MPI: {_INSTALL}; its error: {reason}") from None
        self._world = self._mpi.COMM_WORLD
        self._farewell = self._world.Dup()
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        here = self._world.Split_type(self._mpi.COMM_TYPE_SHARED)
        self.local = here.Get_rank(), here.Get_size()
        self._bit = np.zeros(1, dtype=np.int32)
        self._nccl: Any = None

    def use(self, backend: Backend) -> None:
        """Prepare to sum arrays of this backend.

        Raises:
            DeviceError: NCCL is missing, or two processes have the same GPU.
        """
        if backend.name != "gpu" or self.size == 1:
            return
        self._xp = backend.xp
        self._nccl_module = on_all(self, self._load_nccl)
        bus_id = str(backend.xp.cuda.Device().pci_bus_id)
        gpus = len(set(self.gather((self._mpi.Get_processor_name(), bus_id))))
        if gpus < self.size:
            raise DeviceError(f"{self.size} processes have {gpus} GPUs: start one process per GPU")
        name = self._nccl_module.get_unique_id() if self.rank == 0 else None
        self._nccl = self._nccl_module.NcclCommunicator(self.size, self.gather(name)[0], self.rank)

    def _load_nccl(self) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            nccl: Any = importlib.import_module("cupy.cuda.nccl")
        if not nccl.available:
            reason = printable_text(caught[-1].message, 300) if caught else ""
            raise DeviceError(
                "several GPUs need NCCL: pip install nvidia-nccl-cu13 (or -cu12)"
                + (f"; CuPy's reason: {reason}" if reason else "")
            )
        return nccl

    def sum(self, array: Array) -> None:
        if self._nccl is None:
            self._world.Allreduce(self._mpi.IN_PLACE, array, op=self._mpi.SUM)
            return
        nccl, data = self._nccl_module, array.data.ptr
        double = array.dtype == self._xp.float64
        dtype = nccl.NCCL_FLOAT64 if double else nccl.NCCL_FLOAT32
        stream = self._xp.cuda.get_current_stream().ptr
        self._nccl.allReduce(data, data, array.size, dtype, nccl.NCCL_SUM, stream)

    def gather(self, value: Any) -> list[Any]:
        found: list[Any] = self._world.allgather(value)
        return found

    def any_process(self, bit: bool) -> bool:
        self._bit[0] = bit
        self._world.Allreduce(self._mpi.IN_PLACE, self._bit, op=self._mpi.MAX)
        return bool(self._bit[0])

    def all_leave(self, seconds: float | None) -> bool:
        """Wait up to ``seconds`` until all processes have called this; return whether they have."""
        request = self._farewell.Ibarrier()
        deadline = None if seconds is None else time.monotonic() + seconds
        while not request.Test():
            if deadline and time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def abort(self, code: int) -> None:
        """End all processes at once. Does not return."""
        self._world.Abort(code)
