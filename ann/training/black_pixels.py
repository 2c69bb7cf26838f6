"""Pixels that are black in every training image, such as the corners. Training spares them the arithmetic, which is
exact: what is multiplied by 0 adds nothing. Only where it changes images, by distortion or moves, it cannot.
"""

from __future__ import annotations

import numpy as np


def black_first(pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """Images (N, I) -> the numbers of the inputs and the bias (I + 1,), in another order, and how many to leave out.

    Those at the front are black, 0, in all images, a twelfth of MNIST's. A few of them stay, to make the rest a
    multiple of 8, which processors like.
    """
    seen = np.asarray(pixels.any(axis=0))
    rows = np.concatenate([np.flatnonzero(~seen), np.flatnonzero(seen), [len(seen)]])
    black = len(seen) - int(seen.sum())
    return rows, black - min(black, -(len(rows) - black) % 8)
