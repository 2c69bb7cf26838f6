"""A page of pictures that needs nothing else: facts at its head, then sections, each with a title, a text and what
there is to see.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; background: white; border-radius: 6px; padding: 8px; box-sizing: border-box; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; }
nav a { margin-right: 1rem; }
@media print { h2 { break-before: page; } h2:first-of-type { break-before: auto; } nav { display: none; } }
"""


class Section(NamedTuple):
    """A part of a page: what to see in it, and pictures as HTML."""

    title: str
    text: str
    pictures: str


def page(title: str, facts: Mapping[str, str], parts: Sequence[Section]) -> str:
    """The page as HTML. ``pictures`` are taken as they are; all else is text."""
    title = html.escape(title)
    listed = "\n".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
    links = "\n".join(f'<a href="#part{n}">{html.escape(name)}</a>' for n, (name, _, _) in enumerate(parts, start=1))
    body = "\n".join(
        f'<h2 id="part{number}">{html.escape(name)}</h2>\n<p>{html.escape(text)}</p>\n{pictures}'
        for number, (name, text, pictures) in enumerate(parts, start=1)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{title}</h1>\n<dl>\n{listed}\n</dl>\n<nav>\n{links}\n</nav>\n{body}\n</body>\n</html>\n"
    )
