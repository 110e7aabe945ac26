"""The time lines of the page: plotly's figures with captions, after its library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.results import plots, plotting
from stuntdouble.results.elements import element, joined

if TYPE_CHECKING:
    from stuntdouble.results.elements import Markup
    from stuntdouble.results.model import Result
    from stuntdouble.results.plotting import Figure


def timelines(result: Result) -> Markup:
    """Return latency, IOPS, delta size and array utilisation over time."""
    smaller = (
        ("iops", "Guest I/Os per second, all VMs.", plots.iops_figure(result)),
        ("delta", "Size of all delta disks.", plots.delta_figure(result)),
    )
    return joined(
        [
            plotting.library(),
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


def _figure(name: str, caption: str, figure: Figure, *extra: Markup) -> Markup:
    return element(
        "figure", element("figcaption", caption), *extra, plotting.plot(name, caption, figure)
    )


def _phase_key() -> Markup:
    entries = (
        element("li", element("span", "", class_=f"swatch {name}"), name)
        for name in plots.PHASE_COLOURS
    )
    return element("ul", *entries, class_="key")
