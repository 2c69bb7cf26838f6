"""Changes to the contents of a model file."""

import pickle

from ann.files.model_schema import checksum


def rewrite(path, change):
    """Change the contents of a model file by a function of the dict, and its checksum with them."""
    contents = pickle.loads(path.read_bytes())
    change(contents)
    contents["sha256"] = checksum(contents)
    path.write_bytes(pickle.dumps(contents, protocol=4))
