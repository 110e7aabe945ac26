"""The frame of every page: one file that loads nothing from a network, a header, sections."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from stuntdouble.results.elements import EMPTY, Markup, element, escaped, joined

if TYPE_CHECKING:
    from collections.abc import Iterable


def page(title: str, *parts: Markup, origin: str, style: str = "") -> str:
    """Return a whole page, ending with a newline.

    Args:
        title: of the window.
        parts: of the page, one after the other.
        origin: where its figures come from, in a sentence.
        style: rules besides those that all pages share.
    """
    here = files("stuntdouble.results")
    return Template(here.joinpath("page.html").read_text("utf-8")).substitute(
        title=escaped(title),
        style=here.joinpath("page.css").read_text("utf-8") + style,
        body=joined(parts),
        origin=escaped(origin),
    )


def header(
    kicker: str, title: str, lead: str, outcome: str, notes: Iterable[str], *, sound: bool
) -> Markup:
    """Return what a page begins with: what it is about, and what came of it."""
    verdict = (
        element("p", outcome, class_="outcome"),
        element("ul", *(element("li", note) for note in notes)),
    )
    return element(
        "header",
        element("p", kicker, class_="kicker"),
        element("h1", title),
        element("p", lead, class_="lead"),
        element("div", *verdict, class_=f"verdict {'sound' if sound else 'attention'}"),
    )


def section(title: str, *parts: Markup) -> Markup:
    """Return a section that can be linked to; nothing where its parts are nothing."""
    if not any(parts):
        return EMPTY
    anchor = title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=anchor), *parts, aria_labelledby=anchor)
