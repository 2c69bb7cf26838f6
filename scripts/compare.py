"""Two networks on the same images: whether one is better, or just luckier, and where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ann.analysis.metrics import mcnemar

_SHOWN = 20
_CHANCE = 0.05  # what is more probable than this may well be luck


class Comparison:
    """What two networks made of the same images."""

    def __init__(self, labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
        """``labels`` are right; the other two are the networks' answers; all are (N,)."""
        self._labels, self._first, self._second = labels, first, second
        wrong, other_wrong = first != labels, second != labels
        self.both = int((wrong & other_wrong).sum())
        self.only_first, self.only_second = int((wrong & ~other_wrong).sum()), int((other_wrong & ~wrong).sum())
        self.p = mcnemar(self.only_first, self.only_second)
        self.differ = np.flatnonzero(first != second)

    def fields(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "wrong_other": self.both + self.only_second,
            "both_wrong": self.both,
            "only_this_wrong": self.only_first,
            "only_other_wrong": self.only_second,
            "p": self.p,
            "differ": self.differ.tolist(),
        }

    def _in_two_wrong_ways(self) -> str:
        both = len(self.differ) - self.only_first - self.only_second
        return f", on {both} of which both are wrong" if both else ""

    def in_words(self, first: Path, second: Path, *, every: bool) -> str:
        """A few lines, and one for each image on which the networks differ, or for some of them."""
        shown = self.differ if every else self.differ[:_SHOWN]
        lines = [
            f"{first}: {self.both + self.only_first} wrong; {second}: {self.both + self.only_second} wrong; both wrong "
            f"on {self.both}, only the first on {self.only_first}, only the second on {self.only_second}",
            f"McNemar's exact test: p {f'= {self.p:.2g}' if self.p else '< 1e-300'}, {self._judgement()}",
            f"they answer differently on {len(self.differ)} images{self._in_two_wrong_ways()}:"
            if len(self.differ)
            else "they answer alike on all images",
            *(
                f"image {index:5}  expected {self._labels[index]}  first {self._first[index]}  "
                f"second {self._second[index]}"
                for index in shown
            ),
        ]
        left = len(self.differ) - len(shown)
        return "\n".join([*lines, *([f"... and {left} more, which --verbose lists"] if left else [])])

    def _judgement(self) -> str:
        if self.p > _CHANCE:
            return "so equally good networks would often differ as much: this may be luck"
        better = "first" if self.only_first < self.only_second else "second"
        return f"so the {better} is better: equally good networks would rarely differ as much"
