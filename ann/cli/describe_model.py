"""What a model file holds, in words, without building a network of it: a stranger's file is looked at before use."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ann
from ann.analysis.metrics import spread
from ann.files.model_file import read_model
from ann.nn.layer_list import describe_shape


def describe_model(path: Path) -> str:
    """A line for each thing in a model file, checked as ``ann.load_model`` checks it, but that no example is tried.

    Raises:
        ModelFileError: it is no model file.
    """
    contents = read_model(path)
    layers, recipe, examples = contents["layers"], contents["recipe"], contents["examples"]
    leading = layers[0]["bias"].shape[:-1]
    arrays = [layer[key] for layer in layers for key in ("weight", "bias")]
    size, least, most = sum(a.size for a in arrays), min(a.min() for a in arrays), max(a.max() for a in arrays)
    several = f"committee of {leading[0]}, each " if leading else ""
    lines = {
        "file": f"{path}, {path.stat().st_size:,} bytes",
        "format": f"{contents['format']}, version {contents['version']}",
        "network": f"{several}{describe_shape(layers)}, {', '.join(layer['activation'] for layer in layers)}",
        "loss": contents["loss"],
        "numbers": f"{size:,}, from {least:.4g} to {most:.4g}",
        "seed": contents["seed"],
        "recipe": ", ".join(f"{name} {value}" for name, value in recipe.items()) if recipe else "none",
        "examples": f"{len(examples['images'])} images and their outputs" if examples else "none",
        "SHA-256": f"{contents['sha256']}, right",
    }
    return "\n".join(f"{name:9} {_harmless(value)}" for name, value in lines.items())


def _harmless(value: object) -> str:
    """Text for a terminal, whatever a stranger wrote, and not endless."""
    text = str(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) < 1000 else f"{text[:1000]}..."


def wrong_of_members(network: ann.NeuralNetwork, images: np.ndarray, labels: np.ndarray) -> list[int]:
    """How many images each member gets wrong."""
    members = (network.member(number) for number in range(network.committee))
    return [int((member.predict(images) != labels).sum()) for member in members]


def describe_members(wrong: list[int], total: int) -> str:
    """The mistakes of the members, and their spread."""
    lines = [f"member {number}: {count} of {total:,} wrong" for number, count in enumerate(wrong, start=1)]
    return "\n".join([*lines, f"members: {spread(wrong)}"])
