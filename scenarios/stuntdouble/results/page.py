"""The report as one HTML file: it opens without a network, today and in ten years.

Everything is inside the file: style sheet, plotly's library, figures.  A content security policy
in its head forbids the browser to load anything else.  The same result gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.results import wording
from stuntdouble.results.comparison import compare, headlines, succeeded
from stuntdouble.results.details import details
from stuntdouble.results.elements import (
    EMPTY,
    Markup,
    element,
    joined,
    scrolling,
    table_caption,
)
from stuntdouble.results.shell import header, page, section
from stuntdouble.results.timelines import timelines
from stuntdouble.results.verdict import is_sound, verdict_parts

if TYPE_CHECKING:
    from stuntdouble.results.comparison import Cell, Group, Row
    from stuntdouble.results.model import Result

_BEST: Final = element("span", "best", class_="pill")


def page_html(result: Result) -> str:
    """Return the whole page for *result*, ending with a newline."""
    return page(
        f"{result.scenario}: {result.title}",
        _header(result),
        section("At a glance", _cards(result)),
        section("Over time", timelines(result)),
        section("Side by side", _comparison(result)),
        *(section(title, part) for title, part in details(result)),
        section("Reproduce", _reproduce(result)),
        origin="Figures come from emulation under the assumptions listed above.",
    )


def _header(result: Result) -> Markup:
    names = [wording.METHOD_TITLES[name] for name, _ in result.ordered_methods()]
    outcome, *rest = verdict_parts(result)
    return header(
        f"Backup rehearsal · {result.scenario}",
        result.title or result.scenario,
        _site_line(result, names),
        outcome,
        filter(None, rest),
        sound=is_sound(result),
    )


def _site_line(result: Result, methods: list[str]) -> str:
    vms = wording.counted(len(result.site.vms), "VM")
    size = wording.size(sum(vm.allocated_bytes for vm in result.site.vms))
    how = wording.listed(methods).lower()
    return f"{vms} with {size} in use, emulated I/O by I/O. Methods: {how}."


def _cards(result: Result) -> Markup:
    cost, each, *rows = headlines(result)
    cards = []
    for column, (name, method) in enumerate(result.ordered_methods()):
        expected = " as expected" if name in result.expected_failures else ""
        failed = element("p", element("span", f"failed{expected}", class_="pill failed"))
        figures = (
            element("div", element("dt", row.label), element("dd", *_marked(row, column)))
            for row in rows
        )
        cards.append(
            element(
                "article",
                element("h3", wording.METHOD_TITLES[name]),
                element("p", wording.METHOD_EXPLAINED[name]),
                EMPTY if succeeded(method) else failed,
                element("p", *_marked(cost, column), class_="cost"),
                element("p", f"{cost.label}, than without a backup", class_="unit"),
                element("p", f"{each.cells[column].text} {each.label}", class_="unit"),
                element("dl", *figures),
                class_=f"card {name}",
            )
        )
    return element("div", *cards, class_="cards")


def _marked(row: Row, column: int) -> tuple[str, ...]:
    cell: Cell = row.cells[column]
    return (cell.text, " ", _BEST) if column in row.best else (cell.text,)


def _comparison(result: Result) -> Markup:
    comparison = compare(result)
    caption = (
        "Every figure by method. “best” marks the best of a row and what is within 2 % of it"
        " (excess latency: 10 %)."
        " Phases are not ranked, because their lengths differ between methods."
        " Excess latency is beyond that of the same I/O on the same site without a backup."
    )
    headings = ("", *(wording.METHOD_TITLES[name] for name in comparison.methods))
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    width = str(len(headings))
    whole = scrolling(
        "Every figure by method",
        table_caption(caption),
        element("thead", head),
        *(_group(group, width) for group in comparison.groups),
    )
    folded = (element("p", sentence, class_="folded") for sentence in comparison.folded)
    return element("div", whole, *folded, class_="ranked")


def _group(group: Group, width: str) -> Markup:
    title = element("tr", element("th", group.title, scope="rowgroup", colspan=width))
    rows = (
        element(
            "tr",
            element("th", row.label.strip(), scope="row"),
            *(element("td", *_marked(row, column)) for column in range(len(row.cells))),
        )
        for row in group.rows
    )
    return element("tbody", title, *rows)


def _reproduce(result: Result) -> Markup:
    return joined(
        [
            element(
                "p",
                "The same seed and the same version give the same figures, digit for digit. Seed: ",
                element("code", str(result.seed)),
                ".",
            ),
            element("pre", element("code", result.command), tabindex="0"),
        ]
    )
