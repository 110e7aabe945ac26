"""Rows of queueing theory: what is known exactly must come out within the noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.iops import exponential
from stuntdouble.validity import theory
from stuntdouble.validity.making import Check, Outcome, given
from stuntdouble.validity.queues import mean_and_error, run_queue
from stuntdouble.validity.rig import fixed
from stuntdouble.validity.row import Point

if TYPE_CHECKING:
    from stuntdouble.iops import Service
    from stuntdouble.validity.queues import Queue
    from stuntdouble.validity.row import Parameter

IOS: Final = 200_000
"""Of a run at 80 % busy: noise of about one per cent."""

IOS_LONG: Final = 1_000_000
"""Of a run at up to 95 % busy, where a queue remembers for hundreds of service times."""

ERRORS_MAX: Final = 3.0
"""Standard errors that a mean may be away: one run in 370 would be further by chance."""

LITTLE_MAX: Final = 1e-9
"""Little's law is exact; only sums of floats may differ."""

_LITTLE_DIGITS: Final = 12  # kept of what differs: the last bits depend on the machine

RHO: Final = 0.8  # where queues begin to grow fast

_RHOS: Final = (0.4, 0.8, 0.9, 0.95)
_KLEINROCK: Final = 'queueing theory, exact (Kleinrock, "Queueing Systems", 1975)'
_AWAY: Final = "standard errors between theory and model, by batch means; the worst point"


def _gap(seen: tuple[float, float], known: float) -> float:
    mean, error = seen
    return abs(mean - known) / error


@dataclass(frozen=True, slots=True)
class System:
    """A queueing system whose mean response is known; its mean service is 1."""

    name: str
    words: str
    known: float
    services: tuple[Service, ...]
    servers: int = 1
    rho: float = RHO

    def run(self, seed: int) -> Queue:
        """Run it once for all rows."""
        return run_queue(self.services, self.servers, self.rho, IOS, seed)


def _mean(system: System, seed: int) -> Outcome:
    seen = mean_and_error(system.run(seed).seconds)
    point = Point(label="mean response / mean service", measured=system.known, modelled=seen[0])
    return Outcome((point,), _gap(seen, system.known), f"standard error {seen[1]:.2g}")


def _given(*rows: tuple[str, str]) -> tuple[Parameter, ...]:
    return given(*((name, value, "chosen") for name, value in rows))


def _mean_check(system: System) -> Check:
    return Check(
        id=system.name.lower().replace("/", ""),
        section="theory",
        title=f"{system.name}: mean response",
        says=f"{system.words}: the mean response of an open load at {system.rho:.0%} busy.",
        source=_KLEINROCK,
        compute=partial(_mean, system),
        parameters=_given(("utilisation", f"{system.rho}"), ("I/Os", f"{IOS:,}")),
        unit="service times",
        error_is=_AWAY,
        tolerance=ERRORS_MAX,
        quick=True,
    )


# A stripe over a quick and a slow server, each an M/D/1 of half the arrivals: to the load as a
# whole, two general servers.
_MIXED: Final = (0.5, 1.5)  # seconds, mean 1


def _mean_of_mixed(rho: float) -> float:
    return sum(s / 2 * theory.mean_response_mg1(rho * s, 0.0) for s in _MIXED)


_MIXED_RHO: Final = 0.5  # so that the slower of the two is 75 % busy


def _percentiles(seed: int) -> Outcome:
    seconds = run_queue((exponential(1.0),), 4, RHO, IOS, seed).seconds
    points, worst = [], 0.0
    for percent in (50.0, 75.0, 90.0, 95.0, 99.0, 99.9):
        known = theory.percentile_mmc(4, RHO, percent)
        share = 1 - percent / 100
        worst = max(worst, _gap(mean_and_error(seconds > known), share))
        ranked = sorted(seconds)[int(len(seconds) * percent / 100)]
        points.append(Point(label=f"p{percent:g}", measured=known, modelled=ranked, x=percent))
    why = "compared is the share of I/Os slower than the theoretical percentile"
    return Outcome(tuple(points), worst, why)


