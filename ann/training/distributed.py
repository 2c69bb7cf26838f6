"""Several processes that train one network together, each on its share of every batch. Here is what training asks of
them; ``mpi`` has them on MPI. With one process alone, nothing of it costs anything.

Every process makes the same calls in the same order, and each call waits for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ann.backends.base import Array
from ann.errors import AnnError

T = TypeVar("T")


class Processes(Protocol):
    """The processes of a training, seen from one of them.

    Attributes:
        rank: which one this is, counted from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def sum(self, array: Array) -> None:
        """Put the sum of all processes' device arrays, which are contiguous, in place of each: the same bits in all."""

    def gather(self, value: Any) -> list[Any]:
        """Every process's plain value, in their order."""

    def any_process(self, bit: bool) -> bool:
        """Whether any process says so: ``gather`` for what is asked after every step."""


class SingleProcess:
    """One process."""

    rank, size = 0, 1

    def sum(self, array: Array) -> None:
        """Nothing."""

    def gather(self, value: Any) -> list[Any]:
        """Its value."""
        return [value]

    def any_process(self, bit: bool) -> bool:
        """What it says."""
        return bit


SINGLE_PROCESS = SingleProcess()


def on_first(processes: Processes, make: Callable[[], T]) -> T:
    """What the first process makes, in all of them; or the exception that it raises."""
    value: Any = None
    if processes.rank == 0:
        try:
            value = make()
        except Exception as error:
            value = error
    if processes.size > 1:
        value = processes.gather(value)[0]
    if isinstance(value, Exception):
        raise value
    made: T = value
    return made


def on_all(processes: Processes, make: Callable[[], T]) -> T:
    """What each process makes for itself; where one of them raises, all do, and say which.

    Raises:
        Exception: what the first process raised; AnnError, with the same words, where it was another one.
    """
    failure: Exception | None = None
    try:
        made = make()
    except Exception as error:
        failure = error
    words = None if failure is None else str(failure) or type(failure).__name__
    for rank, found in enumerate(processes.gather(words)):
        if found is not None:
            if failure and rank == 0:
                raise failure
            raise AnnError(f"process {rank}: {found}" if rank else found)
    return made


def check_same(processes: Processes, what: dict[str, Any]) -> None:
    """Raise ValueError where two processes differ in something; ``what`` has plain values by name."""
    if processes.size == 1:
        return
    everywhere = processes.gather(what)
    for name, value in everywhere[0].items():
        for rank, other in enumerate(everywhere):
            if other.get(name) != value:
                found, expected = (str(one)[:60] for one in (other.get(name), value))
                raise ValueError(f"process {rank} has another {name} than process 0: {found}, not {expected}")


def shard(processes: Processes, batch: slice) -> tuple[slice, float]:
    """This process's part of a batch, and what part of the batch that is.

    Shares differ by an image at most. A process for which none is left takes the first, which then counts nothing.
    """
    size, rank, of = batch.stop - batch.start, processes.rank, processes.size
    start, stop = size * rank // of, size * (rank + 1) // of
    if start == stop:
        return slice(batch.start, batch.start + 1), 0.0
    return slice(batch.start + start, batch.start + stop), (stop - start) / size
