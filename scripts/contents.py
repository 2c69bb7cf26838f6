"""What a model file holds, in words, without building a network of it: a stranger's file is looked at before use."""

from __future__ import annotations

from pathlib import Path

from ann.files.model_file import read_model
from ann.nn.layer_list import describe_shape


def in_words(path: Path) -> str:
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
