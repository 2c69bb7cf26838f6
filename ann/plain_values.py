"""The values that a file may hold beside arrays: None, bools, numbers, strings, and lists, tuples and dicts of such.
They may be a stranger's, so they are looked at with care.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MAX_DEPTH = 20  # of containers in containers


def shown(value: Any) -> str:
    """A value out of a stranger's file for a message: short, on one line, and harmless to a terminal."""
    if type(value) in (str, int, float, bool, type(None)):
        return ascii(value[:40] if isinstance(value, str) else value)
    return f"a {type(value).__name__}"


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
    """No arrays, at any of the few levels that the reader allows."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return not isinstance(value, np.ndarray)
