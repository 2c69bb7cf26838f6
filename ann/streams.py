"""Random numbers: one seeded host generator for each purpose, so that no purpose disturbs another. Drawing them
on the host makes them the same on every device, and evaluating a network never draws any.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

_PURPOSES = {"weights": 0, "order": 1, "dropout": 2, "distortion": 3}


def generator(
    seed: int, purpose: Literal["weights", "order", "dropout", "distortion"], index: int = 0
) -> np.random.Generator:
    """The generator for a purpose, independent of the others.

    Args:
        seed: the user's seed, at least 0.
        purpose: what the numbers are for.
        index: which one of a row, such as the epoch.
    """
    return np.random.default_rng([seed, _PURPOSES[purpose], index])
