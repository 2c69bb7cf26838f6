"""Divides the calls of a step among threads.

OpenBLAS divides each product among its own threads, but NumPy computes an elementwise operation in
one thread. Dividing only those operations would not help: for 20 ms after a product, OpenBLAS's
threads keep the other processors busy waiting for the next one. So a step with much elementwise
work is divided as a whole: each processor computes the same rows of the batch in all calls, and
these stay in its own cache. It waits for the others only where it reads what they have written.
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

# Threads of our own need at least this many elementwise results per task, on average: they delay
# each other by some 10 us a task, because they share Python's interpreter lock
LARGE = 150_000
# OpenBLAS's threads need at least this many multiplications per step
SMALL = 8_000_000


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
        divide: (number of threads) -> parts that may run at the same time, each in its own thread;
            a single part if the task cannot be divided.
        by_blas: for a product: all of it, for OpenBLAS to divide among its threads.
        numbers: how many results of elementwise operations it computes.
        multiplications: how many a product needs.
    """

    divide: Callable[[int], Sequence[Part]]
    by_blas: Part | None = None
    numbers: int = 0
    multiplications: int = 0


def schedule(tasks: Sequence[Task], *, own_threads: bool = False) -> Call:
    """One call that does all tasks. With ``own_threads``, OpenBLAS uses one thread."""
    count = processors()
    is_large = sum(task.numbers for task in tasks) >= LARGE * len(tasks)
    is_small = sum(task.multiplications for task in tasks) < SMALL
    with_blas = not (is_large or is_small or own_threads)
    lists: list[list[Call]] = [[] for _ in range(count)]
    barrier = threading.Barrier(count)
    phase: list[tuple[int, Part]] = []  # since the last barrier: threads, and their parts
    for task in tasks:
        if with_blas and task.by_blas:
            parts: Sequence[Part] = [task.by_blas]
        else:
            parts = task.divide(count if is_large else 1)
        placed = list(enumerate(parts))
        if any(i != j and _conflict(one, other) for i, one in placed for j, other in phase):
            for calls in lists:
                calls.append(barrier.wait)
            phase.clear()
        phase += placed
        for thread, part in placed:
            lists[thread] += part.calls
    if any(lists[1:]):
        return partial(_play_together, barrier, lists)
    return partial(play if with_blas else _play_alone, lists[0])


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


def run_together(calls: Sequence[Call]) -> None:
    """Make each call in its own thread, in which OpenBLAS has one thread."""
    _play_together(threading.Barrier(len(calls)), [[call] for call in calls])


def _play_together(barrier: threading.Barrier, lists: Sequence[Sequence[Call]]) -> None:
    """Make the calls of each list in its own thread; NumPy releases the GIL while it computes."""
    pool, starting = _helpers(len(lists))
    with one_thread():
        with starting:  # otherwise two runs could each get half of the threads, and hang
            helpers = [
                pool.submit(copy_context().run, _play_until_broken, barrier, calls)
                for calls in lists[1:]
            ]
        try:
            _play_until_broken(barrier, lists[0])
        finally:  # wait for the helpers, which write to the caller's arrays
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
def _helpers(threads: int) -> tuple[ThreadPoolExecutor, threading.Lock]:
    """This many threads, and a lock to hold while some of them are given work."""
    return ThreadPoolExecutor(threads, "ann"), threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows; a child process does not have the threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)
