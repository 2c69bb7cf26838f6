"""A small data set that looks like MNIST."""

import gzip
import struct

import numpy as np


def idx_bytes(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def write_mnist_like(folder, train=300, test=100, size=8, seed=0, classes=10):
    """Write four IDX files of an easy task: the label is the position of a bright square."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        labels = rng.integers(0, classes, count, dtype=np.uint8)
        images = rng.integers(0, 100, (count, size, size), dtype=np.uint8)
        images[:, 6:] = 0
        for image, label in zip(images, labels, strict=True):
            image[label // 4 * 2 : label // 4 * 2 + 2, label % 4 * 2 : label % 4 * 2 + 2] = 250
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes(images), mtime=0)
        )
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes(labels), mtime=0)
        )
    return folder
