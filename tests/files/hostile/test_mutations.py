"""Thousands of good files with random damage are loaded, or refused with the right exception.
The gate tries 100,000.
"""

import re
import subprocess
import sys

import pytest

from hostile import fuzz
from support import ROOT

COUNT = 5000


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_what_fuzzing_found(tmp_path, target):
    """The inputs that ``fuzz.py`` found, without a fuzzer."""
    inputs = fuzz.corpus(target)
    assert len(inputs) > 10
    for data in inputs:
        fuzz.TARGETS[target](tmp_path / "input", data)


@pytest.mark.parametrize(
    ("options", "count"), [([], COUNT), (["-O"], COUNT // 10)], ids=["plain", "without asserts"]
)
@pytest.mark.slow
def test_random_damage(tmp_path, options, count):
    program = str(ROOT / "tests/files/hostile/mutate.py")
    command = [sys.executable, *options, program, str(count), "0", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr + run.stdout
    found = re.fullmatch(
        r"(\d+) loaded, (\d+) refused, (\d+) of them by their self-test\n", run.stdout
    )
    loaded, refused, tests = map(int, found.groups())
    assert loaded + refused == count
    assert min(loaded, tests) > count // 100  # a flipped bit of a weight is as good as another
