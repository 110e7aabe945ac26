"""HTML by construction: what is not already markup is escaped, everywhere and always.

``element`` is the only place that writes a tag, and ``Markup`` the only type that it trusts, so
a VM named ``<script>`` is shown, never run.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from stuntdouble.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


EMPTY: Final = Markup("")


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Return a *tag* around *children*; plain text among them is escaped.

    An attribute's underscores become hyphens, and one at its end, which keeps Python's keywords
    apart (``class_``), is dropped.
    """
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(printable(value))}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{tag}{pairs}>{joined(children)}</{tag}>")


def joined(children: Iterable[str]) -> Markup:
    """Return *children* one after another; plain text among them is escaped."""
    return Markup("".join(escaped(child) for child in children))


def escaped(text: str) -> Markup:
    """Return *text* as markup, unless it is markup already."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))


def table(caption: str, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    """Return a table whose first cell of each row names the row; it scrolls when too wide."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = (
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    )
    return scrolling(
        caption,
        table_caption(caption),
        element("thead", head),
        element("tbody", *body),
    )


def table_caption(text: str) -> Markup:
    """Return a caption that stays in view while its table scrolls sideways."""
    return element("caption", element("span", text))


def scrolling(label: str, *parts: Markup) -> Markup:
    """Return a table of *parts* in a box that scrolls sideways, by keyboard as well."""
    inside = element("table", *parts)
    return element("div", inside, class_="wide", tabindex="0", role="region", aria_label=label)
