"""What tests of several rooms share. Test files import from here, and never from each other."""

import importlib
import os
import subprocess
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    *(f"support.{path.stem}" for path in Path(__file__).parent.glob("[a-z]*.py"))
)


ROOT = Path(__file__).resolve().parents[2]


def optional(name):
    """A module of the extras of the tests: without it the test is skipped, or fails with ANN_REQUIRE_PEERS=1."""
    if os.environ.get("ANN_REQUIRE_PEERS") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name)


STARTED = []


def begin(command, **options):
    """A process of a test's, with pipes, that is gone when the test is over, however it ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(subprocess.Popen(command, **pipes, **options))
    return STARTED[-1]
