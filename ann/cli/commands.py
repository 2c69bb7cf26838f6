"""Commands that a program prints for its user to run next. It needs only the standard library."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED = (_PACKAGE / "share").is_dir()  # from a wheel, which has the programs there
ROOT = _PACKAGE / "share" if INSTALLED else _PACKAGE.parent  # has scripts/ and data/results/


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
    """Text whose commands can be run here: an installed package has no scripts/, and no folder to
    install from.
    """
    if not INSTALLED:
        return text
    text = re.sub(r"(?:python\s+)?scripts/(\w+)\.py", r"python -m ann \1", text)
    return text.replace("pip install -e '.[", "pip install 'ann[")


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
