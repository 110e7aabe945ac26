"""Pools that block: who touches a chunk whose copy is under way waits until it has ended."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.book import CHUNK, SERVICES, held_of, played, snapshot_histories, told
from iops.lab import BLOCK, Judge, Lab, Script, conserved, fixed
from stuntdouble.iops import Geometry, Io, Purpose, Raid
from stuntdouble.site import COPY_ON_WRITE, REDIRECT_ON_WRITE, Role

UNTIL = 80

pytestmark = pytest.mark.plain


def built(*, blocking: bool, kind: int = COPY_ON_WRITE, seconds: float = 1.0, servers: int = 9):
    """Return a lab of one station whose volume has a snapshot in chunks of 16 blocks."""
    lab = Lab()
    lab.stripe(fixed(seconds), servers=servers, stripe=1 << 20)
    lab.site.freeze([lab.lun], kind)
    if blocking:
        lab.engine.block_copies(lab.pool)
    return lab


def writes(*rows: tuple[float, int], outstanding: int = 0) -> Script:
    return Script([(t, 0, True, block * BLOCK, BLOCK) for t, block in rows], outstanding)


# By example. -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocking", "second"), [(True, 3.0), (False, 1.5)])
def test_a_second_write_waits_for_the_copy_but_not_for_the_first(blocking, second) -> None:
    lab = built(blocking=blocking)
    lab.guest(writes((0.0, 0), (0.5, 15), (0.5, 16)))
    lab.run(20.0)
    # the first: old data read until 1, copy written until 2, its own data until 3
    assert lab.io_times() == [(0.0, 3.0), (0.5, second), (0.5, 3.5)]


def test_a_write_after_the_copy_waits_for_nothing() -> None:
    lab = built(blocking=True)
    lab.guest(writes((0.0, 0), (2.0, 1)))
    lab.run(20.0)
    assert lab.io_times() == [(0.0, 3.0), (2.0, 3.0)]


def test_reads_never_wait() -> None:
    lab = built(blocking=True)
    lab.guest(Script([(0.0, 0, True, 0, BLOCK), (0.5, 0, False, 0, BLOCK)]))
    lab.run(20.0)
    assert lab.io_times() == [(0.0, 3.0), (0.5, 1.5)]


def test_redirecting_never_blocks() -> None:
    lab = built(blocking=True, kind=REDIRECT_ON_WRITE)
    lab.guest(writes((0.0, 0), (0.5, 1)))
    lab.run(20.0)
    assert lab.io_times() == [(0.0, 2.0), (0.5, 1.5)]


def test_a_pool_that_does_not_block_is_left_alone() -> None:
    lab = built(blocking=False)
    other = lab.site.create_pool(1 << 20, 1 << 16)
    lab.engine.add_pool(other, Geometry(Raid.RAID0, *lab.stations(fixed(1.0)), 1, 1 << 20))
    lab.engine.block_copies(other)
    lab.guest(writes((0.0, 0), (0.5, 1)))
    lab.run(20.0)
    assert lab.io_times() == [(0.0, 3.0), (0.5, 1.5)]


def test_first_come_first_served_and_the_copier_before_all() -> None:
    lab = built(blocking=True, servers=1)
    lab.guest(writes((0.0, 0), (0.25, 1), (0.5, 2), (0.75, 3)))
    lab.run(20.0)
    assert [end for _, end in lab.io_times()] == [3.0, 4.0, 5.0, 6.0]


def test_a_write_over_two_copies_waits_for_both() -> None:
    lab = built(blocking=True)
    rows = [(0.0, 0, True, 0, BLOCK), (0.5, 0, True, 16 * BLOCK, BLOCK)]
    lab.guest(Script([*rows, (1.0, 0, True, 15 * BLOCK, 2 * BLOCK)]))
    lab.run(20.0)
    assert lab.io_times() == [(0.0, 3.0), (0.5, 3.5), (1.0, 3.5)]


def test_who_waits_and_copies_itself_holds_up_others_meanwhile() -> None:
    lab = built(blocking=True)
    rows = [(0.0, 0, True, 0, BLOCK), (0.5, 0, True, 15 * BLOCK, 2 * BLOCK)]
    lab.guest(Script([*rows, (1.0, 0, True, 17 * BLOCK, BLOCK)]))
    lab.run(20.0)
    # the second waits until 2, then copies its other chunk until 4; the third waits for that
    assert lab.io_times() == [(0.0, 3.0), (0.5, 5.0), (1.0, 5.0)]


def test_a_chunk_may_be_copied_anew_before_the_old_copy_has_ended() -> None:
    lab = built(blocking=True)
    lab.guest(writes((0.0, 0), (0.5, 1), (0.75, 2)))
    lab.at(0.25, lambda: lab.site.freeze([lab.lun], COPY_ON_WRITE))
    lab.run(20.0)
    assert [end for _, end in lab.io_times()] == [3.0, 5.0, 5.0]


def test_only_time_waits_and_content_is_that_of_admission() -> None:
    tokens = []
    for blocking in (True, False):
        lab = built(blocking=blocking)
        guest = lab.guest(writes((0.0, 0), (0.5, 0), (0.75, 1)))
        lab.run(0.875)
        tokens.append(lab.lun.tokens(0, 16).tolist())
        assert guest.in_flight == 3
        lab.run(20.0)
        assert guest.completed == 3
    assert tokens[0] == tokens[1]


def test_bulk_writes_and_submitted_ones_wait_too() -> None:
    lab = built(blocking=True)
    lab.guest(writes((0.0, 0)))
    ends: list[float] = []

    def begin() -> None:
        stream = lab.stream(Io.WRITE_DISK, lab.disk, [(BLOCK, BLOCK)])
        steps = lab.site.volume_write(lab.lun, 2 * BLOCK, BLOCK)
        for event in (stream.finished, lab.engine.submit(steps, Purpose.RESTORE)):
            event.callbacks.append(lambda _: ends.append(lab.env.now))

    lab.at(0.5, begin)
    lab.run(20.0)
    assert ends == [3.0, 3.0]


def test_a_copy_that_nothing_follows_lets_go_when_it_ends() -> None:
    lab = built(blocking=True)
    steps = [
        (1, int(Role.COPY_READ), 0, lab.pool, 0, 16 * BLOCK),
        (2, int(Role.COPY_WRITE), 1, lab.pool, 1 << 19, 16 * BLOCK),
    ]
    lab.engine.submit(steps, Purpose.CONTROL)
    lab.guest(Script([(0.5, 0, True, 16 * BLOCK, BLOCK)]))
    ended: list[float] = []
    later = (0, int(Role.DATA), 1, lab.pool, 3, BLOCK)
    note = lambda _: ended.append(lab.env.now)  # noqa: E731
    lab.at(1.5, lambda: lab.engine.submit([later], Purpose.CONTROL).callbacks.append(note))
    lab.run(20.0)
    assert ended == [3.0]
    assert lab.io_times() == [(0.5, 3.5)]


def test_a_drain_waits_for_those_that_wait_for_a_copy() -> None:
    lab = built(blocking=True)
    guest = lab.guest(writes((0.0, 0), (0.5, 1)))
    drained: list[float] = []

    def stun() -> None:
        lab.engine.stun(guest)
        event = lab.engine.drained(guest)
        event.callbacks.append(lambda _: drained.append(lab.env.now))

    lab.at(1.0, stun)
    lab.run(20.0)
    assert drained == [3.0]
    assert conserved(guest)


def test_a_sequential_writer_meets_its_own_copies() -> None:
    """As published for LVM: sequential first writes lose far more than their share of copies."""
    seconds = {}
    for blocking in (True, False):
        lab = built(blocking=blocking, seconds=1 / 64, servers=16)
        guest = lab.guest(writes(*[(0.0, k) for k in range(512)], outstanding=16))
        lab.run(200.0)
        assert guest.completed == 512
        seconds[blocking] = max(end for _, end in lab.io_times())
    assert seconds[True] > 1.8 * seconds[False]


# Against the book. -----------------------------------------------------------------------------


@st.composite
def histories(draw):
    guests, control = draw(snapshot_histories(writes=3))
    return draw(SERVICES), draw(st.integers(1, 3)), guests, control, draw(st.booleans())


def by_the_book(services, servers, guests, control, blocking):
    judge = Judge(list(services), servers, held_of(guests))
    return told(judge, control, UNTIL, blocking=blocking)


def by_the_engine(services, servers, guests, control, blocking):
    lab = Lab(chunk=CHUNK)
    lab.stripe(*map(fixed, services), servers=servers)
    return played(lab, guests, control, UNTIL, blocking=blocking)


@settings(max_examples=120)
@given(histories())
def test_every_history_of_copies_goes_by_the_book(history) -> None:
    assert by_the_engine(*history) == by_the_book(*history)
