"""What came of it, as one page that loads nothing from a network."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any, Final

import plotly.io
from plotly.offline import get_plotlyjs

from stuntdouble.lab.judging import AGAINST
from stuntdouble.lab.report import percent
from stuntdouble.results.elements import EMPTY, Markup, element, joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.lab.curves import Curve
    from stuntdouble.lab.judging import Comparison, Finding, Judged

_SETTINGS: Final = {"displaylogo": False, "responsive": True, "displayModeBar": False}
_GREY: Final = "#808080"
# Okabe and Ito's palette, as on the page of a comparison.
_LINES: Final[dict[str, dict[str, Any]]] = {
    "measured": {"color": "#0a86c7", "width": 1},
    "kept": {"color": "#d55e00", "width": 1.5, "dash": "dot"},
    "formula": {"color": "#009e73", "width": 1.5},
    "engine": {"color": "#9a6bb0", "width": 1.5, "dash": "dash"},
}


def page(judged: Sequence[Judged], versions: Mapping[str, str]) -> str:
    """Return the whole page, ending with a newline."""
    template = Template(files("stuntdouble.lab").joinpath("page.html").read_text("utf-8"))
    missed = [one.measured.name for one in judged if not one.met]
    outcome = f"Missed: {', '.join(missed)}." if missed else "Every curve is met."
    setup = judged[0].kept.setup
    body = joined(
        [
            Markup(f"<script>{get_plotlyjs()}</script>"),
            element("h1", "The laboratory: a real block layer, measured again"),
            element(
                "p",
                f"A disk of {setup.disk_bytes >> 20} MiB behind a throttle of {setup.iops:g} I/Os a"
                f" second, written in {setup.io_bytes >> 10} KiB I/Os, {setup.outstanding} at a"
                f" time, in bins of {setup.bin_seconds:g} s. A snapshot works in chunks of"
                f" {setup.chunk_bytes >> 10} KiB. Formula and engine have no fitted parameter.",
            ),
            element("p", ", ".join(versions.values()), class_="soft"),
            element("p", outcome, class_="outcome missed" if missed else "outcome"),
            *(_section(one) for one in judged),
        ]
    )
    return template.substitute(body=body)


def _section(one: Judged) -> Markup:
    return element(
        "section",
        element("h2", one.measured.title),
        element("figure", Markup(_drawn(one)), element("figcaption", _caption(one))),
        _table(one.findings),
    )


def _caption(one: Judged) -> str:
    text = "I/Os of the guest per second; the first bin holds the burst credit."
    if one.measured.commit:
        text += " Formula and engine end where the commit begins."
    return text


def _drawn(one: Judged) -> str:
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
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "linecolor": _GREY, "zeroline": False}
    layout = {
        "template": "none",
        "height": 320,
        "autosize": True,
        "margin": {"l": 48, "r": 12, "t": 30, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _GREY},
        "hovermode": "x",
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
        "xaxis": {"title": {"text": "seconds", "standoff": 6}, **grid},
        "yaxis": {"title": {"text": "IOPS", "standoff": 6}, "rangemode": "tozero", **grid},
        "shapes": _commit_shade(one.measured),
    }
    drawn: str = plotly.io.to_html(
        {"data": traces, "layout": layout},
        config=_SETTINGS,
        include_plotlyjs=False,
        full_html=False,
        default_height="320px",
        div_id=f"plot-{one.measured.name}",
    )
    return drawn


def _commit_shade(curve: Curve) -> list[dict[str, Any]]:
    if curve.commit is None:
        return []
    shade = {"type": "rect", "layer": "below", "line": {"width": 0}, "yref": "paper"}
    span = {"x0": curve.commit.started_seconds, "x1": curve.commit.ended_seconds}
    return [{**shade, **span, "y0": 0, "y1": 1, "fillcolor": "rgba(230, 159, 0, 0.2)"}]


def _table(findings: Sequence[Finding]) -> Markup:
    headings = ("", "measured", *AGAINST, "allowed", "")
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    rows = (
        element(
            "tr",
            element("th", finding.part, scope="row"),
            element("td", f"{finding.measured:.1f} {finding.unit}"),
            *(_cell(finding, name) for name in AGAINST),
            element("td", percent(finding.comparisons[0].tolerance)),
            element(
                "td",
                "met" if finding.met else "missed",
                class_="met" if finding.met else "missed",
            ),
        )
        for finding in findings
    )
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("div", table, class_="wide", tabindex="0", role="region")


def _cell(finding: Finding, name: str) -> Markup:
    found: Comparison | None = next((x for x in finding.comparisons if x.against == name), None)
    text = f"{found.value:.1f} ({percent(found.error)})" if found else EMPTY
    return element("td", text)
