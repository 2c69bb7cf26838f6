"""Several processes of a training, as threads of one: what one machine needs to test what many do."""

import pickle
import threading

import numpy as np


class Member:
    """See ``ann.processes.Processes``; a barrier stands for the network."""

    def __init__(self, rank, size, board, barrier):
        self.rank, self.size, self._board, self._barrier = rank, size, board, barrier

    def _exchange(self, value):
        self._board[self.rank] = value
        self._barrier.wait()
        found = list(self._board)
        self._barrier.wait()
        return found

    def gather(self, value):
        return [pickle.loads(data) for data in self._exchange(pickle.dumps(value))]  # nothing is shared

    def either(self, bit):
        return any(self._exchange(bool(bit)))

    def sum(self, array):
        copies = self._exchange(array + 0 * array if not isinstance(array, np.ndarray) else array.copy())
        total = copies[0]
        for other in copies[1:]:
            total = total + other
        array[...] = total


def together(size, work):
    """What ``work(processes)`` gives in each of so many, or the exception that it raises there."""
    board, barrier, found = [None] * size, threading.Barrier(size, timeout=300), [None] * size

    def run(rank):
        try:
            found[rank] = work(Member(rank, size, board, barrier))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
