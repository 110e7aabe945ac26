"""What was measured is told to the meter: I/Os that have completed, visits that have started.

Rows of visits stay for as long as they may be needed: what has not started may yet start at another
time (``rates``), and who waits for it is found by what has not ended.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.rates import started
from stuntdouble.iops.kernel.silent import reached, take_out_all_ended
from stuntdouble.iops.kernel.tables import (
    A_FREE,
    FLUSH_ROWS,
    N_FLUSH_AT,
    N_SERVICES,
    SERVED_BUILT,
    SERVED_JOB,
    SERVED_KEY,
    SERVED_PURPOSE,
    SERVED_SECONDS,
    SERVED_START,
    SERVED_STATION,
    see,
)

_FLUSH_ROWS = FLUSH_ROWS
_TOLD = 1 << 32  # added to the purpose of a row that the meter has been told of


@njit(forceinline=True)
def _has_started(k: Any, row: Any, now: Any) -> Any:
    """Say whether the visit in *row* has started."""
    start = k.services[row, SERVED_START]
    if start != now:
        return start < now
    station = k.service_kinds[row, SERVED_STATION]
    return k.stations[station, A_FREE] == 0 or row < started(k, station)


@njit(forceinline=True)
def _keep(k: Any, row: Any, at: Any) -> None:
    k.service_kinds[at, SERVED_STATION] = k.service_kinds[row, SERVED_STATION]
    k.service_kinds[at, SERVED_PURPOSE] = k.service_kinds[row, SERVED_PURPOSE]
    k.service_kinds[at, SERVED_JOB] = k.service_kinds[row, SERVED_JOB]
    k.service_kinds[at, SERVED_KEY] = k.service_kinds[row, SERVED_KEY]
    k.services[at, SERVED_START] = k.services[row, SERVED_START]
    k.services[at, SERVED_SECONDS] = k.services[row, SERVED_SECONDS]
    k.services[at, SERVED_BUILT] = k.services[row, SERVED_BUILT]


@njit("int64(int64)", cache=True)
def tell(kt: Any) -> Any:
    """Gather what the meter is to be told; return how many visits have started since the last time."""
    k = see(kt)
    take_out_all_ended(k)
    now, _ = reached(k)
    told = kept = 0
    rows = k.ints[N_SERVICES, 0]
    for row in range(rows):
        purpose = k.service_kinds[row, SERVED_PURPOSE]
        if purpose < _TOLD and _has_started(k, row, now):
            k.told_kinds[told, 0] = k.service_kinds[row, SERVED_STATION]
            k.told_kinds[told, 1] = purpose
            k.told[told, 0] = k.services[row, SERVED_START]
            k.told[told, 1] = k.services[row, SERVED_SECONDS]
            told += 1
            k.service_kinds[row, SERVED_PURPOSE] = purpose + _TOLD
    for row in range(rows):
        if k.services[row, SERVED_START] + k.services[row, SERVED_SECONDS] >= now:
            _keep(k, row, kept)
            kept += 1
    k.ints[N_SERVICES, 0] = kept
    k.ints[N_FLUSH_AT, 0] = kept + _FLUSH_ROWS
    return told
