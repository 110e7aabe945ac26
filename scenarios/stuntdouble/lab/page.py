"""What came of it, as one page that loads nothing from a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.lab.judging import AGAINST
from stuntdouble.lab.report import percent
from stuntdouble.results.elements import element, table
from stuntdouble.results.plotting import axis, library, look, plot
from stuntdouble.results.shell import header, page, section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.lab.curves import Curve
    from stuntdouble.lab.judging import Against, Finding, Judged
    from stuntdouble.results.elements import Markup
    from stuntdouble.results.plotting import Figure

_TITLE: Final = "A real block layer, measured again"
_HEIGHT: Final = 320
# Okabe and Ito's palette, as on the page of a comparison.
_LINES: Final[dict[str, dict[str, Any]]] = {
    "measured": {"color": "#0a86c7", "width": 1},
    "kept": {"color": "#d55e00", "width": 1.5, "dash": "dot"},
    "formula": {"color": "#009e73", "width": 1.5},
    "engine": {"color": "#9a6bb0", "width": 1.5, "dash": "dash"},
}


def page_html(judged: Sequence[Judged], versions: Mapping[str, str]) -> str:
    """Return the whole page, ending with a newline."""
    missed = [one.measured.name for one in judged if not one.met]
    setup = judged[0].kept.setup
    begin = header(
        "stuntdouble · laboratory",
        _TITLE,
        f"A disk of {setup.disk_bytes >> 20} MiB behind a throttle of {setup.iops:g} I/Os a"
        f" second, under I/Os of {setup.io_bytes >> 10} KiB, {setup.outstanding} at a time,"
        f" counted in bins of {setup.bin_seconds:g} s. A snapshot works in chunks of"
        f" {setup.chunk_bytes >> 10} KiB. Formula and engine have no fitted parameter.",
        f"Missed: {', '.join(missed)}." if missed else "Every curve is met.",
        [f"Measured with {', '.join(versions.values())}."],
        sound=not missed,
    )
    return page(
        _TITLE,
        begin,
        library(),
        *(_section(one) for one in judged),
        origin="Figures were measured as the page says, or come from a formula or from emulation.",
    )


def _section(one: Judged) -> Markup:
    curve = one.measured
    drawn = plot(curve.name, f"{curve.title}: I/Os per second", figure(one))
    return section(
        curve.title,
        element("figure", element("figcaption", _caption(one)), drawn),
        _table(one.findings),
    )


def _caption(one: Judged) -> str:
    text = "I/Os of the guest per second; the first bin holds the burst credit."
    if one.measured.commit:
        text += " Formula and engine end where the commit begins."
    return text


def figure(one: Judged) -> Figure:
    """Return a curve as measured, and all that it is held against."""
    width = one.kept.setup.bin_seconds
    lines: dict[str, Sequence[float]] = {"measured": one.measured.iops, "kept": one.kept.iops}
    lines.update(one.models.items())
    traces = [
        {
            "type": "scatter",
            "mode": "markers+lines" if name == "measured" else "lines",
            "name": name,
            "x": [(k + 0.5) * width for k in range(len(values))],
            "y": list(values),
            "line": _LINES[name],
        }
        for name, values in lines.items()
    ]
    layout = look(_HEIGHT) | {
        "hovermode": "x",
        "xaxis": axis("seconds"),
        "yaxis": axis("IOPS", rangemode="tozero"),
        "shapes": _commit_shade(one.measured),
    }
    return {"data": traces, "layout": layout}


def _commit_shade(curve: Curve) -> list[dict[str, Any]]:
    if curve.commit is None:
        return []
    shade = {"type": "rect", "layer": "below", "line": {"width": 0}, "yref": "paper"}
    span = {"x0": curve.commit.started_seconds, "x1": curve.commit.ended_seconds}
    return [{**shade, **span, "y0": 0, "y1": 1, "fillcolor": "rgba(230, 159, 0, 0.2)"}]


def _table(findings: Sequence[Finding]) -> Markup:
    rows = (
        (
            finding.part,
            f"{finding.measured:.1f} {finding.unit}",
            *(_cell(finding, name) for name in AGAINST),
            percent(finding.comparisons[0].tolerance),
            _pill(finding),
        )
        for finding in findings
    )
    headings = ("", "measured", *AGAINST, "allowed", "")
    return table("How far the curve is off, by what it is held against", headings, rows)


def _pill(finding: Finding) -> Markup:
    verdict = "met" if finding.met else "missed"
    return element("span", verdict, class_=f"pill {verdict}")


def _cell(finding: Finding, name: Against) -> str:
    found = next((x for x in finding.comparisons if x.against == name), None)
    return f"{found.value:.1f} ({percent(found.error)})" if found else "–"
