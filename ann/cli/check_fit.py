"""Whether a data set can be given to a network, with error messages that name the files of both."""

from pathlib import Path

import ann


def check_fit(
    network: ann.NeuralNetwork, model: Path, dataset: ann.Dataset, data: str | Path
) -> None:
    """Raise DataFileError if the images have another size or labels have no output."""
    pixels, largest = dataset.test_images[0].size, dataset.test_labels.max()
    inputs, outputs = network.input_dim, network.output_dim
    if pixels != inputs:
        raise ann.DataFileError(f"{data}: images of {pixels} pixels; {model} takes {inputs}")
    if largest >= outputs:
        raise ann.DataFileError(f"{data}: labels up to {largest}; {model} has {outputs} outputs")
