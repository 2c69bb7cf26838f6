"""Random numbers: one seeded host generator for each purpose, so that purposes do not affect each
other. The host generates the numbers, so they are the same for every device. Evaluating a network
uses none.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

# The position of a purpose is part of its seed
Purpose = Literal["weights", "order", "dropout", "distortion", "examples", "channels"]


def generator(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The generator of a seed for a purpose, independent of those for other purposes.

    ``index``: selects one of several generators for this purpose; the epoch, for example.
    """
    return np.random.default_rng([seed, get_args(Purpose).index(purpose), index])


def drawn(
    seeds: Sequence[int],
    purpose: Purpose,
    index: int,
    draw: Callable[[np.random.Generator], np.ndarray],
) -> np.ndarray:
    """Call ``draw`` with the generator of each seed: (K, ...), or (...) for a single seed."""
    rows = [draw(generator(seed, purpose, index)) for seed in seeds]
    return rows[0] if len(rows) == 1 else np.stack(rows)
