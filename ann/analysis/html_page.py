"""A self-contained HTML page: a list of facts, then sections with a title, a text and figures."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple


class Section(NamedTuple):
    """A part of a page: a title and a text, both plain, and figures as HTML."""

    title: str
    text: str
    figures: str


def html_page(title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page as HTML. Everything is escaped except ``figures``."""
    rows = [f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()]
    links, parts = [], []
    for number, section in enumerate(sections, start=1):
        heading = escape(section.title)
        links.append(f'<a href="#part{number}">{heading}</a>')
        parts.append(f'<h2 id="part{number}">{heading}</h2>')
        parts.append(f"<p>{escape(section.text)}</p>\n{section.figures}")
    lines = {"facts": rows, "links": links, "sections": parts}
    page = Template(files("ann.analysis").joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        {name: "\n".join(each) for name, each in lines.items()}, title=escape(title)
    )
