"""Changes to the contents of a model file."""

import io
import pickle

from ann.files.model_file import _Pickler
from ann.files.model_schema import checksum


def rewrite(path, change):
    """Change the contents of a model file by a function of the dict, and its checksum, where it has one, with them."""
    contents = pickle.loads(path.read_bytes())
    change(contents)
    if "sha256" in contents:
        contents["sha256"] = checksum(contents)
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(contents)
    path.write_bytes(buffer.getvalue())


def as_version(version, change=lambda array: array):
    """For ``rewrite``: the contents as they were in an earlier version of the file, the first weights changed."""

    def apply(contents):
        contents["layers"][0]["weight"] = change(contents["layers"][0]["weight"])
        contents["version"] = version
        for key in ("examples", "sha256"):
            contents.pop(key)

    return apply
