"""Stuns, fences, limits, lack of space, retirement, watches: what holds I/O up and lets it go."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.lab import BLOCK, FS_BLOCKS, Lab, Script, conserved, fixed, reads
from stuntdouble.errors import Bug, NoSpace
from stuntdouble.iops import ClosedLoad, Io, Pattern, PoissonLoad, Purpose
from stuntdouble.site import Role

pytestmark = pytest.mark.plain

PATTERN = (Pattern(1.0, BLOCK, BLOCK << 10),)


def arrivals(lab: Lab, name: str = "vm") -> list[float]:
    return [arrived for arrived, _ in lab.io_times(name)]


# Stuns. ----------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=5),
    st.integers(0, 1000),
)
def test_a_stun_shifts_what_is_to_come_by_its_length(stuns, seed) -> None:
    plain, stunned = Lab(), Lab()
    for lab in (plain, stunned):
        lab.stripe(fixed(1 / 64), servers=100)
        lab.guest(PoissonLoad(seed, "vm", 5.0, PATTERN))
    guest = stunned.engine.guests[0]
    spans = [(start / 8, (start + length) / 8) for start, length in stuns]
    for start, end in spans:  # they may overlap, and then nest
        stunned.at(start, lambda: stunned.engine.stun(guest))
        stunned.at(end, lambda: stunned.engine.resume(guest))
    plain.run(20.0)
    stunned.run(45.0)

    def wall(guest_time: float) -> float:
        """Return when a guest that stands still in every span sees *guest_time*."""
        now = guest_time
        for start, end in merged(spans):
            if start <= now:
                now += end - start
        return now

    expected = [wall(t) for t in arrivals(plain)]
    got = arrivals(stunned)[: len(expected)]
    assert got == pytest.approx(expected, abs=1e-9)
    assert conserved(guest)


def merged(spans):
    out = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def test_what_is_in_flight_ends_first_and_no_burst_follows() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    guest = lab.guest(reads(0.0, 0.25, 3.0, 3.5))
    drained = []
    lab.at(
        0.5,
        lambda: lab.engine.stun(guest),
        lambda: lab.engine.drained(guest).callbacks.append(lambda _: drained.append(lab.env.now)),
    )
    lab.at(10.5, lambda: lab.engine.resume(guest))
    lab.run(30.0)
    assert drained == [2.0]
    assert lab.io_times() == [(0.0, 1.0), (0.25, 2.0), (13.0, 14.0), (13.5, 15.0)]


def test_a_guest_with_nothing_in_flight_has_drained_at_once() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    guest = lab.guest(None)
    assert lab.engine.drained(guest).triggered


def test_nested_stuns_end_with_the_last() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    guest = lab.guest(reads(5.0))
    for time, action in ((1, "stun"), (2, "stun"), (3, "resume"), (9, "resume")):
        lab.at(time, lambda action=action: getattr(lab.engine, action)(guest))
    lab.run(20.0)
    assert arrivals(lab) == [13.0]
    with pytest.raises(Bug, match="not stunned"):
        lab.engine.resume(guest)


def test_a_clock_starts_with_the_load_whatever_happened_before() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    early = lab.guest(reads(1.0), "early", start=False)
    during = lab.guest(reads(1.0), "during", start=False)
    for guest in (early, during):
        lab.at(2.0, lambda guest=guest: lab.engine.stun(guest))
    lab.at(4.0, lambda: lab.engine.resume(early))
    lab.at(10.0, lambda: lab.engine.start(early), lambda: lab.engine.start(during))
    lab.at(20.0, lambda: lab.engine.resume(during))
    lab.run(40.0)
    assert arrivals(lab, "early") == [11.0]
    assert arrivals(lab, "during") == [21.0]


def test_a_closed_loop_thinks_after_a_stun_not_in_it() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    # arrives at 2 s, is stunned from 2.5 to 10 s, ends at 3 s: the guest learns of it at 10 s
    guest = lab.guest(reads(2.0, 2.0, 2.0, outstanding=1))
    lab.at(2.5, lambda: lab.engine.stun(guest))
    lab.at(10.0, lambda: lab.engine.resume(guest))
    lab.run(30.0)
    assert lab.io_times() == [(2.0, 3.0), (12.0, 13.0), (15.0, 16.0)]


def test_a_closed_loop_pauses() -> None:
    lab = Lab()
    lab.stripe(fixed(0.01))
    guest = lab.guest(ClosedLoad(1, "vm", 4, 0.01, PATTERN))
    lab.at(5.0, lambda: lab.engine.stun(guest))
    lab.at(8.0, lambda: lab.engine.resume(guest))
    lab.run(12.0)
    assert not [t for t in arrivals(lab) if 5.0 <= t < 8.0]
    assert len([t for t in arrivals(lab) if t >= 8.0]) > 300
    assert guest.in_flight + len(guest.waiting) <= 4
    assert conserved(guest)


# Fences and limits. ----------------------------------------------------------------------------


def test_behind_a_fence_arrivals_pile_up_and_then_go_in_order() -> None:
    lab = Lab()
    lab.stripe(fixed(0.125), servers=1)
    guest = lab.guest(reads(*[k / 4 for k in range(40)]))
    lab.at(2.0, lambda: lab.engine.fence([lab.lun]))
    lab.at(3.0, lambda: lab.engine.fence([lab.lun, lab.other]))
    lab.at(5.0, lambda: lab.engine.unfence([lab.lun]))
    lab.run(6.0)
    # those of the fence's own instants too: control comes first
    assert len(guest.waiting) == 16
    assert guest.arrived == 24
    lab.engine.unfence([lab.lun, lab.other])
    lab.run(20.0)
    assert arrivals(lab) == [k / 4 for k in range(40)]
    assert [end for _, end in lab.io_times()][8:24] == [6.0 + 0.125 * k for k in range(1, 17)]


def test_a_fence_is_of_its_own_luns() -> None:
    lab = Lab()
    lab.stripe(fixed(0.125))
    elsewhere = lab.new_disk("elsewhere", 256, lab.other)
    here, there = lab.guest(reads(1.0), "here"), lab.guest(reads(1.0), "there", [elsewhere])
    lab.engine.fence([lab.lun])
    late = lab.guest(reads(1.0), "late")  # comes to a fenced LUN
    lab.run(2.0)
    assert (here.completed, there.completed, late.completed) == (0, 1, 0)
    lab.engine.unfence([lab.lun])
    lab.run(3.0)
    assert (here.completed, there.completed, late.completed) == (1, 1, 1)
    with pytest.raises(Bug, match="not fenced"):
        lab.engine.unfence([lab.lun])


def test_a_guest_on_two_luns_goes_on_with_the_one_that_is_not_fenced() -> None:
    lab = Lab()
    lab.stripe(fixed(0.125))
    elsewhere = lab.new_disk("elsewhere", 256, lab.other)
    rows = [(0.5 * k, k % 2, False, 0, 4096) for k in range(8)]
    guest = lab.guest(Script(rows), disks=[lab.disk, elsewhere])
    lab.engine.fence([lab.lun])
    lab.run(5.0)
    assert (guest.completed, len(guest.waiting)) == (4, 4)
    lab.engine.unfence([lab.lun])
    lab.run(6.0)
    assert (guest.completed, len(guest.waiting)) == (8, 0)
    assert [end for _, end in lab.io_times()][0::2] == [5.125, 5.25, 5.375, 5.5]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 17), st.integers(0, 4)), max_size=6), st.integers(0, 99))
def test_never_more_in_flight_than_the_limit_and_first_come_first_served(changes, seed) -> None:
    lab = Lab()
    lab.stripe(fixed(0.03), servers=4)
    guest = lab.guest(PoissonLoad(seed, "vm", 100.0, PATTERN))
    limits = {0: 3} | {10 * tenth: limit for tenth, limit in changes}
    for tick, limit in limits.items():
        lab.at(tick / 100, lambda limit=limit: lab.engine.set_limit(guest, limit))
    limit = before = 0
    for tick in range(200):
        limit = limits.get(tick, limit)
        lab.run((tick + 1) / 100)
        assert conserved(guest)
        # a limit that is lowered takes nothing back, but lets nobody in until there is room
        assert not limit or guest.in_flight <= max(limit, before)
        assert not guest.waiting or guest.in_flight >= limit > 0
        before = guest.in_flight
    ends = [round(end, 9) for _, end in lab.io_times()]
    assert ends == sorted(ends)  # fixed services: whoever arrived first ended first
    assert guest.arrived > 100


def test_stun_fence_and_limit_each_hold_on_their_own() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), servers=9)
    guest = lab.guest(reads(*[1.0] * 6))
    engine = lab.engine
    engine.fence([lab.lun])
    engine.set_limit(guest, 2)
    lab.at(2.0, lambda: engine.stun(guest))
    lab.at(3.0, lambda: engine.unfence([lab.lun]))
    lab.at(4.0, lambda: engine.set_limit(guest, 4))
    lab.at(5.0, lambda: engine.resume(guest), lambda: engine.set_limit(guest, 2))
    lab.at(6.5, lambda: engine.set_limit(guest, 0))
    lab.run(5.5)
    assert (guest.in_flight, len(guest.waiting)) == (2, 4)
    lab.run(6.25)
    assert (guest.in_flight, len(guest.waiting), guest.completed) == (2, 2, 2)
    lab.run(9.0)
    assert lab.times() == [5.0, 5.0, 6.0, 6.0, 6.5, 6.5]


def test_what_is_let_go_and_held_up_in_one_instant_stays_where_it_is() -> None:
    """Control posts: what it decides last in an instant is what counts."""
    lab = Lab()
    lab.stripe(fixed(1.0), servers=9)
    guest = lab.guest(reads(*[1.0] * 4))
    engine = lab.engine
    engine.fence([lab.lun])
    lab.at(2.0, lambda: engine.unfence([lab.lun]), lambda: engine.stun(guest))
    lab.at(3.0, lambda: engine.resume(guest), lambda: engine.fence([lab.lun]))
    lab.at(4.0, lambda: engine.unfence([lab.lun]), lambda: engine.set_limit(guest, 1))
    lab.at(4.5, lambda: engine.set_limit(guest, 4), lambda: engine.set_limit(guest, 2))
    lab.run(20.0)
    assert lab.times() == [4.0, 4.5, 5.0, 5.5]


# Lack of space. --------------------------------------------------------------------------------


class Full(Lab):
    """A lab whose guest writes to a thin disk that may find no room."""

    def __init__(self, **more) -> None:
        super().__init__(**more)
        self.stripe(fixed(0.25), servers=8)
        file = self.store.create_file("thin", 16 * FS_BLOCKS, sparse=False, zeroed=True)
        self.disk = self.site.create_disk("thin", 16 * FS_BLOCKS, file)
        self.free = 0
        self.store.keeper = self
        self.refused: list[float] = []

    def provide(self, file, index: int) -> int:
        if not self.free:
            raise NoSpace("datastore", FS_BLOCKS * BLOCK, 0)
        self.free -= 1
        return self.keeper.provide(file, index)

    def pause(self, guest) -> None:
        guest.on_no_space = lambda _error: (
            self.refused.append(self.env.now),
            self.engine.stun(guest),
        )


def writes(*rows: tuple[float, int]) -> Script:
    return Script([(t, 0, True, mib << 20, BLOCK) for t, mib in rows])


def test_an_io_without_space_keeps_its_place() -> None:
    lab = Full()
    lab.free = 1
    guest = lab.guest(writes((1.0, 0), (2.0, 1), (2.0, 0), (2.0, 2), (3.0, 0)))
    lab.pause(guest)
    lab.run(2.5)
    # the second found no space, so the third, which needs none, waits behind it
    assert (guest.arrived, guest.completed, len(guest.waiting), guest.stuns) == (2, 1, 1, 1)
    assert conserved(guest)
    lab.run(4.0)
    lab.free = 1
    lab.engine.resume(guest)
    lab.run(7.0)
    # room for one: it goes, the next two arrive, the one to 2 MiB is refused and keeps its place
    assert lab.refused == [2.0, 4.0]
    assert (guest.completed, len(guest.waiting), guest.stuns) == (3, 1, 1)
    lab.free = 5
    lab.engine.resume(guest)
    lab.run(20.0)
    assert guest.completed == guest.arrived == 5
    # none was admitted before another; a new place costs a metadata write, and every pause
    # shifted what came after it
    assert [end for _, end in lab.io_times()] == [1.5, 4.5, 4.25, 7.5, 8.25]


def test_those_let_go_together_do_not_overtake_the_one_that_is_refused() -> None:
    lab = Full()
    lab.free = 1
    guest = lab.guest(writes((1.0, 0), (1.0, 1), (1.0, 0), (1.0, 0)))
    lab.pause(guest)
    lab.engine.fence([lab.lun])
    lab.at(2.0, lambda: lab.engine.unfence([lab.lun]))
    lab.run(3.0)
    assert (guest.completed, len(guest.waiting), guest.stuns) == (1, 3, 1)
    assert lab.refused == [2.0]
    lab.free = 1
    lab.engine.resume(guest)
    lab.run(9.0)
    # the data of those that need a new place comes after its metadata
    assert lab.times() == [2.0, 2.25, 3.0, 3.0, 3.0, 3.25]
    assert guest.completed == 4


def test_one_guest_without_space_may_pause_another_at_once() -> None:
    lab = Full()
    first, second = (lab.guest(writes((1.0, 0)), name) for name in ("first", "second"))
    first.on_no_space = lambda _error: [lab.engine.stun(g) for g in (first, second)]
    lab.run(5.0)
    assert second.arrived == 0  # its clock stood still at 1 s, before its turn
    lab.free = 1
    for guest in (first, second):
        lab.engine.resume(guest)
    lab.run(9.0)
    assert [g.completed for g in (first, second)] == [1, 1]


@pytest.mark.parametrize("limit", [0, 1])
def test_whoever_does_not_pause_a_guest_without_space_is_told(limit) -> None:
    lab = Full()
    guest = lab.guest(writes((1.0, 0)))
    guest.on_no_space = lambda _error: None
    lab.engine.set_limit(guest, limit)
    with pytest.raises(Bug, match="was not paused"):
        lab.run(2.0)


def test_without_anybody_to_ask_lack_of_space_ends_the_run() -> None:
    lab = Full()
    guest = lab.guest(writes((1.0, 0)))
    with pytest.raises(NoSpace):
        lab.run(2.0)
    assert conserved(guest)


# Retirement. -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outstanding", [0, 3])
def test_a_retired_guest_issues_nothing_more(outstanding) -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    times = [0.0] * 9 if outstanding else [0.0, 0.0, 0.0, 5.0]
    guest = lab.guest(reads(*times, outstanding=outstanding))
    lab.engine.set_limit(guest, 2)
    lab.run(0.5)
    assert (guest.in_flight, len(guest.waiting)) == (2, 1)
    lab.engine.fence([lab.lun])
    lab.engine.retire(guest)
    drained = lab.engine.drained(guest)
    lab.engine.unfence([lab.lun])
    lab.run(20.0)
    # what was in flight ended, what waited never happened
    assert drained.processed
    assert (guest.arrived, guest.completed, guest.dropped) == (3, 2, 1)
    assert conserved(guest)
    assert len(lab.starts) == 2


def test_a_guest_may_be_retired_before_it_began_or_while_it_is_stunned() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    never, stunned = lab.guest(reads(0.0), "never"), lab.guest(reads(0.0, 3.0), "stunned")
    lab.engine.retire(never)
    lab.at(2.0, lambda: lab.engine.stun(stunned), lambda: lab.engine.retire(stunned))
    lab.at(4.0, lambda: lab.engine.resume(stunned))
    lab.run(9.0)
    lab.engine.start(never)
    lab.run(19.0)
    assert (never.arrived, stunned.arrived) == (0, 1)


# Watches. ----------------------------------------------------------------------------------------


def when(lab: Lab, event) -> list[float]:
    happened: list[float] = []
    event.callbacks.append(lambda _: happened.append(lab.env.now))
    return happened


def test_a_watch_happens_at_the_instant_of_its_cause() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    guest = lab.guest(reads(0.25, 0.5, 1.75, 2.0, 2.5))
    engine = lab.engine
    admitted = when(lab, engine.watch(lambda: guest.in_flight, 2))
    ended = when(lab, engine.watch(lambda: guest.completed, 3))
    never = engine.watch(lambda: guest.completed, 99)
    now = when(lab, engine.watch(lambda: 5.0, 5.0))
    piled: list[list[float]] = []
    lab.at(
        1.5,
        lambda: engine.fence([lab.lun]),
        lambda: piled.append(when(lab, engine.watch(lambda: len(guest.waiting), 2))),
    )
    flood = when(lab, engine.watch(lambda: guest.in_flight, 3))
    lab.at(4.0, lambda: engine.unfence([lab.lun]))
    lab.run(20.0)
    assert (admitted, ended, now, piled) == ([0.5], [5.0], [0.0], [[2.0]])
    assert flood == [4.0]
    assert not never.triggered


def test_a_watch_sees_bulk_io_and_control_sees_it_before_the_next_arrival() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    stream = lab.stream(Io.READ_LUN, lab.lun, [(0, BLOCK)] * 3)
    guest = lab.guest(reads(3.0))
    done = lab.engine.watch(lambda: stream.done, 3)
    done.callbacks.append(lambda _: lab.engine.stun(guest))
    submitted: list[float] = []

    def submit() -> None:
        row = (0, int(Role.DATA), 0, lab.pool, 0, BLOCK)
        event = lab.engine.submit([row], Purpose.CONTROL)
        count = lab.engine.watch(lambda: float(event.triggered), 1)
        submitted.append(when(lab, count))

    lab.at(5.0, submit)
    lab.run(9.0)
    assert guest.arrived == 0
    assert submitted == [[6.0]]


def test_a_watch_that_was_called_off_is_forgotten() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    guest = lab.guest(reads(1.0, 2.0))
    asked: list[int] = []

    def quantity() -> float:
        asked.append(guest.arrived)
        return 0.0

    event = lab.engine.watch(quantity, 1.0)
    event.succeed()
    assert not asked[1:]
    lab.run(9.0)
    assert not asked[1:]
    assert not lab.env.expecting
