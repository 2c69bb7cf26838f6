"""Random numbers: one seeded host generator for each purpose, so that no purpose disturbs another. Drawing them
on the host makes them the same on every device, and evaluating a network never draws any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

_PURPOSES = {"weights": 0, "order": 1, "dropout": 2, "distortion": 3, "examples": 4}
_Purpose = Literal["weights", "order", "dropout", "distortion", "examples"]


def generator(seed: int, purpose: _Purpose, index: int = 0) -> np.random.Generator:
    """The generator for a purpose, independent of the others.

    Args:
        seed: the user's seed, at least 0.
        purpose: what the numbers are for.
        index: which one of a row, such as the epoch.
    """
    return np.random.default_rng([seed, _PURPOSES[purpose], index])


def drawn(
    seeds: Sequence[int], purpose: _Purpose, index: int, draw: Callable[[np.random.Generator], np.ndarray]
) -> np.ndarray:
    """What ``draw`` makes of the generators of some seeds, side by side: (K, ...), or (...) for one seed alone."""
    rows = [draw(generator(seed, purpose, index)) for seed in seeds]
    return rows[0] if len(rows) == 1 else np.stack(rows)
