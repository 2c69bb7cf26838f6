"""Orders the work of a training step on a GPU so that it takes few kernels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ann.backends.base import Array, Backend, Formula
from ann.backends.gpu_kernels import Kernels
from ann.backends.gpu_work import View, Work, extent, independent

_MOST_ARRAYS = 40  # in a kernel, whose arguments may take 4 kB


@dataclass
class _Node:
    """One call, or one kernel.

    Attributes:
        call: the call, if it is not a kernel.
        blocks: the work of a kernel. A block is work on the same elements, in this order. The
            blocks are independent.
    """

    reads: list[View]
    writes: list[View]
    call: Callable[[], object] | None = None
    blocks: list[list[Work]] = field(default_factory=list)

    def block_for(self, work: Work) -> list[Work] | None:
        """The block of this kernel to add the work to, or a new one; None if it does not fit."""
        views = [*self.reads, *self.writes, *work.views]
        if self.call or len({view.key for view in views}) > _MOST_ARRAYS:
            return None
        found: list[Work] | None = None
        for block in self.blocks:
            if found is None and all(map(work.can_follow, block)):
                found = block
            elif not all(independent(work.reads, work.outs, w.reads, w.outs) for w in block):
                return None
        return [] if found is None else found

    def add(self, work: Work, block: list[Work]) -> None:
        """Add work to a block of the kernel."""
        if not block:
            self.blocks.append(block)
        block.append(work)
        self.reads += work.reads
        self.writes += work.outs


class Queue:
    """The ``Recording`` of a step on a GPU, which it does with few kernels.

    Args:
        gpu: a backend with CuPy. It does what a kernel cannot do.
        kernels: makes the kernels.

    Attributes:
        running: the formula that runs now, if it is not part of a kernel.
    """

    captures = True

    def __init__(self, gpu: Backend, kernels: Kernels) -> None:
        self.is_recording = False
        self.running: Formula | None = None
        self._gpu, self._kernels = gpu, kernels
        self._nodes: list[_Node] = []

    def run(self, function: Callable[[], None]) -> None:
        """Call the function, which adds work, and do all of this work."""
        self.is_recording = True
        try:
            function()
            self.flush()
        finally:
            self.is_recording = False
            self._nodes = []

    def flush(self) -> None:
        """Do all work in the queue."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            if node.call:
                node.call()
            else:
                self._kernels.run(node.blocks)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function that may read and write any array, after all work in the queue."""
        self.flush()
        function()

    def elementwise(self, function: Formula, arrays: Any, out: Any) -> None:
        """See ``Backend.elementwise``."""
        fallback = partial(self._gpu.elementwise, function, *arrays, out=out)
        work = self._kernels.elementwise(function, arrays, out, fallback)
        if work:
            self._add(work)
        else:
            self.running = function
            self.call(fallback)
            self.running = None

    def take(self, array: Array, indices: Any, axis: int | None = None, *, out: Array) -> None:
        """See ``numpy.take``."""
        fallback = partial(self._gpu.xp.take, array, indices, axis=axis, out=out)
        work = self._kernels.take(array, indices, out, fallback) if axis == 0 else None
        if work:
            self._add(work)
        else:
            self.call(fallback)

    def _add(self, work: Work) -> None:
        """Add elementwise work to the first kernel that can do it, or to a new one."""
        places = []
        for node in reversed(self._nodes):
            block = node.block_for(work)
            if block is not None:
                places.append((node, block))
            if not independent(work.reads, work.outs, node.reads, node.writes):
                break
        if not places:
            self._nodes.append(_Node([], []))
            places.append((self._nodes[-1], []))
        node, block = places[-1]
        node.add(work, block)
        if not self.is_recording:
            self.flush()

    def add_call(
        self, call: Callable[[], object], reads: Sequence[Array], writes: Sequence[Array]
    ) -> None:
        """Add a call as early as possible, so that the kernels after it can do more work."""
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
