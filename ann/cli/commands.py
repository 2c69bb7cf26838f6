"""Commands that a program prints for its user to run next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from ann.cli.bootstrap import INSTALLED, ROOT


def command(program: str, *words: object) -> str:
    """A shell command that runs a program, such as "test", with this Python from this folder."""
    python = [_python()]
    if INSTALLED:
        python += ["-m", "ann", program]
    else:
        beside = Path(sys.argv[0]).with_name(f"{program}.py")  # absent if we were started by a link
        python.append(str(beside if beside.exists() else ROOT / "scripts" / f"{program}.py"))
    return shlex.join([*python, *map(_word, words)])


def localized(text: str) -> str:
    """Text whose commands can be run here: ``python -m ann`` if this package is installed."""
    return text.replace("scripts/", "-m ann ").replace(".py", "") if INSTALLED else text


def _python() -> str:
    """The shortest name of this Python."""
    found = shutil.which("python")
    # Not resolved: a virtual environment's python is a link
    if found and os.path.abspath(found) == sys.executable:
        return "python"
    if sys.executable.startswith(os.getcwd() + os.sep):
        return os.path.join(".", os.path.relpath(sys.executable))
    return sys.executable


def _word(value: object) -> str:
    """A value as a word that is not taken for a flag: a file called -x is ./-x."""
    is_dashed = isinstance(value, Path) and str(value).startswith("-")
    return os.path.join(".", str(value)) if is_dashed else str(value)
