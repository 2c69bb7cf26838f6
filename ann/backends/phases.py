"""Shares the work of a step among processors.

OpenBLAS and NumPy would do it one call at a time. OpenBLAS divides each product among its own
threads and lets them spin for 20 ms after it, so that elementwise work, which NumPy does in one
thread, cannot be divided as well. Here each processor gets its part of all calls: the same rows of
the batch in one call after another, which stay in its own cache. The processors only wait for each
other where one reads what another wrote.
"""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

import numpy as np

from ann.backends.blas import Call, one_thread, processors

# Multiplications of a step at least: waiting for each other takes about 20 us. Less work takes
# OpenBLAS's threads less time
LARGE = 100_000_000
PER_NUMBER = 8  # multiplications in the time of an elementwise operation on one number


@dataclass
class Part:
    """Calls for one thread, in order.

    Attributes:
        reads, writes: the arrays that they read and write; None if that is not known.
    """

    calls: Sequence[Call]
    reads: Sequence[np.ndarray] | None = None
    writes: Sequence[np.ndarray] = ()


@dataclass
class Task:
    """A part of a step, such as a product.

    Attributes:
        parts: these may run at the same time, each in its own thread.
        divide: from a number of threads, that many parts instead, in which OpenBLAS has one thread;
            None if it cannot be divided.
        work: the number of multiplications.
    """

    parts: Sequence[Part]
    divide: Callable[[int], Sequence[Part]] | None = None
    work: int = 0


def schedule(tasks: Sequence[Task], *, own_threads: bool = False) -> Call:
    """One call that does all tasks; with ``own_threads``, OpenBLAS has one thread meanwhile."""
    threads = processors()
    is_large = threads > 1 and sum(task.work for task in tasks) >= LARGE
    lists: list[list[Call]] = [[] for _ in range(threads)]
    barrier = threading.Barrier(threads)
    phase: list[tuple[int, Part]] = []  # since the last barrier: parts, and the threads they are in
    is_shared = False
    for task in tasks:
        parts = task.divide(threads) if is_large and task.divide else task.parts
        is_shared |= len(parts) > 1
        placed = list(enumerate(parts))
        if any(i != j and _conflict(one, other) for i, one in placed for j, other in phase):
            for calls in lists:
                calls.append(barrier.wait)
            phase.clear()
        phase += placed
        for thread, part in placed:
            lists[thread] += part.calls
    if is_shared:
        return partial(_play_together, barrier, lists)
    return partial(_play_alone if own_threads else play, lists[0])


def _conflict(one: Part, other: Part) -> bool:
    """Whether one part writes what the other reads or writes."""
    if one.reads is None or other.reads is None:
        return True
    used = [*one.reads, *one.writes], [*other.reads, *other.writes]
    return any(
        np.may_share_memory(array, written)
        for arrays, writes in zip(used, (other.writes, one.writes), strict=True)
        for array in arrays
        for written in writes
    )


def play(calls: Sequence[Call]) -> None:
    """Make the calls in order."""
    for call in calls:
        call()


def _play_alone(calls: Sequence[Call]) -> None:
    with one_thread():
        play(calls)


def _play_together(barrier: threading.Barrier, lists: Sequence[Sequence[Call]]) -> None:
    """Make the calls of each list in its own thread; NumPy releases the GIL while it computes."""
    pool, starting = _pool()
    with one_thread():
        with starting:  # if two trainings had half of the threads each, both would wait forever
            helpers = [
                pool.submit(copy_context().run, _play_until_broken, barrier, calls)
                for calls in lists[1:]
            ]
        try:
            _play_until_broken(barrier, lists[0])
        finally:  # wait: they write to the caller's arrays
            errors = [helper.exception() for helper in helpers]
            if barrier.broken:
                barrier.reset()
        for error in errors:
            if error:
                raise error


def _play_until_broken(barrier: threading.Barrier, calls: Sequence[Call]) -> None:
    """Make the calls, until one fails in any thread. It is raised in that thread only."""
    try:
        play(calls)
    except threading.BrokenBarrierError:
        return
    except BaseException:
        barrier.abort()
        raise


@functools.cache
def _pool() -> tuple[ThreadPoolExecutor, threading.Lock]:
    """Threads, and a lock to take while several of them are started."""
    return ThreadPoolExecutor(processors(), "ann"), threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows; a child process does not have the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
