"""Plain values: None, bools, numbers, strings, and lists, tuples and dicts of these."""

from typing import Any

import numpy as np

_MAX_DEPTH = 20  # of nested containers
_MAX_INT, _MAX_STRING = 2**63, 2**16  # what ``reader`` accepts


def leaves(value: Any) -> list[Any]:
    """The keys and values within nested containers, but not the containers themselves.

    Raises ValueError if containers are nested so deeply that recursion could fail.
    """
    found: list[Any] = []
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item, *item.values()]
            elif isinstance(item, (list, tuple)):
                inner += item
            else:
                found.append(item)
        if not inner:
            return found
        level = inner
    raise ValueError(f"containers nested more than {_MAX_DEPTH} deep")


def is_plain(value: Any) -> bool:
    """Whether a file may hold this value. Raises ValueError as ``leaves`` does.

    Not allowed are arrays, ints of more than 8 bytes, and strings that are longer than 64 KB in
    UTF-8 or not Unicode, at any level. Objects of other types fail when they are pickled.
    """
    return all(map(_is_plain_leaf, leaves(value)))


def _is_plain_leaf(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return len(value) <= _MAX_STRING and len(value.encode()) <= _MAX_STRING
        except UnicodeEncodeError:  # half a surrogate pair
            return False
    if type(value) is int:
        return -_MAX_INT <= value < _MAX_INT
    return not isinstance(value, np.ndarray)
