"""Good files with random damage, from a seed. They are loaded in another process, and none may
end it.

    python tests/files/hostile/mutate.py COUNT SEED FOLDER

Prints how many were loaded and how many refused. After anything else, it prints the seed and exits
with 1.
"""

import copy
import pickle
import random
import sys
import warnings
from pathlib import Path

import numpy as np

import ann
from ann.files.model_schema import checksum
from ann.files.pickle.reader import read_pickle

OPCODES = bytes(range(0x80, 0x99)) + b"(.0123FIJKLMNPQRSTUVXabcdeghijlopqrstu})]BC"


def good_files():
    """A small network and a small committee in each supported pickle protocol."""
    layers = [
        {"input_dim": 2, "output_dim": 3, "activation": "tanh"},
        {"input_dim": 3, "output_dim": 2, "activation": "softmax"},
    ]
    files = []
    for committee in (1, 2):
        net = ann.NeuralNetwork(layers, committee=committee)
        net.recipe = {
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "hidden": [3],
            "deep": {"a": [None, True, "text"]},
        }
        net.self_test_images = np.arange(4, dtype=np.uint8).reshape(2, 2)
        files.append(net.to_bytes())
        contents = pickle.loads(files[-1])
        files += [pickle.dumps(contents, protocol=protocol) for protocol in (2, 3, 4, 5)]
    return files


def damaged(choice, files):
    """One of the files, with a few random changes."""
    data = bytearray(choice.choice(files))
    for _ in range(choice.choice((1, 1, 1, 2, 3, 8))):
        place, size = choice.randrange(len(data) + 1), choice.choice((1, 2, 4, 8, 30))
        if choice.random() < 0.2 and place < len(data):
            data[place] ^= 1 << choice.randrange(8)
            continue
        other = choice.choice(files)
        start = choice.randrange(len(other))
        new = (
            b"",
            bytes(choice.choices(OPCODES, k=size)),
            choice.randbytes(size),
            bytes([choice.choice((0, 0x7F, 0x80, 0xFF))]) * size,
            bytes(data[place : place + size]),
            other[start : start + size],
        )
        replaced = choice.choice((0, 1, size, size, len(data)))
        data[place : place + replaced] = choice.choice(new)
    return bytes(data)


def with_its_checksum(data):
    """The same contents with the right checksum, if they can be read, so that more code is
    reached.
    """
    try:
        contents = read_pickle(data)
        if "sha256" in contents:
            contents["sha256"] = checksum(contents)
            return pickle.dumps(contents, protocol=4)
    except (ValueError, TypeError, KeyError):
        pass
    return data


NUMBERS = (None, True, 0, 1, -1, 2, 16, 2**31, 2**62, 0.5, float("nan"), float("inf"))
CONTAINERS = ([], {}, (), [1], {"a": 1}, {"scale": 1})
ARRAYS = (np.zeros((2, 2), "f4"), np.zeros(3, "f8"), np.ones((16, 2), "u1"))
VALUES = (*NUMBERS, "", "relu", "softmax", "\n", "x" * 99, *CONTAINERS, *ARRAYS)


def changed(choice, files):
    """A good file with a few of its values, keys or arrays changed."""
    contents = copy.deepcopy(pickle.loads(choice.choice(files)))
    for _ in range(choice.choice((1, 1, 2))):
        place = contents
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = choice.choice(keys)
            value, kind = place[key], choice.randrange(6)
            if isinstance(value, (dict, list)) and value and kind < 4:
                place = value
                continue
            if isinstance(value, np.ndarray) and kind < 4:
                place[key] = changed_array(choice, value)
            elif kind == 4 and isinstance(place, dict):
                del place[key]
            elif kind == 5 and isinstance(place, dict):
                place[choice.choice(("more", "bias", "version"))] = copy.deepcopy(value)
            else:
                place[key] = copy.deepcopy(choice.choice(VALUES))
            break
    return pickle.dumps(contents, protocol=choice.choice((2, 3, 4, 5)))


def changed_array(choice, array):
    kind = choice.randrange(7)
    if kind == 0:
        array = array.copy()
        array.flat[choice.randrange(array.size)] = choice.choice((0, 1, 200))
        return array
    with np.errstate(all="ignore"):
        return (
            np.asfortranarray(array),
            array.astype("f8"),
            array[..., :1],
            array.T.copy(),
            array[None],
            array * array.dtype.type(3),
        )[kind - 1]


def main():
    count, seed, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    warnings.simplefilter("error")
    files, path, loaded, tests = good_files(), folder / "mutated.pickle", 0, 0
    for file in files:
        pickle.loads(file)  # imports codecs, as it does below
    modules = set(sys.modules)
    for number in range(count):
        choice = random.Random(f"{seed} {number}")
        data, kind = damaged(choice, files), choice.random()
        if kind < 0.7:
            data = with_its_checksum(changed(choice, files) if kind < 0.3 else data)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        try:
            ann.load_model(path)
            loaded += 1
        except ann.ModelFileError as error:
            message = str(error)
            tests += "self-test" in message or "examples:" in message
            if (
                not message.isprintable()
                or len(message) > 500 + len(str(path))
                or not message.startswith(f"{path}: ")
            ):
                sys.exit(f"number {number} of seed {seed}: {message!r}: {data!r}")
        except BaseException as error:
            sys.exit(f"number {number} of seed {seed}: {type(error).__name__}: {error}: {data!r}")
    if set(sys.modules) != modules:
        sys.exit(f"imported: {set(sys.modules) - modules}")
    print(f"{loaded} loaded, {count - loaded} refused, {tests} of them by their self-test")


if __name__ == "__main__":
    main()
