"""Writes a data set in each format that ``ann.load_dataset`` reads."""

import gzip

import numpy as np


def csv_bytes(images, labels, header=True, mark=",", end="\n"):
    """A table: the label, then the pixels."""
    rows = np.column_stack([labels, images.reshape(len(images), -1)])
    lines = [mark.join(map(str, row)) for row in rows.tolist()]
    if header:
        lines.insert(0, mark.join(["label", *(f"pixel{i}" for i in range(rows.shape[1] - 1))]))
    return (end.join(lines) + end).encode()


def write_csv(folder, data, zipped=False, names=("mnist_train.csv", "mnist_test.csv"), **options):
    for name, part in zip(names, ("train", "test"), strict=True):
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        table = csv_bytes(images, labels, **options)
        (folder / f"{name}{'.gz' * zipped}").write_bytes(gzip.compress(table) if zipped else table)
    return folder


def write_npz(folder, data, names=("x_train", "y_train", "x_test", "y_test"), save=np.savez):
    path = folder / "mnist.npz"
    save(path, **dict(zip(names, data.arrays().values(), strict=True)))
    return path
