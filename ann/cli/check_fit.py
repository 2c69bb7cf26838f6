"""Whether a data set can be given to a network, with error messages that name the files of both."""

import math
from pathlib import Path

import ann
from ann.nn.layer_list import describe_layers


def check_fit(
    network: ann.NeuralNetwork, model: Path, dataset: ann.Dataset, data: str | Path
) -> None:
    """Raise DataFileError if the images have another size or labels have no output."""
    expected = describe_layers(network.layer_list)[0]  # "784", or "28x28" for a convolution
    shape = dataset.test_images.shape[1:]
    found = "x".join(map(str, shape)) if "x" in expected else str(math.prod(shape))
    largest, outputs = dataset.test_labels.max(), network.output_dim
    if found != expected:
        raise ann.DataFileError(f"{data}: images of {found} pixels; {model} takes {expected}")
    if largest >= outputs:
        raise ann.DataFileError(f"{data}: labels up to {largest}; {model} has {outputs} outputs")
