"""Changes to the contents of a model file."""

import io
import pickle

from ann.files.model_file import _Pickler
from ann.files.model_schema import checksum


def rewrite(path, change):
    """Change the contents of a model file by a function of the dict, and its checksum with them."""
    contents = pickle.loads(path.read_bytes())
    change(contents)
    contents["sha256"] = checksum(contents)
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(contents)
    path.write_bytes(buffer.getvalue())
