"""Ends that are known ahead: who looks, waits or changes a rate finds what an event would have told.

The compiled engine fixes the end of a service when a visit comes, and of most I/Os it makes no event.
The specification knows nothing of that: whatever is asked, and when, both say the same.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.ahead import ACTS, SERVICES, TICKS, Answers
from iops.lab import BLOCK, FS_BLOCKS, Lab, Script, fixed, reads
from stuntdouble.iops import Purpose, Reference
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.iops.quantity import GuestCount, OfGuest
from stuntdouble.site import Role

pytestmark = pytest.mark.plain

ENGINES = pytest.mark.parametrize("engine", [Reference, CompiledEngine])
UNTIL = 40.0


def submitted(lab: Lab, ended: list[float], block: int = 0) -> Any:
    """Submit a read of a block; note when it has ended."""
    step = (0, int(Role.DATA), 0, lab.pool, block, BLOCK)
    event = lab.engine.submit([step], Purpose.CONTROL)
    event.callbacks.append(lambda _: ended.append(lab.env.now))
    return event


# Rates. ------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize(
    ("servers", "when", "ends"),
    [
        (1, 1.0, [2.0, 6.0, 10.0, 14.0]),
        (1, 2.0, [2.0, 6.0, 10.0, 14.0]),  # control comes first in its instant
        (2, 1.0, [2.0, 2.0, 6.0, 6.0]),
        (1, 5.0, [2.0, 4.0, 6.0, 10.0]),
        (1, 9.0, [2.0, 4.0, 6.0, 8.0]),
    ],
)
def test_a_rate_is_for_services_that_start_from_now_on(engine, servers, when, ends) -> None:
    lab = Lab(engine)
    (station,) = lab.stripe(fixed(2.0), servers=servers)
    ended: list[float] = []
    for _ in range(4):
        submitted(lab, ended)
    lab.at(when, lambda: lab.engine.set_rate(station, 0.5))
    lab.run(UNTIL)
    assert ended == ends


@ENGINES
def test_who_hears_of_an_end_finds_the_next_service_started(engine) -> None:
    lab = Lab(engine)
    (station,) = lab.stripe(fixed(2.0))
    ended: list[float] = []
    first = submitted(lab, ended)
    for _ in range(3):
        submitted(lab, ended)
    first.callbacks.append(lambda _: lab.engine.set_rate(station, 0.5))
    lab.run(UNTIL)
    assert ended == [2.0, 4.0, 8.0, 12.0]


@ENGINES
def test_a_group_ends_with_the_visit_that_has_become_the_last(engine) -> None:
    lab = Lab(engine)
    slow, _ = lab.stripe(fixed(2.0), fixed(5.0))
    ended: list[float] = []
    submitted(lab, [])
    step = (0, int(Role.DATA), 0, lab.pool, 0, 2 * BLOCK)  # on both stations, the first is busy
    event = lab.engine.submit([step], Purpose.CONTROL)
    event.callbacks.append(lambda _: ended.append(lab.env.now))
    lab.at(1.0, lambda: lab.engine.set_rate(slow, 0.25))
    lab.run(UNTIL)
    assert ended == [10.0]


@ENGINES
def test_services_of_no_time_start_one_after_the_other(engine) -> None:
    lab = Lab(engine)
    station, _ = lab.stripe(fixed(0.0), fixed(2.0), stripe=FS_BLOCKS * BLOCK)
    file = lab.store.create_file("apart", 2 * FS_BLOCKS, sparse=False, zeroed=True)
    file.place(0, 0, 20)
    file.place(1, 0, 24)  # on the same station, and not behind the first
    apart = lab.site.create_disk("apart", 2 * FS_BLOCKS, file)
    first = (0.0, 0, False, FS_BLOCKS * BLOCK, BLOCK)
    second = (1.0, 1, False, (FS_BLOCKS - 1) * BLOCK, 2 * BLOCK)
    guest = lab.guest(Script([first, second]), disks=[lab.disk, apart])
    lab.engine.set_limit(guest, 1)
    begun: list[int] = []
    over = lab.engine.watch(GuestCount(guest, OfGuest.COMPLETED), 1)
    over.callbacks.append(lambda _: begun.append(lab.engine.meter.visits([station])))
    lab.run(UNTIL)
    assert begun == [1]
    assert lab.engine.meter.visits([station]) == 2
    assert lab.io_times() == [(0.0, 2.0), (1.0, 2.0)]


# Who waits. --------------------------------------------------------------------------------------


@ENGINES
def test_a_limit_lets_the_next_one_in_when_one_has_ended(engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(2.0), servers=4)
    guest = lab.guest(reads(0.0, 0.5, 1.0, 1.0))
    lab.engine.set_limit(guest, 2)
    lab.run(UNTIL)
    assert lab.io_times() == [(0.0, 2.0), (0.5, 2.5), (1.0, 4.0), (1.0, 4.5)]


@ENGINES
@pytest.mark.parametrize("stunned", [True, False])
def test_a_drain_ends_with_the_last_that_is_in_flight(engine, stunned) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(2.0), servers=8)
    guest = lab.guest(reads(0.0, 0.5, 2.25))
    drained: list[float] = []

    def drain() -> None:
        if stunned:
            lab.engine.stun(guest)
        lab.engine.drained(guest).callbacks.append(lambda _: drained.append(lab.env.now))

    lab.at(1.0, drain)
    lab.run(UNTIL)
    assert drained == [2.5 if stunned else 4.25]


@ENGINES
def test_a_watch_hears_of_ends_whether_they_began_before_it_or_after(engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(2.0), servers=8)
    guest = lab.guest(reads(0.0, 0.5, 1.5))
    met: list[float] = []

    def watch() -> None:
        for number in (1, 2, 3):
            event = lab.engine.watch(GuestCount(guest, OfGuest.COMPLETED), number)
            event.callbacks.append(lambda _: met.append(lab.env.now))

    lab.at(1.0, watch)
    lab.run(UNTIL)
    assert met == [2.0, 2.5, 3.5]


@ENGINES
def test_a_watch_sees_that_what_lacks_a_token_waits_while_others_are_let_go(engine) -> None:
    lab = Lab(engine)
    lab.stripe(fixed(2.0), servers=8)
    rows = [(0.0, 0, False, 0, BLOCK), (0.25, 0, False, 0, BLOCK), (0.5, 1, False, 0, BLOCK)]
    guest = lab.guest(Script(rows), disks=[lab.disk, lab.new_disk("other", FS_BLOCKS)])
    lab.engine.set_limit(guest, 1)
    lab.engine.set_iops_limit(guest, 0, 0.1)
    lab.at(1.0, lambda: lab.engine.set_limit(guest, 0))
    met: list[float] = []
    watch = lab.engine.watch(lambda: guest.arrived - 3 - len(guest.waiting) + 0.5, 0.0)
    watch.callbacks.append(lambda _: met.append(lab.env.now))
    lab.run(UNTIL)
    assert met == [10.0]


# Any of it. --------------------------------------------------------------------------------------

ticks = st.integers(0, TICKS)
acts = st.lists(st.tuples(ticks, st.sampled_from(ACTS), st.integers(0, 7)), max_size=20)
rows = st.lists(st.tuples(ticks, st.booleans(), st.integers(0, 63)), max_size=40)


@settings(max_examples=150)
@given(
    st.tuples(
        st.sampled_from(sorted(SERVICES)),
        st.integers(1, 3),
        st.integers(1, 9),
        st.lists(rows, min_size=1, max_size=3),
        acts,
    )
)
def test_whatever_is_asked_both_engines_say_the_same(history) -> None:
    assert Answers(*history, CompiledEngine).said == Answers(*history, Reference).said
