"""The README files of all rooms, and their code blocks."""

import re

from support import ROOT

ROOMS = ("ann", "data", "scripts", "tests", ".github")
_PATHS = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.md"))]
GUIDES = ["README.md", *(str(path.relative_to(ROOT)) for path in _PATHS)]


def text_of(guide):
    return (ROOT / guide).read_text()


def blocks(language, guide):
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(guide), re.M | re.S)


def prose(guide):
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(guide), flags=re.M | re.S)
