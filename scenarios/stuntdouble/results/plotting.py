"""Plotly figures on a page: the look that all of them share, the library once, a figure's place.

A figure is a plain dictionary, so that the same figures give the same text.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from stuntdouble.results.elements import Markup, element

Figure = dict[str, Any]

GREY: Final = "#808080"

_SETTINGS: Final = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def look(height: int) -> Figure:
    """Return a layout without axes: as wide as its place, and on the ground of the page."""
    return {
        "template": {},
        "height": height,
        "autosize": True,
        "margin": {"l": 56, "r": 12, "t": 34, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": GREY},
        "hoverlabel": {"bgcolor": "#20262e", "font": {"color": "#ffffff"}},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
    }


def axis(title: str, **settings: Any) -> Figure:
    """Return an axis: a grid that the page may colour, and no line at zero."""
    return {
        "title": {"text": title, "standoff": 6},
        "gridcolor": "rgba(128,128,128,0.25)",
        "linecolor": GREY,
        "zeroline": False,
        **settings,
    }


def library() -> Markup:
    """Return plotly's library for browsers, without the half second that importing plotly takes."""
    package = find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "package_data"
    return Markup(f"<script>{(folder / 'plotly.min.js').read_text('utf-8')}</script>")


def plot(name: str, label: str, figure: Figure) -> Markup:
    """Return the place of a figure, and the call that draws it; the library must stand before."""
    identity = f"plot-{name}"
    room = element("div", id=identity, style=f"height:{figure['layout']['height']}px; width:100%;")
    parts = (identity, figure["data"], figure["layout"], _SETTINGS)
    call = f"Plotly.newPlot({','.join(map(_json, parts))});"
    drawing = Markup(f"<script>{call}</script>")
    return element("div", room, drawing, role="img", aria_label=label)


def _json(value: object) -> str:
    """Return *value* as JSON in which nothing can end a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"})
