"""Rows of whole sites: what a scenario of the library says, beside what was published of such."""

from __future__ import annotations

from typing import Final

from stuntdouble.validity.making import OUTSIDE, Check, Outcome, given
from stuntdouble.validity.playing import played
from stuntdouble.validity.row import Point

_EXCHANGE: Final = "busy-exchange"

_SITE: Final = given(
    (
        "scenario",
        f"{_EXCHANGE}, as it comes",
        "its load is chosen so that the pool is 30 to 40 % busy before the job",
    )
)


def _utilisation(seed: int) -> Outcome:
    software = played(_EXCHANGE, seed).methods["software"]
    before, merging = (
        software.array_utilisation.before or 0.0,
        software.array_utilisation.consolidating or 0.0,
    )
    latency = software.foreground
    slower = (latency.consolidating.latency_ms.p95 or 0.0) / (latency.before.latency_ms.p95 or 1.0)
    points = (
        Point(label="before", measured=35, modelled=100 * before),
        Point(label="while the snapshot is removed, at least", measured=80, modelled=100 * merging),
    )
    outside = max(0.30 / before - 1, before / 0.40 - 1, 0.80 / merging - 1 if merging else 1.0, 0.0)
    why = f"the guests' p95 latency is {slower:.0f} times what it was before, while it lasts"
    return Outcome(points, outside, why)


def _open_seconds(seed: int) -> Outcome:
    points = tuple(
        Point(label=name, measured=None, modelled=method.snapshot_open_seconds)
        for name, method in played(_EXCHANGE, seed).ordered_methods()
    )
    why = (
        "an outcome to look at, never an input: published is that a VM snapshot lives for a few"
        " seconds when the array takes one as well"
    )
    return Outcome(points, None, why)


SITES: Final = (
    Check(
        id="p8-utilisation",
        section="published",
        title="P8: an array while a snapshot is removed",
        says="An array at 30 to 40 % load goes to 80 % and more when a snapshot is removed.",
        source="Veeam KB1681",
        compute=_utilisation,
        parameters=_SITE,
        unit="% busy",
        error_is=OUTSIDE,
        tolerance=0.0,
    ),
    Check(
        id="p10-open",
        section="published",
        title="P10: how long a VM snapshot is open",
        says="The same backup by each method.",
        source="US 9,552,168",
        compute=_open_seconds,
        parameters=_SITE,
        unit="s",
    ),
)
"""The rows of whole sites."""