def _open_load(servers: int, seed: int) -> Outcome:
    points, worst = [], 0.0
    for rho in _RHOS:
        known = theory.mean_response_mmc(servers, rho)
        seen = mean_and_error(run_queue((exponential(1.0),), servers, rho, IOS_LONG, seed).seconds)
        worst = max(worst, _gap(seen, known))
        points.append(Point(label=f"{rho:.0%} busy", measured=known, modelled=seen[0], x=rho))
    return Outcome(tuple(points), worst)


def _open_check(servers: int) -> Check:
    return Check(
        id=f"open-mm{servers}",
        section="theory",
        title=f"M/M/{servers}: response against utilisation",
        says="Why latency explodes near 80 %, and why it does so later where servers share a queue:"
        f" response of an open load at {servers} server{'s' * (servers > 1)}.",
        source=_KLEINROCK,
        compute=partial(_open_load, servers),
        parameters=_given(("I/Os", f"{IOS_LONG:,} at each utilisation")),
        unit="service times",
        axis="utilisation",
        error_is=_AWAY,
        tolerance=ERRORS_MAX,
    )


_SYSTEMS: Final = (
    System(
        "M/M/1", "One exponential server", theory.mean_response_mmc(1, RHO), (exponential(1.0),)
    ),
    System(
        "M/D/1", "One server of constant service", theory.mean_response_mg1(RHO, 0.0), (fixed(1.0),)
    ),
    System(
        "M/M/4",
        "Four exponential servers behind one queue (Erlang C 0.5964)",
        theory.mean_response_mmc(4, RHO),
        (exponential(1.0),),
        4,
    ),
    System(
        "M/M/8",
        "Eight exponential servers behind one queue",
        theory.mean_response_mmc(8, RHO),
        (exponential(1.0),),
        8,
    ),
    System(
        "M/G/1",
        "A stripe over a quick and a slow server (Pollaczek–Khinchine for each)",
        _mean_of_mixed(_MIXED_RHO),
        tuple(fixed(s) for s in _MIXED),
        rho=_MIXED_RHO,
    ),
)


def _little(seed: int) -> Outcome:
    points, worst = [], 0.0
    for system in _SYSTEMS:
        found = system.run(seed)
        known, seen = found.rate_times_mean, found.inside
        points.append(Point(label=system.name, measured=known, modelled=seen))
        worst = max(worst, round(abs(seen / known - 1), _LITTLE_DIGITS))
    why = (
        "the number inside is the integral of arrivals (as the load tells them) less completions,"
        " and no I/O is paired with itself; the other side pairs them"
    )
    return Outcome(tuple(points), worst, why)


QUEUEING: Final = (
    *map(_mean_check, _SYSTEMS),
    Check(
        id="mm4-percentiles",
        section="theory",
        title="M/M/4: percentiles of the response",
        says="The tail, not only the mean: response percentiles of four servers at 80 % busy.",
        source=_KLEINROCK,
        compute=_percentiles,
        parameters=_given(("utilisation", f"{RHO}"), ("I/Os", f"{IOS:,}")),
        unit="service times",
        axis="percentile",
        error_is=_AWAY,
        tolerance=ERRORS_MAX,
        quick=True,
    ),
    Check(
        id="little",
        section="theory",
        title="Little's law",
        says="Mean number inside against arrival rate × mean time inside, in each run above.",
        source=_KLEINROCK,
        compute=_little,
        parameters=_given(("I/Os", f"{IOS:,} in each run")),
        unit="I/Os inside",
        error_is="worst relative difference of the two sides",
        tolerance=LITTLE_MAX,
        quick=True,
    ),
    *(_open_check(servers) for servers in (1, 4, 8)),
)
"""The rows of theory."""
