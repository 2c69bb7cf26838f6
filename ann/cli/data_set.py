"""Loads a data set with a progress bar, and checks that it fits a network."""

import math
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

import ann
from ann.cli.output import warn
from ann.nn.layer_list import describe_layers


def load_dataset(source: str | os.PathLike[str]) -> ann.Dataset:
    """``ann.load_dataset``, with its progress on standard error.

    A terminal shows a bar; elsewhere there is a line per download.
    """
    bars: dict[str, tqdm] = {}

    def update(name: str, done: int, size: int, unit: str) -> None:
        """Show that ``done`` of ``size`` units are read: bytes of a file, or pictures."""
        if name not in bars:
            if unit == "B" and not sys.stderr.isatty():
                warn(f"downloading {name}, {size / 1e6:.1f} MB")
            shown.close()  # the previous file's bar
            options = {"unit": unit, "unit_scale": True, "leave": False, "disable": None}
            bars[name] = shown.enter_context(tqdm(desc=name, total=size, **options))
        bars[name].update(done - bars[name].n)

    with ExitStack() as shown:
        return ann.load_dataset(source, update)


def check_fit(
    network: ann.NeuralNetwork, model: Path, dataset: ann.Dataset, data: str | Path
) -> None:
    """Raise DataFileError if the images have the wrong size, or a label has no output."""
    expected = describe_layers(network.layer_list)[0]  # "784", or "28x28" for a convolution
    shape = dataset.test_images.shape[1:]
    found = "x".join(map(str, shape)) if "x" in expected else str(math.prod(shape))
    largest, outputs = dataset.test_labels.max(), network.output_dim
    if found != expected:
        problem = f"images of {found} pixels; {model} takes {expected}"
    elif largest >= outputs:
        problem = f"labels up to {largest}; {model} has {outputs} outputs"
    else:
        return
    raise ann.DataFileError(f"{data}: {problem}; name other data with --data, or another model")
