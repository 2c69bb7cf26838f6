"""What tests of several rooms share. Test files import from here, never from each other."""

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
    """A module of an optional library. Without it, the test is skipped, or fails with
    ANN_REQUIRE_PEERS=1.
    """
    if os.environ.get("ANN_REQUIRE_PEERS") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name)


STARTED = []


def begin(command, **options):
    """Start a process with pipes, which ends with the test at the latest."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(subprocess.Popen(command, **pipes, **options))
    return STARTED[-1]
