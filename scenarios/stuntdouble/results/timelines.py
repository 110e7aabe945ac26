"""The time lines of the page: plotly's figures with captions, and its library once."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.results import plots
from stuntdouble.results.elements import Markup, element, joined

if TYPE_CHECKING:
    from stuntdouble.results.model import Result

_SETTINGS: Final = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def timelines(result: Result) -> Markup:
    """Return latency, IOPS, delta size and array utilisation over time."""
    smaller = (
        ("iops", "Guest I/Os per second, all VMs.", plots.iops_figure(result)),
        ("delta", "Size of all delta disks.", plots.delta_figure(result)),
    )
    return joined(
        [
            Markup(f"<script>{_library()}</script>"),
            _figure(
                "latency",
                "Latency of the guests' I/O, all VMs, on a logarithmic scale that all methods"
                " share: half and nineteen in twenty I/Os were faster than p50 and p95. Shaded: the"
                " phases of the job. Triangles: stuns.",
                plots.latency_figure(result),
                _phase_key(),
            ),
            _figure(
                "utilisation",
                "Busy share of the array's disks. Filled: the part due to the backup. Dotted: 80 %,"
                " from where on queues grow fast.",
                plots.utilisation_figure(result),
            ),
            element("div", *(_figure(*parts) for parts in smaller), class_="figures"),
        ]
    )


def _figure(name: str, caption: str, figure: plots.Figure, *extra: Markup) -> Markup:
    identity = f"plot-{name}"
    room = element("div", id=identity, style=f"height:{figure['layout']['height']}px; width:100%;")
    parts = ",".join(
        _json(part) for part in (identity, figure["data"], figure["layout"], _SETTINGS)
    )
    return element(
        "figure",
        element("figcaption", caption),
        *extra,
        element(
            "div",
            room,
            Markup(f"<script>Plotly.newPlot({parts});</script>"),
            role="img",
            aria_label=caption,
        ),
    )


def _library() -> str:
    """Return plotly's library for browsers, without the half second that importing plotly takes."""
    package = find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "package_data" / "plotly.min.js").read_text("utf-8")


def _json(value: object) -> str:
    """Return *value* as JSON in which nothing can end a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"})


def _phase_key() -> Markup:
    entries = (
        element("li", element("span", "", class_=f"swatch {name}"), name)
        for name in plots.PHASE_COLOURS
    )
    return element("ul", *entries, class_="key")
