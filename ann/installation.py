"""Whether this package was installed from a wheel or is used in a checkout of its repository, and
the commands that work there. It needs only the standard library.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
INSTALLED = (_PACKAGE / "share").is_dir()  # from a wheel, which has the programs there
ROOT = _PACKAGE / "share" if INSTALLED else _PACKAGE.parent  # has scripts/ and data/results/


def install_command(extra: str) -> str:
    """The command that installs an extra of this project."""
    if INSTALLED:
        return f'pip install "ann-mnist[{extra}]"'
    checkout = "." if os.path.samefile(".", ROOT) else ROOT  # cwd() fails in a deleted folder
    return f'pip install -e "{checkout}[{extra}]"'


def localized(text: str) -> str:
    """Text whose commands can be run here: where a wheel is installed, there is no scripts/."""
    return (
        re.sub(r"(?:python\s+)?scripts/(\w+)\.py", r"python -m ann \1", text) if INSTALLED else text
    )


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
