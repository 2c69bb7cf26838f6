"""Two networks on the same images: is one better or just luckier, and where do they differ?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ann.analysis.metrics import mcnemar
from ann.errors import printable_path

_LISTED = 20  # images on which the networks differ
_SIGNIFICANT = 0.05


class Comparison:
    """The answers of two networks for the same images.

    Attributes:
        both, only_first, only_second: on how many images both networks are wrong, or just one.
        p: McNemar's probability of a difference this large between equally good networks.
        differ: the indices of the images that got different answers.
    """

    def __init__(
        self, labels: np.ndarray, first: np.ndarray, second: np.ndarray, names: Sequence[str]
    ) -> None:
        """``labels`` and the answers of the two networks are (N,); ``names`` are the classes'."""
        self._labels, self._first, self._second = labels, first, second
        self._names = names
        wrong, other_wrong = first != labels, second != labels
        self.both = int((wrong & other_wrong).sum())
        self.only_first = int((wrong & ~other_wrong).sum())
        self.only_second = int((other_wrong & ~wrong).sum())
        self.p = mcnemar(self.only_first, self.only_second)
        self.differ = np.flatnonzero(first != second)

    def fields(self) -> dict[str, Any]:
        """The comparison as plain values, for JSON."""
        return {
            "wrong_other": self.both + self.only_second,
            "both_wrong": self.both,
            "only_this_wrong": self.only_first,
            "only_other_wrong": self.only_second,
            "p": self.p,
            "differ": self.differ.tolist(),
        }

    def describe(self, first: Path, second: Path, *, every: bool) -> str:
        """A few lines, then one for each image with different answers, or for the first 20."""
        p = f"= {self.p:.2g}" if self.p else "< 1e-300"
        lines = [
            f"{printable_path(first)}: {self.both + self.only_first} wrong; "
            f"{printable_path(second)}: {self.both + self.only_second} wrong; both wrong on {self.both}, "
            f"only the first on {self.only_first}, only the second on {self.only_second}",
            f"McNemar's exact test: p {p}, {self._judgement()}",
            self._differences(),
        ]
        listed = self.differ if every else self.differ[:_LISTED]
        for index in listed:
            answers = (self._labels[index], self._first[index], self._second[index])
            label, one, other = (self._names[answer] for answer in answers)
            lines.append(f"image {index:5}  expected {label}  first {one}  second {other}")
        left = len(self.differ) - len(listed)
        if left:
            lines.append(f"... and {left} more, which --verbose lists")
        return "\n".join(lines)

    def _judgement(self) -> str:
        if self.p > _SIGNIFICANT:
            return "so equally good networks would often differ as much: this may be luck"
        better = "first" if self.only_first < self.only_second else "second"
        return f"so the {better} is better: equally good networks would rarely differ as much"

    def _differences(self) -> str:
        if len(self.differ) == 0:
            return "they give the same answer for all images"
        both = len(self.differ) - self.only_first - self.only_second
        more = f", on {both} of which both are wrong" if both else ""
        images = f"{len(self.differ)} image{'s' * (len(self.differ) > 1)}"
        return f"they give different answers for {images}{more}:"
