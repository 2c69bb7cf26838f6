"""A self-contained HTML page: a list of facts, then sections with a title, a text and figures."""

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; height: auto; background: white; border-radius: 6px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, 4.7rem); gap: .8rem .6rem; }
.sheet figure { margin: 0; font-size: .8rem; line-height: 1.25; overflow-wrap: anywhere; }
.sheet img { width: 100%; image-rendering: pixelated; border-radius: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; }
nav a { margin-right: 1rem; }
@media (prefers-color-scheme: dark) { .chart { filter: invert(1) hue-rotate(180deg); } }
@media print {
  h2 { break-before: page; } h2:first-of-type { break-before: auto; } nav { display: none; }
}
"""


class Section(NamedTuple):
    """A part of a page: a title and a text, both plain, and figures as HTML."""

    title: str
    text: str
    figures: str


def html_page(title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page as HTML. Everything is escaped except ``figures``."""
    title = html.escape(title)
    items = [f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items()]
    links, body = [], []
    for number, section in enumerate(sections, start=1):
        heading = html.escape(section.title)
        links.append(f'<a href="#part{number}">{heading}</a>')
        body.append(f'<h2 id="part{number}">{heading}</h2>')
        body.append(f"<p>{html.escape(section.text)}</p>\n{section.figures}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<dl>\n{chr(10).join(items)}\n</dl>\n"
        f"<nav>\n{chr(10).join(links)}\n</nav>\n{chr(10).join(body)}\n</body>\n</html>\n"
    )
