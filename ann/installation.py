"""Whether this package was installed from a wheel or is used in a checkout of its repository, and
the commands that work there. It needs only the standard library.
"""

import os
import re
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
