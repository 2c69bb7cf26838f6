"""The work of a training step on a GPU, in an order with few kernels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ann.backends.base import Array
from ann.backends.gpu_kernels import Kernels
from ann.backends.gpu_work import View, Work, extent, independent

_MOST_ARRAYS = 40  # of a kernel, whose arguments may have 4 kB


@dataclass
class _Node:
    """One call, or one kernel.

    Attributes:
        call: the call, if it is not a kernel.
        blocks: work of a kernel: in a block, one after the other on the same elements; the blocks
            are independent.
    """

    reads: list[View]
    writes: list[View]
    call: Callable[[], object] | None = None
    blocks: list[list[Work]] = field(default_factory=list)

    def add(self, work: Work) -> bool:
        """Add work to the kernel, if possible."""
        if self.call or len({view.key for view in self.accesses(work)}) > _MOST_ARRAYS:
            return False
        block: list[Work] | None = None
        for one in self.blocks:
            if block is None and all(map(work.can_follow, one)):
                block = one
            elif not all(independent(work.reads, work.outs, w.reads, w.outs) for w in one):
                return False
        if block is None:
            block = []
            self.blocks.append(block)
        block.append(work)
        self.reads += work.reads
        self.writes += work.outs
        return True

    def accesses(self, work: Work) -> list[View]:
        return [*self.reads, *self.writes, *work.reads, *work.outs]


class Queue:
    """The work of a step, in an order with few kernels."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels
        self.is_recording = False
        self._nodes: list[_Node] = []

    def run(self, function: Callable[[], None]) -> None:
        """Do everything that the function adds to the queue."""
        self.is_recording = True
        try:
            function()
            self.flush()
        finally:
            self.is_recording = False
            self._nodes = []

    def flush(self) -> None:
        """Do what was added until now."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            if node.call:
                node.call()
            else:
                self.kernels.run(node.blocks)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function that may read and write anything."""
        self.flush()
        function()

    def add(self, work: Work) -> None:
        """Add elementwise work to the last kernel that can have it, or to a new one."""
        for node in reversed(self._nodes):
            if node.add(work):
                break
            if not independent(work.reads, work.outs, node.reads, node.writes):
                self._append(work)
                break
        else:
            self._append(work)
        if not self.is_recording:
            self.flush()

    def _append(self, work: Work) -> None:
        self._nodes.append(_Node([*work.reads], [*work.outs], blocks=[[work]]))

    def add_call(
        self, call: Callable[[], object], reads: Sequence[Array], writes: Sequence[Array]
    ) -> None:
        """Add a call. It may come before kernels that are independent of it, which then can grow."""
        node = _Node([extent(array) for array in reads], [extent(array) for array in writes], call)
        place = len(self._nodes)
        while place > 0:
            other = self._nodes[place - 1]
            if not independent(node.reads, node.writes, other.reads, other.writes):
                break
            place -= 1
        self._nodes.insert(place, node)
        if not self.is_recording:
            self.flush()
