"""Whether a data set can be given to a network, with error messages that name the files of both."""

import math
from pathlib import Path

import ann
from ann.nn.convolution import size_text
from ann.nn.layer_list import input_shape


def check_fit(
    network: ann.NeuralNetwork, model: Path, dataset: ann.Dataset, data: str | Path
) -> None:
    """Raise DataFileError if the images have another size or labels have no output."""
    expected, shape = input_shape(network.layer_list), dataset.test_images.shape[1:]
    found = (1, *shape) if len(expected) > 1 else (math.prod(shape),)
    largest, outputs = dataset.test_labels.max(), network.output_dim
    if found != expected:
        raise ann.DataFileError(
            f"{data}: images of {size_text(found)} pixels; {model} takes {size_text(expected)}"
        )
    if largest >= outputs:
        raise ann.DataFileError(f"{data}: labels up to {largest}; {model} has {outputs} outputs")
