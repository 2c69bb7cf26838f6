"""Model files with contents that this package would not write."""

import pickle

from ann.files.model_schema import FORMAT, checksum, version_of


def model_bytes(layers, **more):
    """A model file with these layers and the right checksum."""
    contents = {"format": FORMAT, "version": version_of(layers), "layers": layers}
    contents |= {"loss": "quadratic", "preprocessing": {"scale": 1 / 255}, "seed": 0}
    contents |= {"recipe": None, "examples": None, **more}
    contents["sha256"] = checksum(contents)
    return pickle.dumps(contents, protocol=4)


def rewrite(path, change):
    """Change the contents of a model file with a function of the dict, and its checksum."""
    contents = pickle.loads(path.read_bytes())
    change(contents)
    contents["sha256"] = checksum(contents)
    path.write_bytes(pickle.dumps(contents, protocol=4))
