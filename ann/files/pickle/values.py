"""The values that a file may hold beside arrays: None, bools, numbers, strings, and lists, tuples and dicts of such.
They may be a stranger's, so they are looked at with care.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MAX_DEPTH = 20  # of containers in containers
_MAX_INT, _MAX_STRING = 2**63, 2**16  # what pickles hold


def check_depth(value: Any) -> None:
    """Raise ValueError for deep nesting, on which later code that calls itself for each level would fail."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, (dict, list, tuple))
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise ValueError(f"containers nested more than {_MAX_DEPTH} deep")


def is_plain(value: Any) -> bool:
    """Whether a pickle may hold it: no arrays, at any of the few levels that the readers allow, no ints of more than 8
    bytes, and no strings that are too long, or of half characters.
    """
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, str):
        return len(value) <= _MAX_STRING and (value.isascii() or len(_utf8(value)) in range(1, _MAX_STRING + 1))
    if type(value) is int:
        return -_MAX_INT <= value < _MAX_INT
    return not isinstance(value, np.ndarray)


def _utf8(text: str) -> bytes:
    """Its bytes, or none where it has half characters."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""
