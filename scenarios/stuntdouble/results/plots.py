"""Time lines as plotly figures: plain dictionaries, so that the same result gives the same text.

All methods share one time axis and one scale, so that they compare by eye.  Colours come from
a palette that stays apart for colour-blind readers and on a light and a dark ground (Okabe and
Ito, "Color Universal Design", 2008); a method also has a dash of its own, a stun a sign of its own.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Final

from stuntdouble.results import wording
from stuntdouble.results.plotting import GREY, axis, look
from stuntdouble.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stuntdouble.results.figures import MethodName
    from stuntdouble.results.model import MethodResult, Result
    from stuntdouble.results.parts import Phase, Series
    from stuntdouble.results.plotting import Figure

    Methods = tuple[tuple[MethodName, MethodResult], ...]

METHOD_COLOURS: Final[dict[MethodName, str]] = {
    "software": "#d55e00",
    "storage": "#0a86c7",
    "mounted": "#009e73",
}
METHOD_DASHES: Final[dict[MethodName, str]] = {
    "software": "solid",
    "storage": "dash",
    "mounted": "dot",
}
PHASE_COLOURS: Final = {
    "snapshot": "rgba(204, 121, 167, 0.45)",
    "preparing": "rgba(120, 94, 240, 0.16)",
    "reading": "rgba(86, 180, 233, 0.20)",
    "consolidating": "rgba(230, 159, 0, 0.35)",
    "cleaning": "rgba(128, 128, 128, 0.30)",
}
LATENCY_COLOURS: Final = {"p50": "#0a86c7", "p95": "#c98500", "max": "#9a6bb0"}

_LABELLED_SHARE: Final = 0.12
"""A phase shorter than this share of the axis has no room for its name inside it."""

_KNEE_PERCENT: Final = 80
"""Mean time in an M/M/1 queue is five service times at 80 % busy, and ten at 90 %."""

_ROW_PIXELS: Final = 210
_LABEL_DECADES: Final = 0.3
"""Room below the lowest latency for the names of the phases."""


def latency_figure(result: Result) -> Figure:
    """Draw latency over time, a panel per method, phases shaded and stuns marked."""
    methods = result.ordered_methods()
    floor, ceiling = _latency_range(methods)
    unit_seconds, unit = _time_unit(methods)
    layout = _layout(len(methods) * _ROW_PIXELS + 90, f"{unit} since the run began", methods)
    traces: list[Figure] = []
    shapes: list[Figure] = []
    notes: list[Figure] = []
    span = _span(methods)
    titles: list[Figure] = []
    for row, (name, method) in enumerate(methods):
        top = 1 - row / len(methods)
        domain = [top - 0.82 / len(methods), top - 0.1 / len(methods)]
        layout[f"yaxis{_suffix(row)}"] = axis(
            "ms", type="log", range=[floor, ceiling], domain=domain, dtick=1
        )
        traces += _latency_traces(method, row, unit_seconds)
        traces.append(_stun_trace(method, row, unit_seconds, 10 ** (ceiling - 0.12)))
        shapes += [_shade(phase, domain, unit_seconds) for phase in method.phases]
        titles.append(_panel_title(wording.METHOD_TITLES[name], domain))
        notes += _phase_labels(method, domain, unit_seconds, span)
    layout["xaxis"]["anchor"] = f"y{_suffix(len(methods) - 1)}"
    shown = [shape for shape in shapes if shape["fillcolor"] is not None]
    # Titles first: the style sheet hides what comes after them where the screen is narrow.
    return {"data": traces, "layout": layout | {"shapes": shown, "annotations": titles + notes}}


def iops_figure(result: Result) -> Figure:
    """Draw guest I/Os per second over time, a line per method."""
    return _overlay(result, "IOPS", lambda series: list(series.iops))


def delta_figure(result: Result) -> Figure:
    """Draw the size of all delta disks over time, a line per method."""
    sizes = (size for _, m in result.ordered_methods() for size in m.series.delta_bytes)
    unit, factor = ("GiB", GIB) if max(sizes, default=0) >= GIB else ("MiB", MIB)
    return _overlay(result, unit, lambda series: [size / factor for size in series.delta_bytes])


def utilisation_figure(result: Result) -> Figure:
    """Draw the busy share of the array over time: in full, and thin the part due to backup."""
    figure = _overlay(result, "% busy", lambda series: [100 * x for x in series.utilisation])
    unit_seconds, _ = _time_unit(result.ordered_methods())
    for name, method in result.ordered_methods():
        backup = [100 * x for x in method.series.utilisation_backup]
        line = _line(f"{name}, due to backup", method.series, backup, unit_seconds)
        line["line"] = {"color": METHOD_COLOURS[name], "width": 1, "dash": METHOD_DASHES[name]}
        line |= {"fill": "tozeroy", "showlegend": False}
        line["fillcolor"] = _translucent(METHOD_COLOURS[name], 0.1)
        figure["data"].append(line)
    figure["layout"]["yaxis"]["range"] = [0, 100]
    figure["layout"]["shapes"] = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": _KNEE_PERCENT,
            "y1": _KNEE_PERCENT,
            "line": {"width": 1, "dash": "dot", "color": GREY},
        }
    ]
    return figure


def _overlay(result: Result, unit: str, values: Callable[[Series], list[float]]) -> Figure:
    methods = result.ordered_methods()
    unit_seconds, time_unit = _time_unit(methods)
    layout = _layout(_ROW_PIXELS + 90, f"{time_unit} since the run began", methods)
    layout["yaxis"] = axis(unit, rangemode="tozero", domain=[0, 1])
    traces = []
    for name, method in methods:
        line = _line(name, method.series, values(method.series), unit_seconds)
        line["line"] = {"color": METHOD_COLOURS[name], "width": 2, "dash": METHOD_DASHES[name]}
        traces.append(line)
    return {"data": traces, "layout": layout}


def _line(name: str, series: Series, values: Iterable[float | None], unit: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [_short(time / unit) for time in series.time],
        "y": [None if value is None else _short(value) for value in values],
        "connectgaps": False,
        "hovertemplate": "%{y:.4~g}",
    }


def _latency_traces(method: MethodResult, row: int, unit: float) -> list[Figure]:
    series = method.series
    columns = {
        "p50": series.latency_ms_p50,
        "p95": series.latency_ms_p95,
        "max": series.latency_ms_max,
    }
    traces = []
    for name, values in columns.items():
        # A logarithmic axis has no zero: such a bin is left out like one without I/O.
        line = _line(name, series, [value or None for value in values], unit)
        line["line"] = {"color": LATENCY_COLOURS[name], "width": 1 if name == "max" else 1.8}
        line |= {"yaxis": f"y{_suffix(row)}", "legendgroup": name, "showlegend": row == 0}
        traces.append(line)
    return traces


def _stun_trace(method: MethodResult, row: int, unit: float, height: float) -> Figure:
    stuns = [event for event in method.events if event.kind == "stun"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "stun",
        "x": [_short(event.time / unit) for event in stuns],
        "y": [_short(height)] * len(stuns),
        "text": [_safe(f"{event.subject}: {event.text}") for event in stuns],
        "hovertemplate": "%{text}",
        "marker": {"symbol": "triangle-down", "size": 10, "color": "#e0245e"},
        "yaxis": f"y{_suffix(row)}",
        "legendgroup": "stun",
        "showlegend": row == 0,
    }


def _shade(phase: Phase, domain: list[float], unit: float) -> Figure:
    return {
        "type": "rect",
        "layer": "below",
        "xref": "x",
        "yref": "paper",
        "x0": _short(phase.start / unit),
        "x1": _short(phase.end / unit),
        "y0": domain[0],
        "y1": domain[1],
        "line": {"width": 0},
        "fillcolor": PHASE_COLOURS.get(phase.name),
    }


def _phase_labels(
    method: MethodResult, domain: list[float], unit: float, span: float
) -> list[Figure]:
    """Name each phase that is wide enough, and a short merge beside it where it is the only one."""
    labels = []
    merges = sum(phase.name == "consolidating" for phase in method.phases)
    for phase in method.phases:
        if phase.name not in PHASE_COLOURS:
            continue
        text = _phase_text(phase, method)
        if phase.end - phase.start >= _LABELLED_SHARE * span:
            middle = _short((phase.start + phase.end) / 2 / unit)
            label = _note(text, x=middle, y=domain[0], xref="x")
            labels.append(label | {"xanchor": "center", "yanchor": "bottom", "font": {"size": 11}})
        elif phase.name == "consolidating" and merges == 1:
            text = f"{wording.seconds(phase.end - phase.start)} {text}"
            label = _note(text, x=_short(phase.end / unit), y=domain[1], xref="x")
            beside = {"xanchor": "left", "xshift": 10, "yanchor": "top", "align": "left"}
            labels.append(label | beside | {"font": {"size": 11}})
    return labels


def _phase_text(phase: Phase, method: MethodResult) -> str:
    """Return the phase's name, with its latency where the figure is that of this stretch alone."""
    load = getattr(method.foreground, phase.name, None)
    alone = sum(other.name == phase.name for other in method.phases) == 1
    if load is None or load.latency_ms.p95 is None or not alone:
        return phase.name
    return f"{phase.name}<br>p95 {wording.milliseconds(load.latency_ms.p95)}"


