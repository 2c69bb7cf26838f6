"""Several processes that train one network together, each on its shard of every batch. This is the
interface that training needs; ``mpi`` implements it. A single process pays nothing for it.

All processes make the same calls in the same order, and each call waits for all of them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from ann.backends.base import Array
from ann.errors import AnnError

T = TypeVar("T")


class Processes:
    """The processes of a training run, seen from one of them. This class is for a single one.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
    """

    rank, size = 0, 1

    def sum(self, array: Array) -> None:
        """Replace a contiguous device array by its sum over all processes, the same in all."""

    def gather(self, value: Any) -> list[Any]:
        """The plain value of every process, ordered by rank."""
        return [value]

    def any_process(self, bit: bool) -> bool:
        """Whether any process passes True. Faster than ``gather``; called after every step."""
        return bit


SINGLE_PROCESS = Processes()


def on_first(processes: Processes, make: Callable[[], T]) -> T:
    """Call a function in the first process; return its result, or raise its exception, in all."""
    value: Any = None
    if processes.rank == 0:
        try:
            value = make()
        except Exception as error:
            value = error
    value = processes.gather(value)[0]
    if isinstance(value, Exception):
        raise value
    made: T = value
    return made


def on_all(processes: Processes, make: Callable[[], T]) -> T:
    """Call a function in each process and return its own result; if it raises in one, raise in all.

    It raises what the first process raised, or AnnError with the message of another process.
    """
    failure: Exception | None = None
    try:
        made = make()
    except Exception as error:
        failure = error
    message = None if failure is None else str(failure) or type(failure).__name__
    for rank, found in enumerate(processes.gather(message)):
        if found is not None:
            if failure and rank == 0:
                raise failure
            raise AnnError(f"process {rank}: {found}" if rank else found)
    return made


def check_same(processes: Processes, values: dict[str, Any]) -> None:
    """Raise ValueError unless the plain values, by name, are the same in all processes."""
    everywhere = processes.gather(values)
    for name, value in everywhere[0].items():
        for rank, other in enumerate(everywhere):
            if other.get(name) != value:
                found, expected = str(other.get(name))[:60], str(value)[:60]
                raise ValueError(
                    f"process {rank} differs from process 0 in its {name}: {found}, not {expected}"
                )


def shard(processes: Processes, batch: slice) -> tuple[slice, float]:
    """This process's shard of a batch, and the fraction of the batch that it is.

    The sizes of shards differ by at most one image. If a batch has fewer images than processes, a
    process without one gets the first image and the fraction 0.
    """
    size, rank, count = batch.stop - batch.start, processes.rank, processes.size
    start, stop = size * rank // count, size * (rank + 1) // count
    if start == stop:
        return slice(batch.start, batch.start + 1), 0.0
    return slice(batch.start + start, batch.start + stop), (stop - start) / size
