"""The report as one HTML file: each row with its figure, and nothing from a network."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from stuntdouble.results.elements import EMPTY, Markup, element, joined, table
from stuntdouble.results.plotting import library, plot
from stuntdouble.results.shell import header, page, section
from stuntdouble.validity import sensing
from stuntdouble.validity.drawing import figure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.validity.report import Report
    from stuntdouble.validity.row import Row, SectionName

_TITLE: Final = "How far the model can be trusted"

_SECTIONS: Final[dict[SectionName, tuple[str, str]]] = {
    "theory": (
        "Queueing theory",
        "Known exactly. Whatever is wrong with arrivals, queues, servers or the meter shows here.",
    ),
    "block layer": (
        "A real block layer",
        "Measured behind a throttle of 400 I/Os a second, which has no latency of its own.",
    ),
    "disks": (
        "Disks",
        "Single drives: service times against measured ones, I/Os a second against rules of thumb.",
    ),
    "published": (
        "Published tables",
        "Measured by others, on systems of which little is known: so much had to be assumed.",
    ),
}


def page_html(report: Report) -> str:
    """Return the whole page for *report*."""
    return page(
        _TITLE,
        _header(report),
        library(),
        _glance(report),
        *(
            _section(*_SECTIONS[name], [row for row in report.rows if row.section == name])
            for name in _SECTIONS
        ),
        _sensitivity(report),
        origin="Figures are known from the source that a row names, or come from emulation.",
        style=files("stuntdouble.validity").joinpath("page.css").read_text("utf-8"),
    )


def _header(report: Report) -> Markup:
    judged = [row for row in report.rows if row.verdict != "shown"]
    met = sum(row.verdict == "met" for row in judged)
    known = sum(row.verdict == "missed" and row.known_miss for row in judged)
    odd = [row for row in report.rows if not row.is_as_expected]
    notes = [f"{known} are known to miss, each with the reason."] if known else []
    notes += [f"Not as expected: {row.title}." for row in odd]
    shown = len(report.rows) - len(judged)
    if shown:
        notes.append(f"{shown} more rows are shown without a claim.")
    return header(
        "stuntdouble · validity",
        _TITLE,
        "Every row holds the model against something that is known, says how far apart they are,"
        " and how far apart they may be. What misses is told like what holds.",
        f"{met} of {len(judged)} claims hold.",
        notes,
        sound=not odd,
    )


def _glance(report: Report) -> Markup:
    rows = (
        (
            element("a", row.title, href=f"#{row.id}"),
            _error(row),
            _allowed(row),
            _pill(row),
        )
        for row in report.rows
    )
    listed = table(
        "Every row; the links lead to its figure. s.e.: standard errors.",
        ("", "error", "allowed", ""),
        rows,
    )
    return section("At a glance", element("div", listed, class_="glance"))


def _section(title: str, words: str, rows: list[Row]) -> Markup:
    if not rows:
        return EMPTY
    parts = (element("p", words, class_="group"), *(_row(row) for row in rows))
    return section(title, joined(parts))


def _row(row: Row) -> Markup:
    facts = [("error", _error(row)), ("allowed", _allowed(row))] if row.error is not None else []
    return element(
        "article",
        element(
            "div",
            element("h3", row.title, " ", _pill(row)),
            element("p", row.says),
            _facts(facts),
            element("p", _sentence(row.why), class_="why") if row.why else EMPTY,
            _facts([("known from", row.source)], class_="source"),
            _given(row),
            class_="facts",
        ),
        element("figure", plot(row.id, f"{row.title}: known and modelled", figure(row))),
        class_="row",
        id=row.id,
    )


def _sensitivity(report: Report) -> Markup:
    grid = report.sensitivity
    if grid is None:
        return EMPTY
    label = "Excess latency of every method in every variation"
    drawn = element("figure", plot("sensitivity", label, sensing.figure(grid)))
    return section("Sensitivity", sensing.part(grid, drawn))


def _facts(facts: Iterable[tuple[str, str]], **attributes: str) -> Markup:
    pairs = (
        element("div", element("dt", name), element("dd", value)) for name, value in facts if value
    )
    return element("dl", *pairs, **attributes)


def _given(row: Row) -> Markup:
    if not row.parameters:
        return EMPTY
    rows = ((p.name, p.value, p.source) for p in row.parameters)
    listed = table("What the model was given", ("", "value", "where from"), rows)
    return element("details", element("summary", "What the model was given"), listed)


def _pill(row: Row) -> Markup:
    words = "known miss" if row.verdict == "missed" and row.known_miss else row.verdict
    return element("span", words, class_=f"pill {row.verdict}")


def _error(row: Row) -> str:
    return "–" if row.error is None else _number(row.error, row)


def _allowed(row: Row) -> str:
    return "–" if row.tolerance is None else _number(row.tolerance, row)


def _number(value: float, row: Row) -> str:
    """Return a relative error in per cent, and any other as it is."""
    if row.error_is.startswith("standard errors"):
        return f"{value:.2g} s.e."
    if 0 < value < 1e-6:
        return f"{value:.0e}"
    return f"{value:.2g}" if value == 0 else f"{100 * value:.3g} %"


def _sentence(text: str) -> str:
    """Return *text* beginning with a capital and ending with a full stop."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
