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
    from collections.abc import Mapping

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
_OPEN_SERVERS: Final = (1, 4, 8)
_KLEINROCK: Final = 'queueing theory, exact (Kleinrock, "Queueing Systems", 1975)'
_AWAY: Final = "standard errors between theory and model, by batch means; the worst point"


def _gap(seen: tuple[float, float], known: float) -> float:
    mean, error = seen
    return abs(mean - known) / error


@dataclass(frozen=True, slots=True)
class System:
    """A queueing system of which it is known how long an I/O waits; its mean service is 1.

    Args:
        name: as the field has it.
        words: what it is.
        wait: mean time in line.
        waiting: chance of having to wait.
        services: its stations, each with a line of its own.
        servers: of each station.
        rho: how busy they are.
    """

    name: str
    words: str
    wait: float
    waiting: float
    services: tuple[Service, ...]
    servers: int = 1
    rho: float = RHO

    def run(self, seed: int) -> Queue:
        """Run it once for all rows."""
        return run_queue(self.services, self.servers, self.rho, IOS, seed)


def _means(system: System, seed: int) -> Outcome:
    run = system.run(seed)
    compared = (
        ("mean response / mean service", 1 + system.wait, run.seconds),
        ("mean wait / mean service", system.wait, run.waits),
        ("chance of having to wait", system.waiting, run.waits > 0),
    )
    points, worst, errors = [], 0.0, []
    for label, known, values in compared:
        seen = mean_and_error(values)
        worst = max(worst, _gap(seen, known))
        errors.append(f"{seen[1]:.2g}")
        points.append(Point(label=label, measured=known, modelled=seen[0]))
    return Outcome(tuple(points), worst, f"standard errors {', '.join(errors)}")


def _given(*rows: tuple[str, str]) -> tuple[Parameter, ...]:
    return given(*((name, value, "chosen") for name, value in rows))


def _mean_check(system: System) -> Check:
    return Check(
        id=system.name.lower().replace("/", ""),
        section="theory",
        title=f"{system.name}: response and wait",
        says=f"{system.words}: mean response, mean wait and the chance of having to wait"
        f"{' (Erlang C)' * (system.servers > 1)} of an open load at {system.rho:.0%} busy.",
        source=_KLEINROCK,
        compute=partial(_means, system),
        parameters=_given(("utilisation", f"{system.rho}"), ("I/Os", f"{IOS:,}")),
        error_is=_AWAY,
        tolerance=ERRORS_MAX,
        quick=True,
    )


# A stripe over a quick and a slow server, each an M/D/1 of half the arrivals: to the load as a
# whole, two general servers.
_MIXED: Final = (0.5, 1.5)  # seconds, mean 1


def _mean_of_mixed(rho: float) -> float:
    return sum(s / 2 * theory.mean_wait_mg1(rho * s, 0.0) for s in _MIXED)


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


def _open_run(servers: int, rho: float, seed: int) -> Queue:
    return run_queue((exponential(1.0),), servers, rho, IOS_LONG, seed)


def _open_load(servers: int, seed: int) -> Outcome:
    points, worst = [], 0.0
    for rho in _RHOS:
        known = theory.mean_response_mmc(servers, rho)
        seen = mean_and_error(_open_run(servers, rho, seed).seconds)
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


def _mmc(servers: int, words: str) -> System:
    wait, waiting = theory.mean_wait_mmc(servers, RHO), theory.erlang_c(servers, RHO)
    return System(f"M/M/{servers}", words, wait, waiting, (exponential(1.0),), servers)


_SYSTEMS: Final = (
    _mmc(1, "One exponential server"),
    System(
        "M/D/1",
        "One server of constant service",
        theory.mean_wait_mg1(RHO, 0.0),
        RHO,
        (fixed(1.0),),
    ),
    _mmc(4, "Four exponential servers behind one queue"),
    _mmc(8, "Eight exponential servers behind one queue"),
    System(
        "M/G/1",
        "A stripe over a quick and a slow server (Pollaczek–Khinchine for each)",
        _mean_of_mixed(_MIXED_RHO),
        _MIXED_RHO,  # the mean of both servers': half of the I/Os come to each
        tuple(fixed(s) for s in _MIXED),
        rho=_MIXED_RHO,
    ),
)


def _both_sides(runs: Mapping[str, Queue]) -> Outcome:
    points, worst = [], 0.0
    for name, found in runs.items():
        known, seen = found.rate_times_mean, found.inside
        points.append(Point(label=name, measured=known, modelled=seen))
        worst = max(worst, round(abs(seen / known - 1), _LITTLE_DIGITS))
    why = (
        "the number inside is the integral of arrivals (as the load tells them) less completions,"
        " and no I/O is paired with itself; the other side pairs them"
    )
    return Outcome(tuple(points), worst, why)


def _little(seed: int) -> Outcome:
    return _both_sides({system.name: system.run(seed) for system in _SYSTEMS})


def _little_open(seed: int) -> Outcome:
    return _both_sides(
        {
            f"M/M/{servers} {rho:.0%}": _open_run(servers, rho, seed)
            for servers in _OPEN_SERVERS
            for rho in _RHOS
        }
    )


def _little_check(name: str, title: str, runs: str, ios: int, *, quick: bool) -> Check:
    return Check(
        id=name,
        section="theory",
        title=title,
        says=f"Mean number inside against arrival rate × mean time inside, {runs}.",
        source=_KLEINROCK,
        compute=_little if quick else _little_open,
        parameters=_given(("I/Os", f"{ios:,} in each run")),
        unit="I/Os inside",
        error_is="worst relative difference of the two sides",
        tolerance=LITTLE_MAX,
        quick=quick,
    )


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
    _little_check("little", "Little's law", "in each run of the rows above", IOS, quick=True),
    *map(_open_check, _OPEN_SERVERS),
    _little_check(
        "little-open",
        "Little's law at any utilisation",
        "in each run of the curves above",
        IOS_LONG,
        quick=False,
    ),
)
"""The rows of theory."""
