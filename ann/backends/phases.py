"""Divides the calls of a step among threads.

OpenBLAS divides each product among its own threads, but NumPy computes an elementwise operation in
one thread. Dividing only those operations would not help: for 20 ms after a product, OpenBLAS's
threads keep the other processors busy waiting for the next one. So a step with much elementwise
work is divided as a whole: each processor computes the same rows of the batch in all calls, and
these stay in its own cache. It waits for the others only where it reads what they have written.
"""

import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import numpy as np

from ann.backends.blas import Call, one_thread, processors

# Threads of our own need at least this many elementwise results per task, on average: they delay
# each other by some 10 us a task, because they share Python's interpreter lock
LARGE = 150_000
# OpenBLAS's threads need at least this many multiplications per step
SMALL = 8_000_000

# The calls of each thread; all threads finish a phase before the next one begins
Phase = list[list[Call]]
_Jobs = SimpleQueue[Call | None]
_Errors = SimpleQueue[BaseException | None]


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
    phases: list[Phase] = [[[] for _ in range(count)]]
    placed: list[tuple[int, Part]] = []  # the parts of the last phase, and their threads
    for task in tasks:
        if with_blas and task.by_blas:
            parts: Sequence[Part] = [task.by_blas]
        else:
            parts = task.divide(count if is_large else 1)
        new = list(enumerate(parts))
        if any(i != j and _conflict(one, other) for i, one in new for j, other in placed):
            phases.append([[] for _ in range(count)])
            placed.clear()
        placed += new
        for thread, part in new:
            phases[-1][thread] += part.calls
    if any(any(phase[1:]) for phase in phases):
        return partial(_play_together, phases)
    play_all = play if with_blas else _play_alone
    return partial(play_all, [call for phase in phases for call in phase[0]])


def _conflict(one: Part, other: Part) -> bool:
    """Whether one part writes what the other reads or writes."""
    if one.reads is None or other.reads is None:
        return True
    pairs = (
        *itertools.product(one.writes, [*other.reads, *other.writes]),
        *itertools.product(one.reads, other.writes),
    )
    return any(np.may_share_memory(*pair) for pair in pairs)


def play(calls: Sequence[Call]) -> None:
    """Make the calls in order."""
    for call in calls:
        call()


def _play_alone(calls: Sequence[Call]) -> None:
    with one_thread():
        play(calls)


def run_together(calls: Sequence[Call]) -> None:
    """Make each call in its own thread, in which OpenBLAS has one thread."""
    _play_together([[[call] for call in calls]])


def _play_together(phases: Sequence[Phase]) -> None:
    """Play the phases in order, with the calls of each thread in that thread.

    This saves time because NumPy releases the GIL while it computes.
    """
    helpers = len(phases[0]) - 1
    try:
        crew = _idle[helpers].pop()
    except IndexError:
        crew = _Crew(helpers)
    with one_thread():
        try:
            for phase in phases:
                crew.play(phase)
        except BaseException:
            crew.dismiss()
            raise
    _idle[helpers].append(crew)


class _Crew:
    """Helper threads. Only one other thread uses them at a time.

    ``SimpleQueue`` is written in C, so Ctrl-C cannot interrupt it halfway. It can interrupt
    Python's barriers and pools, and then the threads would wait forever.
    """

    def __init__(self, helpers: int) -> None:
        self._jobs: list[_Jobs] = [SimpleQueue() for _ in range(helpers)]
        self._done: _Errors = SimpleQueue()
        self._threads = [
            threading.Thread(target=_help, args=(jobs, self._done), name="ann", daemon=True)
            for jobs in self._jobs
        ]
        for thread in self._threads:
            thread.start()

    def play(self, phase: Phase) -> None:
        """Make the calls of a phase, here and in the helpers. After an error, dismiss the crew."""
        busy = 0
        for jobs, calls in zip(self._jobs, phase[1:], strict=True):
            if calls:
                jobs.put(partial(copy_context().run, play, calls))
                busy += 1
        play(phase[0])
        errors = [self._done.get() for _ in range(busy)]
        for error in errors:
            if error:
                raise error

    def dismiss(self) -> None:
        """End the threads, after their current calls, which write to the caller's arrays."""
        for jobs in self._jobs:
            jobs.put(None)
        for thread in self._threads:
            thread.join()


def _help(jobs: _Jobs, done: _Errors) -> None:
    while (job := jobs.get()) is not None:
        raised: BaseException | None = None
        try:
            job()
        except BaseException as error:
            raised = error
        del job  # otherwise its arrays would live until the next job
        done.put(raised)
        del raised


_idle: defaultdict[int, list[_Crew]] = defaultdict(list)  # unused crews by number of helpers
if hasattr(os, "register_at_fork"):  # not on Windows; a child process does not have the threads
    os.register_at_fork(after_in_child=_idle.clear)
