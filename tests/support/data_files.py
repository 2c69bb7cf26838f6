"""Writes a data set in each format that ``ann.load_dataset`` reads."""

import gzip
import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np

from support import optional
from support.digits import idx_bytes


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


def write_pictures(folder, data, train="train", test="test", suffix=".png"):
    """Write a folder of pictures for each class, in the order of its images."""
    image_module = optional("PIL.Image")
    for name, part in ((train, "train"), (test, "test")):
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            own = folder / name / data.classes[label]
            own.mkdir(parents=True, exist_ok=True)
            image_module.fromarray(image).save(own / f"{index:05}{suffix}")
    return folder


def write_emnist(folder, data, part="balanced", first=0, mapping=None):
    """Write the files of EMNIST: transposed images, labels from ``first``, and their characters."""
    for kind in ("train", "test"):
        images, labels = getattr(data, f"{kind}_images"), getattr(data, f"{kind}_labels")
        stem = folder / f"emnist-{part}-{kind}"
        transposed = np.ascontiguousarray(images.transpose(0, 2, 1))
        Path(f"{stem}-images-idx3-ubyte").write_bytes(idx_bytes(transposed))
        Path(f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels + first)))
    if mapping:
        (folder / f"emnist-{part}-mapping.txt").write_text(mapping)
    return folder


def three_pairs(data, validation=100):
    """The contents of Nielsen's ``mnist.pkl.gz``: float32 images divided by 256, and int64
    labels.
    """
    images = [data.train_images[:-validation], data.train_images[-validation:], data.test_images]
    labels = [data.train_labels[:-validation], data.train_labels[-validation:], data.test_labels]
    rows = [(part.reshape(len(part), -1) / 256).astype("f4") for part in images]
    return tuple(zip(rows, [part.astype("i8") for part in labels], strict=True))


def write_pickle(folder, data, protocol=2):
    path = folder / "mnist.pkl.gz"
    pairs = three_pairs(data)
    pickled = python2_pickle(pairs) if protocol == "Python 2" else pickle.dumps(pairs, protocol)
    path.write_bytes(gzip.compress(pickled))
    return path


class Python2Pickler(pickle._Pickler):
    """Writes strings, bools and memo numbers as Python 2's ``cPickle`` does."""

    dispatch = pickle._Pickler.dispatch.copy()

    def memoize(self, value):
        number = len(self.memo) + 1
        self.write(self.put(number))
        self.memo[id(value)] = number, value

    def save_string(self, value):
        data = value if isinstance(value, bytes) else value.encode("latin-1")
        is_short = len(data) < 256
        self.write(b"U" + bytes([len(data)]) if is_short else b"T" + struct.pack("<i", len(data)))
        self.write(data)
        self.memoize(value)

    def save_bool(self, value):
        self.write(b"K" + bytes([value]))

    dispatch[bytes] = dispatch[str] = save_string
    dispatch[bool] = save_bool


def python2_pickle(value):
    """What Python 2's ``cPickle`` writes with NumPy 1, in protocol 2."""
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def write_parquet(folder, data, parts=1, names=None):
    """Write parquet files as a dataset hub does; ``names`` are the names of the classes."""
    arrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    image_module = optional("PIL.Image")
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    for part in ("train", "test"):
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        rows = []
        for image in images:
            buffer = io.BytesIO()
            image_module.fromarray(image).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        table = {"image": arrow.array(rows, type=kind), "label": arrow.array(labels.astype("i8"))}
        table = arrow.table(table)
        if names:
            features = {"label": {"names": list(names), "_type": "ClassLabel"}}
            about = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": about})
        size = -(-len(images) // parts)
        for number in range(parts):
            name = f"{part}-{number:05}-of-{parts:05}.parquet"
            parquet.write_table(table.slice(number * size, size), folder / name)
    return folder
