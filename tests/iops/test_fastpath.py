"""The fast path against the executable specification: starts and completions, bit for bit.

Half of the histories live on a lattice of whole seconds, where arrivals, ends of service, changes
of rate and limits fall on the same instants.
"""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.clock import Environment
from stuntdouble.errors import Misuse, Unsupported
from stuntdouble.iops import DISK_10K, FLASH_CHANNEL, FastStation, Reference, exponential, link
from stuntdouble.iops.fastpath import idle, recurse
from stuntdouble.site import Site
from stuntdouble.trace import stream_key

pytestmark = pytest.mark.plain

SEED = 5
SERVICES = [exponential(0.7), FLASH_CHANNEL, link(inf, 1.0), link(inf, 2.0), link(4096.0, 1.0)]

lattice = st.integers(0, 20).map(float)
anywhere = st.floats(0, 20, allow_nan=False)
rates = st.sampled_from([0.5, 1.0, 2.0, 0.3])


@st.composite
def histories(draw):
    times = draw(st.sampled_from([lattice, anywhere]))
    arrived = sorted(draw(st.lists(times, min_size=1, max_size=40)))
    kinds = st.tuples(st.integers(0, 1), st.sampled_from([512, 4096, 8192]))
    what = draw(st.lists(kinds, min_size=len(arrived), max_size=len(arrived)))
    control = sorted(draw(st.lists(st.tuples(times, rates), max_size=5)))
    service = draw(st.sampled_from(SERVICES))
    servers = draw(st.one_of(st.integers(1, 6), st.sampled_from([15, 16, 17, 33, 192, 200])))
    return service, servers, arrived, what, control


def specification(service, servers, arrived, what, control):
    """Return (starts, completions) by a SimPy process to each I/O."""
    env = Environment()
    engine = Reference(env, Site(), SEED)
    station = engine.stations[engine.add_station(service, servers)]
    starts, completed = [], np.zeros(len(arrived))
    station.on_visit = lambda _number, _purpose, start, _seconds: starts.append(start)

    def io(i):
        write, size = what[i]
        yield station.visit(write, 0, size, 0)
        completed[i] = env.now

    def arrive(i):
        return lambda _event: env.process(io(i))

    for time, rate in control:
        env.at(time).callbacks.append(lambda _event, r=rate: engine.set_rate(0, r))
    for i, time in enumerate(arrived):
        env.at(time, 4).callbacks.append(arrive(i))
    env.run(1e6)
    return np.array(starts), completed


@given(histories())
def test_starts_and_completions_are_those_of_the_specification(history) -> None:
    service, servers, arrived, what, control = history
    fast = FastStation(service, servers, stream_key(SEED, "station", "0"))
    writes, sizes = zip(*what, strict=True)
    fast.offer(arrived, writes, sizes)
    parts = []
    for time, rate in control:
        parts.append(fast.advance(time))
        fast.rate = rate
    parts.append(fast.advance())
    starts, completed = specification(*history)
    assert np.array_equal(np.concatenate([p.starts for p in parts]), starts)
    assert np.array_equal(np.concatenate([p.completed for p in parts]), completed)
    assert np.array_equal(np.concatenate([p.arrived for p in parts]), arrived)
    assert fast.waiting == 0


def by_hand(arrived, built, servers):
    free, completed = [0.0] * servers, []
    for a, s in zip(arrived, built, strict=True):
        free.sort()
        free[0] = max(a, free[0]) + s
        completed.append(free[0])
    return completed


@given(
    st.integers(1, 70),
    st.lists(st.tuples(lattice, st.integers(0, 9).map(float)), min_size=1, max_size=150),
)
def test_given_times_give_what_a_sorted_list_gives(servers, rows) -> None:
    arrived = np.array(sorted(row[0] for row in rows))
    built = np.array([row[1] for row in rows])
    starts, completed = np.empty(len(rows)), np.empty(len(rows))
    done = recurse(arrived, built, 1.0, inf, idle(servers), starts, completed)
    assert done == len(rows)
    assert completed.tolist() == by_hand(arrived.tolist(), built.tolist(), servers)
    assert np.array_equal(starts + built, completed)


@given(st.integers(1, 20), st.lists(lattice, min_size=1, max_size=60), lattice)
def test_what_would_start_at_the_limit_stays(servers, times, limit) -> None:
    arrived = np.array(sorted(times))
    built = np.ones(len(times))
    starts, completed = np.empty(len(times)), np.empty(len(times))
    free = idle(servers)
    first = int(recurse(arrived, built, 1.0, limit, free, starts, completed))
    assert (starts[:first] < limit).all()
    rest = int(recurse(arrived[first:], built, 1.0, inf, free, starts[first:], completed[first:]))
    assert first + rest == len(times)
    assert (starts[first:] >= limit).all()
    assert completed.tolist() == by_hand(arrived.tolist(), built.tolist(), servers)


def test_io_arrives_behind_what_waits() -> None:
    station = FastStation(link(inf, 1.0), 1, 0)
    station.offer([0.0, 0.0], 0, 512)
    assert station.advance(1.0).completed.tolist() == [1.0]
    assert station.waiting == 1
    station.offer(0.5, 1, 512)
    assert station.advance().completed.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("servers", [0, -1])
def test_a_station_has_a_server(servers) -> None:
    with pytest.raises(ValueError, match="at least one"):
        FastStation(FLASH_CHANNEL, servers, 0)


def test_a_disk_is_refused() -> None:
    with pytest.raises(Unsupported, match="disk"):
        FastStation(DISK_10K, 1, 0)


@pytest.mark.parametrize("rate", [0.0, -1.0, inf, float("nan")])
def test_a_rate_is_above_nothing(rate) -> None:
    station = FastStation(FLASH_CHANNEL, 1, 0)
    with pytest.raises(Misuse, match="rate"):
        station.rate = rate
    assert station.rate == 1.0


@pytest.mark.parametrize(
    ("arrived", "write", "size"),
    [
        ([1.0, 0.0], 0, 512),
        ([inf], 0, 512),
        ([float("nan")], 0, 512),
        ([0.0], 0, 0),
        ([0.0, 1.0], [0, 1, 0], 512),
    ],
)
def test_what_cannot_arrive_is_refused(arrived, write, size) -> None:
    station = FastStation(FLASH_CHANNEL, 2, 0)
    with pytest.raises(ValueError, match=r"arrivals|byte|broadcast"):
        station.offer(arrived, write, size)
    assert station.waiting == 0
