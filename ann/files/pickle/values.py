"""Plain values: None, bools, numbers, strings, and lists, tuples and dicts of these."""

from typing import Any

import numpy as np

_MAX_DEPTH = 20  # of nested containers
_MAX_INT, _MAX_STRING = 2**63, 2**16  # what ``reader`` accepts


def check_depth(value: Any) -> None:
    """Raise ValueError if containers are nested so deeply that recursion could fail."""
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
    """Whether a file may hold this value. ``check_depth`` must have accepted it.

    Not allowed are arrays, ints of more than 8 bytes, and strings that are longer than 64 KB in
    UTF-8 or not Unicode, at any level. Objects of other types fail when they are pickled.
    """
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, str):
        try:
            return len(value) <= _MAX_STRING and len(value.encode()) <= _MAX_STRING
        except UnicodeEncodeError:  # half a surrogate pair
            return False
    if type(value) is int:
        return -_MAX_INT <= value < _MAX_INT
    return not isinstance(value, np.ndarray)
