"""Commands that a program prints for its user to run next. It needs only the standard library."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from ann.installation import INSTALLED, ROOT


def command(program: str, *words: object) -> str:
    """A shell command that runs a program, such as "test", with this Python from this folder."""
    python = [_python()]
    if INSTALLED:
        python += ["-m", "ann", program]
    else:
        beside = Path(sys.argv[0]).with_name(f"{program}.py")  # absent if we were started by a link
        python.append(str(beside if beside.exists() else ROOT / "scripts" / f"{program}.py"))
    return shlex.join([*python, *map(_word, words)])


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