def _panel_title(title: str, domain: list[float]) -> Figure:
    note = _note(f"<b>{title}</b>", x=0, y=domain[1], xref="paper")
    return note | {"xanchor": "left", "yanchor": "bottom", "font": {"size": 13}}


def _note(text: str, *, x: float, y: float, xref: str) -> Figure:
    return {"text": text, "x": x, "y": y, "xref": xref, "yref": "paper", "showarrow": False}


def _layout(height: int, time_title: str, methods: Methods) -> Figure:
    unit, _ = _time_unit(methods)
    across = axis(time_title, range=[0, _short(_span(methods) / unit)])
    return look(height) | {"hovermode": "x", "xaxis": across}


def _latency_range(methods: Methods) -> tuple[float, float]:
    """Return the decades that hold every latency of every method, as powers of ten."""
    values = [
        value
        for _, method in methods
        for column in (method.series.latency_ms_p50, method.series.latency_ms_max)
        for value in column
        if value
    ]
    if not values:
        return 0.0, 1.0
    floor = math.floor(math.log10(min(values)) * 4) / 4 - _LABEL_DECADES
    return floor, max(math.ceil(math.log10(max(values)) * 4) / 4, floor + 1) + 0.25


def _span(methods: Methods) -> float:
    ends = [phase.end for _, method in methods for phase in method.phases]
    bins = [m.series.time[-1] + m.series.bin_seconds for _, m in methods if m.series.time]
    return max([*ends, *bins], default=1.0) or 1.0


def _time_unit(methods: Methods) -> tuple[float, str]:
    span = _span(methods)
    if span > 4 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if span > 300 else (1.0, "seconds")


def _suffix(row: int) -> str:
    return str(row + 1) if row else ""


def _short(value: float) -> float:
    """Return *value* with six digits: more than a screen shows, and a smaller page."""
    return float(f"{value:.6g}")


def _safe(text: str) -> str:
    """Return *text* for plotly, which reads a little HTML in texts, links among it."""
    return html.escape(wording.printable(text))


def _translucent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
