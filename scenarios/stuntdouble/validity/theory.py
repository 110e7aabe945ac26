"""What queueing theory knows exactly.  Times are in units of the mean service time.

    M/M/c      Erlang C: a chance of having to wait, and exponential waits for who must
    M/G/1      Pollaczek and Khinchine: mean wait = u (1 + v) / 2 (1 - u), v the squared
               coefficient of variation of the service (1 for M/M/1, 0 for M/D/1),
               u the utilisation
    Little     number inside = arrival rate × time inside, whatever the rest is like

Source: Kleinrock, "Queueing Systems", volume 1, 1975, sections 3.5, 5.6 and 2.1.
"""

from __future__ import annotations

import math
from typing import Final

_HALVINGS: Final = 200  # of an interval: far more than a float has bits


def erlang_c(servers: int, rho: float) -> float:
    """Return the chance that an arrival finds all *servers* busy, at *rho* each."""
    offered = servers * rho
    blocked = 1.0
    for k in range(1, servers + 1):  # Erlang B by its recursion, which does not overflow
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1 - rho * (1 - blocked))


def mean_wait_mmc(servers: int, rho: float) -> float:
    """Return the mean time in line of an M/M/c system."""
    return erlang_c(servers, rho) / (servers * (1 - rho))


def mean_response_mmc(servers: int, rho: float) -> float:
    """Return the mean time in an M/M/c system."""
    return 1 + mean_wait_mmc(servers, rho)


def mean_wait_mg1(rho: float, variation: float) -> float:
    """Return the mean time in line of an M/G/1 system whose service has this squared variation."""
    return rho * (1 + variation) / (2 * (1 - rho))


def mean_response_mg1(rho: float, variation: float) -> float:
    """Return the mean time in an M/G/1 system whose service has this squared variation."""
    return 1 + mean_wait_mg1(rho, variation)


def slower_than_mmc(servers: int, rho: float, seconds: float) -> float:
    """Return the chance that an I/O spends more than *seconds* in an M/M/c system."""
    waits = erlang_c(servers, rho)
    drain = servers * (1 - rho)
    if math.isclose(drain, 1.0):
        return math.exp(-seconds) * (1 + waits * seconds)
    # Service and, with chance `waits`, an exponential wait before it: a sum of two exponentials.
    both = (drain * math.exp(-seconds) - math.exp(-drain * seconds)) / (drain - 1)
    return (1 - waits) * math.exp(-seconds) + waits * both


def percentile_mmc(servers: int, rho: float, percent: float) -> float:
    """Return the time that *percent* of the I/Os do not exceed in an M/M/c system."""
    wanted = 1 - percent / 100
    low, high = 0.0, 1.0
    while slower_than_mmc(servers, rho, high) > wanted:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if slower_than_mmc(servers, rho, middle) > wanted:
            low = middle
        else:
            high = middle
    return high
