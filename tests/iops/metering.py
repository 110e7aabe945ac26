"""All that a meter can be asked, as plain values that can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stuntdouble.iops import Felt, Meter


def plain(felt: Felt) -> tuple[Any, ...]:
    """Return what some guests felt as plain values."""
    return felt.ios, felt.seconds, felt.longest, felt.values.tolist(), felt.counts.tolist()


def heard(
    meter: Meter, guests: list[str], stations: list[int], end: float, words: list[str]
) -> dict[str, Any]:
    """Return all that a meter has heard, up to *end*."""
    edges = np.linspace(0.0, end, 12)
    return {
        "felt": {(w, g): plain(meter.felt(w, g)) for w in ["", *words] for g in guests},
        "all": plain(meter.felt()),
        "line": [plain(each) for each in meter.line(edges)],
        "going on": {word: meter.seconds_of(word) for word in words},
        "busy": {k: meter.busy([k], edges).tolist() for k in stations},
        "purposes": [meter.busy(stations, edges, (p,)).tolist() for p in range(6)],
        "visits": [meter.visits(stations, (p,)) for p in range(6)],
        "in flight": {g: meter.in_flight(g, edges).tolist() for g in guests},
        "last": {g: meter.last_arrival(g) for g in guests},
        "recent": {g: meter.recent_latency([g], max(end - 5.0, 0.0)) for g in guests},
        "silences": {g: meter.silences(g) for g in guests},
    }
