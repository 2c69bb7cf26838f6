"""What every hostile file must cause: one exception with one line, soon, with little memory,
and no other effect.
"""

import cProfile
import os
import sys
import time
import tracemalloc
from contextlib import contextmanager

import pytest

import ann

# Limits for a refusal; the bytes do not include the file itself
CALLS, BYTES = 4_000_000, 64 * 2**20
HANG = 60  # seconds of processor time, many times what the slowest file takes on an idle machine


@contextmanager
def little_cost(size):
    """Fail if a file of this size costs too much. Function calls are counted, because seconds
    depend on other work of the machine.
    """
    started, counter = time.process_time(), cProfile.Profile()
    tracemalloc.start()
    counter.enable()
    try:
        yield
    finally:
        counter.disable()
        extra = tracemalloc.get_traced_memory()[1] - size
        tracemalloc.stop()
    calls = sum(entry.callcount for entry in counter.getstats())
    assert calls < CALLS and extra < BYTES and time.process_time() - started < HANG


def assert_refused(load, path, data, error, about=None):
    """Check that ``load(path)`` raises this error for a file of these bytes; return its message."""
    path.unlink(
        missing_ok=True
    )  # a new file: some file systems make sure that one written over reaches the disk
    path.write_bytes(data)
    folder, environment, modules = os.listdir("."), dict(os.environ), set(sys.modules)
    with little_cost(len(data)), pytest.raises(ann.AnnError) as caught:
        load(path)
    message = str(caught.value)
    assert type(caught.value) is error and caught.value.__cause__ is None
    assert (
        message.startswith(f"{about or path}: ")
        and len(message) < 500 + len(str(path))
        and message.isprintable()
    )
    assert (os.listdir("."), dict(os.environ), set(sys.modules)) == (folder, environment, modules)
    return message


def assert_no_model(path, data):
    """Check that ``ann.load_model`` refuses these bytes; return its message."""
    return assert_refused(ann.load_model, path, data, ann.ModelFileError)
