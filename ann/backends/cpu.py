"""The CPU: NumPy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ann.backends.base import Array, Backend
from ann.backends.blas import equal_parts, processors
from ann.backends.phases import run_together
from ann.backends.recorder import CpuRecorder


class CpuBackend(Backend):
    """NumPy."""

    def __init__(self, xp: Any, description: str) -> None:
        super().__init__("cpu", xp, description)

    def copyto(self, array: Array, out: Array) -> None:
        np.copyto(out, array, casting="unsafe")

    def share(self, function: Callable[[slice], None], count: int) -> None:
        run_together([partial(function, part) for part in equal_parts(count, processors())])

    def recorder(self) -> Backend:
        return CpuRecorder(self.description)
