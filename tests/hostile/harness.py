"""What every hostile file has to meet: one exception of one line, soon, for little memory, and nothing else happens."""

import collections
import os
import sys
import time
import tracemalloc

import pytest

import ann

tried = collections.Counter()  # how many files, by test module
worst = {"s": 0.0, "MB": 0.0}  # the slowest, and the one that took most memory beyond its own size
SMALL = 5_000  # bytes, of which so few make no work
SECONDS, BYTES = 1.0, 64 * 2**20  # what a refusal may take; the bytes are beyond those of the file itself


def assert_refused(load, path, data, error, about=None):
    """``load(path)`` raises this error for a file of these bytes; its message is returned."""
    family = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[0].rpartition("/test_")[2].removesuffix(".py")
    tried[family.replace("_", " ")] += 1
    path.write_bytes(data)
    folder, environment, modules = os.listdir("."), dict(os.environ), set(sys.modules)
    small = len(data) < SMALL
    if small:
        tracemalloc.start()  # which slows large files down too much to time them
    try:
        started = time.process_time()  # and not by the clock: others may be busy
        with pytest.raises(ann.AnnError) as caught:
            load(path)
        seconds = time.process_time() - started
        if not small:
            tracemalloc.start()
            with pytest.raises(error):
                load(path)
        extra = tracemalloc.get_traced_memory()[1] - len(data)
    finally:
        tracemalloc.stop()
    worst["s"], worst["MB"] = max(worst["s"], seconds), max(worst["MB"], extra / 1e6)
    message = str(caught.value)
    assert type(caught.value) is error and caught.value.__cause__ is None
    assert message.startswith(f"{about or path}: ") and len(message) < 500 + len(str(path)) and message.isprintable()
    assert seconds < SECONDS and extra < BYTES
    assert (os.listdir("."), dict(os.environ), set(sys.modules)) == (folder, environment, modules)
    return message


def assert_no_model(path, data):
    """The file is refused by ``ann.load_model``."""
    return assert_refused(ann.load_model, path, data, ann.ModelFileError)
