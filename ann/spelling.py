"""Suggests names instead of an unknown one: its spelling here, a synonym, or a similar name."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ann.errors import printable

# For each of our names, those of other programs, in lower case without hyphens
_OTHER_NAMES = {
    # activations
    "sigmoid": "logistic",
    "identity": "linear none",
    "swish": "silu",
    "leaky-relu": "lrelu",
    # losses
    "quadratic": "mse l2 sse squarederror meansquarederror mseloss",
    "cross-entropy": "ce bce nll xent logloss categoricalcrossentropy binarycrossentropy",
    # optimizers
    "sgd": "momentum sgdm sgdmomentum heavyball",
    "nesterov": "momentum sgdm sgdmomentum heavyball nag nesterovmomentum",
    # schedules
    "constant": "none fixed",
    "step": "multistep staircase",
    "cosine": "cosineannealing",
    # devices, precisions
    "gpu": "cuda",
    "float32": "fp32 single float",
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
    name: Any, choices: Collection[str], other_names: Mapping[str, str] = _OTHER_NAMES
) -> str:
    """The end of an error message, such as "; did you mean sgd or nesterov?", or "".

    ``other_names``: for each choice, words in lower case without hyphens that may mean it.
    """
    if not isinstance(name, str):
        return ""
    plain = _plain(name)
    meant = [choice for choice in choices if _plain(choice) == plain]
    meant = meant or [one for one in choices if plain in other_names.get(one, "").split()]
    meant = meant or difflib.get_close_matches(name.lower(), choices, 1)
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _plain(name: str) -> str:
    name = name.lower().split(":")[0]  # cuda:0 -> cuda
    return name.replace("-", "").replace("_", "").replace(" ", "")
