"""The engine against queueing theory: what is known exactly must come out within the noise."""

from __future__ import annotations

import numpy as np
import pytest

from iops.lab import BLOCK, Lab, conserved, fixed, reads
from stuntdouble.iops import ClosedLoad, Pattern, PoissonLoad, exponential

IOS = 40_000
BATCHES = 40
WARM = 0.05  # of the I/Os: the queue starts empty
ERRORS = 3  # standard errors


def responses(service, servers: int, iops: float, seed: int) -> Lab:
    lab = Lab(seed=seed)
    lab.stripe(service, servers=servers)
    pattern = Pattern(1.0, BLOCK, BLOCK << 10)
    guest = lab.guest(PoissonLoad(seed, "vm", iops, (pattern,)))
    lab.run(IOS / iops)
    assert conserved(guest)
    return lab


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean, and its standard error by batch means: neighbours in a queue are alike."""
    kept = values[int(len(values) * WARM) :]
    means = np.array([batch.mean() for batch in np.array_split(kept, BATCHES)])
    return float(kept.mean()), float(means.std(ddof=1) / np.sqrt(BATCHES))


def little(lab: Lab, until: float) -> tuple[float, float]:
    """Return the mean number in the system and arrival rate × mean response, up to *until*.

    Both are computed from what was measured, but not from the same side: the number is the
    integral over time of (arrivals so far − completions so far), also of I/O still under way.
    """
    found = lab.engine.meter.latencies("vm")
    (guest,) = lab.engine.guests
    ends = found.arrived + found.seconds
    edges = np.concatenate((found.arrived, ends))
    steps = np.concatenate((np.ones(len(found.arrived)), -np.ones(len(ends))))
    order = np.argsort(edges, kind="stable")
    inside = np.cumsum(steps[order])
    area = float((inside[:-1] * np.diff(edges[order])).sum())
    rate = guest.completed / until
    return area / until, rate * float(found.seconds.mean())


@pytest.mark.parametrize(
    ("name", "service", "servers", "response"),
    [
        ("M/M/1", exponential(1.0), 1, 5.0),
        ("M/M/4", exponential(1.0), 4, 1.745541),  # Erlang C 0.596432
        ("M/M/8", exponential(1.0), 8, 1.290),
        ("M/D/1", fixed(1.0), 1, 3.0),  # Pollaczek–Khinchine: 1 + 0.8 / 2(1 − 0.8)
    ],
)
def test_the_mean_response_is_what_theory_says(name, service, servers, response) -> None:
    lab = responses(service, servers, 0.8 * servers, seed=11)
    mean, error = mean_and_error(lab.engine.meter.latencies("vm").seconds)
    assert abs(mean - response) < ERRORS * error, (name, mean, error)
    assert error < 0.15 * response, "too noisy to say anything"
    inside, by_rate = little(lab, lab.env.now)
    assert inside == pytest.approx(by_rate, rel=1e-9)
    busy = lab.engine.meter.busy([0], np.array([0.0, lab.env.now]))[0]
    assert busy / lab.env.now / servers == pytest.approx(0.8, rel=0.03)


def test_the_slowest_percent_waits_as_theory_says() -> None:
    lab = responses(exponential(1.0), 4, 3.2, seed=5)
    slow = lab.engine.meter.latencies("vm").seconds > 6.8932  # the 99th percentile of M/M/4
    share, error = mean_and_error(slow.astype(float))
    assert abs(share - 0.01) < ERRORS * error
    assert error < 0.005


def test_a_general_service_obeys_pollaczek_and_khinchine() -> None:
    # A stripe over a quick and a slow server, each an M/D/1 of half the arrivals.
    lab = Lab()
    lab.stripe(fixed(0.5), fixed(1.5))
    guest = lab.guest(PoissonLoad(3, "vm", 1.0, (Pattern(1.0, BLOCK, BLOCK << 10),)))
    lab.run(IOS / 1.0)
    expected = 0.0
    for seconds in (0.5, 1.5):
        rho = 0.5 * seconds
        expected += 0.5 * seconds * (1 + rho / (2 * (1 - rho)))
    mean, error = mean_and_error(lab.engine.meter.latencies("vm").seconds)
    assert abs(mean - expected) < ERRORS * error
    assert conserved(guest)


def test_a_closed_loop_keeps_its_number_under_way() -> None:
    # The interactive response-time law: N = X · (R + Z), exact for any service.
    lab = Lab()
    lab.stripe(exponential(0.01))
    guest = lab.guest(ClosedLoad(2, "vm", 6, 0.05, (Pattern(1.0, BLOCK, BLOCK << 10),)))
    lab.run(200.0)
    found = lab.engine.meter.latencies("vm")
    throughput = guest.completed / 200.0
    thinking = 0.05
    assert throughput * (found.seconds.mean() + thinking) == pytest.approx(6, rel=0.02)
    # and the machine-repairman formula for the throughput itself
    weights = [1.0]
    for k in range(6):
        weights.append(weights[-1] * (6 - k) * 0.01 / 0.05)
    assert throughput == pytest.approx((1 - 1 / sum(weights)) / 0.01, rel=0.02)


def test_servers_of_one_station_share_one_queue() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), servers=3)
    lab.guest(reads(*[0.0] * 7))
    lab.run(10.0)
    assert [end for _, end in lab.io_times()] == [1.0] * 3 + [2.0] * 3 + [3.0]
