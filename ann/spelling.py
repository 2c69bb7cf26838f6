"""Suggests names instead of an unknown one: its spelling here, a synonym, or a similar name."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ann.errors import printable

# other programs' names, in lower case without hyphens -> ours
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    # activations
    "logistic": ("sigmoid",),
    "linear": ("identity",),
    "none": ("identity", "constant"),
    "silu": ("swish",),
    "lrelu": ("leaky-relu",),
    # losses
    **dict.fromkeys(
        ("mse", "l2", "sse", "squarederror", "meansquarederror", "mseloss"), ("quadratic",)
    ),
    **dict.fromkeys(
        ("ce", "bce", "nll", "xent", "logloss", "categoricalcrossentropy", "binarycrossentropy"),
        ("cross-entropy",),
    ),
    # optimizers
    **dict.fromkeys(("momentum", "sgdm", "sgdmomentum", "heavyball"), ("sgd", "nesterov")),
    **dict.fromkeys(("nag", "nesterovmomentum"), ("nesterov",)),
    # schedules
    "fixed": ("constant",),
    **dict.fromkeys(("multistep", "staircase"), ("step",)),
    "cosineannealing": ("cosine",),
    # devices, precisions
    "cuda": ("gpu",),
    **dict.fromkeys(("fp32", "single", "float"), ("float32",)),
}


def check_known(what: str, name: Any, known: Collection[str], note: str = "") -> None:
    """Raise ValueError, with the known names and the note, unless ``name`` is one of them."""
    if not isinstance(name, str) or name not in known:
        meant = did_you_mean(name, known)
        raise ValueError(
            f"unknown {what} {printable(name)}; known: {', '.join(known)}{note}{meant}"
        )


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """The value as a plain str, since NumPy's str type must not end up in files.

    Raises ValueError, which begins with the name of the argument, unless it is one of the choices.
    """
    if not isinstance(value, str) or value not in choices:
        known = f"{', '.join(choices)}{did_you_mean(value, choices)}"
        raise ValueError(f"{name}: unknown {printable(value)}; known: {known}")
    return str(value)


def did_you_mean(
    name: Any, choices: Collection[str], synonyms: Mapping[str, tuple[str, ...]] = _OTHER_NAMES
) -> str:
    """The end of an error message, such as "; did you mean sgd or nesterov?", or "".

    ``synonyms``: other names, in lower case without hyphens, and the choices that they may mean.
    """
    if not isinstance(name, str):
        return ""
    plain = _plain(name)
    meant = [choice for choice in choices if _plain(choice) == plain]
    meant = meant or [other for other in synonyms.get(plain, ()) if other in choices]
    meant = meant or difflib.get_close_matches(name.lower(), choices, 1)
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _plain(name: str) -> str:
    name = name.lower().split(":")[0]  # cuda:0 -> cuda
    return name.replace("-", "").replace("_", "").replace(" ", "")
