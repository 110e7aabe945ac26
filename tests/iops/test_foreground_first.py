"""Stations that serve the foreground first: background I/O waits until nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iops.lab import BLOCK, Lab, Script, fixed
from stuntdouble.iops import Io, Purpose, Reference
from stuntdouble.iops.kernel import CompiledEngine

pytestmark = pytest.mark.plain

ENGINES = pytest.mark.parametrize("engine", [Reference, CompiledEngine])

Visit = tuple[float, int, int]
"""Start, station, purpose."""


def played(engine, arrivals, items, depth, servers, *, first) -> tuple[Lab, list[Visit]]:
    """Play guest reads at given times beside a backup that reads; return what was served."""
    lab = Lab(engine)
    lab.stripe(fixed(1.0), servers=servers, foreground_first=first)
    lab.guest(Script([(at, 0, False, 0, BLOCK) for at in sorted(arrivals)]))
    lab.stream(Io.READ_LUN, lab.lun, [(k * BLOCK, BLOCK) for k in range(items)], depth)
    lab.run(200.0)
    rows = lab.engine.meter.visit_rows()
    return lab, [(start, station, int(purpose)) for station, purpose, start, _ in rows]


@ENGINES
@pytest.mark.parametrize(
    ("first", "order"), [(False, "bbbggbb"), (True, "bggbbbb")], ids=["one queue", "guests first"]
)
def test_guests_overtake_what_waits_and_nothing_is_broken_off(engine, first, order) -> None:
    _lab, served = played(engine, [0.25, 0.5], 5, 3, 1, first=first)
    names = {Purpose.GUEST: "g", Purpose.BACKUP: "b"}
    assert "".join(names[Purpose(purpose)] for _, _, purpose in served) == order
    assert [start for start, _, _ in served] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@ENGINES
@given(
    st.lists(st.integers(0, 40).map(lambda n: n / 4), max_size=12),
    st.integers(0, 8),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_no_guest_waits_while_something_of_the_background_begins(
    engine, arrivals, items, depth, servers
) -> None:
    lab, served = played(engine, arrivals, items, depth, servers, first=True)
    waits = lab.engine.meter.latencies("vm")
    begun = [(arrived, arrived + seconds - 1.0) for arrived, seconds in zip(
        waits.arrived.tolist(), waits.seconds.tolist(), strict=True
    )]  # fmt: skip
    assert len(begun) == len(arrivals)
    assert len(served) == len(arrivals) + items
    for start, _, purpose in served:
        if purpose == Purpose.BACKUP:
            assert not [arrived for arrived, at in begun if arrived < start < at]


@given(
    st.lists(st.integers(0, 40).map(lambda n: n / 4), max_size=12),
    st.integers(0, 8),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
)
def test_both_engines_serve_in_the_same_order(arrivals, items, depth, servers, first) -> None:
    _, specified = played(Reference, arrivals, items, depth, servers, first=first)
    _, compiled = played(CompiledEngine, arrivals, items, depth, servers, first=first)
    assert compiled == specified
