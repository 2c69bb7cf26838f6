"""Exported networks: run by other programs, or changed by hand."""

import json
import struct
from contextlib import suppress

import numpy as np

from ann.export.formats import onnx_bytes
from ann.files.model_schema import checksum
from support import optional


def onnx_outputs(net, images):
    """The outputs that ONNX Runtime computes."""
    optional("onnx")
    runtime = optional("onnxruntime")
    session = runtime.InferenceSession(onnx_bytes(net), providers=["CPUExecutionProvider"])
    return session.run(["outputs"], {"pixels": images})[0]


def changed(data, change, right=True):
    """A safetensors file with a changed header and, if ``right``, a new checksum."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["ann"])
    change(header, about)
    if right:
        about.pop("sha256", None)
        tensors = {}
        for name, entry in header.items():
            if name != "__metadata__":
                # A wrong offset or shape is found before the checksum
                with suppress(ValueError, TypeError):
                    start, stop = entry["data_offsets"]
                    numbers = np.frombuffer(data[8 + length :][start:stop], "<f4")
                    tensors[name] = numbers.reshape(entry["shape"])
        about["sha256"] = checksum({**about, "tensors": tensors})
    if "__metadata__" in header:
        header["__metadata__"]["ann"] = json.dumps(about)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
