"""Write-back caches: who is served from them, who waits for room, and what is destaged when."""

from __future__ import annotations

from collections import Counter
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.book import CHUNK, SERVICES, held_of, played, snapshot_histories, told
from iops.lab import BLOCK, Judge, Lab, Script, conserved, fixed
from stuntdouble.clock import completed, run
from stuntdouble.errors import NoProgress, Unreachable
from stuntdouble.iops import Cache, Geometry, Io, Purpose, Raid
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, REDIRECT_ON_WRITE, Role

UNTIL = 120
GUEST, SIDE, RESTORE = int(Purpose.GUEST), int(Purpose.SIDE), int(Purpose.RESTORE)

pytestmark = pytest.mark.plain


def cached(
    *, mark: int = 64, destages: int = 1, seconds: float = 1.0, servers: int = 1, port: bool = False
) -> tuple[Lab, int]:
    """Return a lab whose one station is behind a cache, which takes a quarter of a second."""
    lab = Lab()
    numbers = lab.stations(fixed(seconds), servers=servers)
    numbers += lab.stations(fixed(0.5), servers=9) if port else [-1]
    lab.engine.add_pool(lab.pool, Geometry(Raid.RAID0, numbers[0], 1, 1 << 20, numbers[1]))
    cache = Cache(mark * BLOCK, 0.25, 0.25, destages)
    station = lab.engine.add_cache(lab.pool, cache)
    lab.engine.stations[station].on_visit = lab.engine.stations[numbers[0]].on_visit
    return lab, station


def writes(*rows: tuple[float, int]) -> Script:
    return Script([(t, 0, True, block * BLOCK, BLOCK) for t, block in rows])


# By example. -----------------------------------------------------------------------------------


def test_a_write_ends_when_the_cache_has_it_and_the_device_comes_later() -> None:
    lab, cache = cached()
    guest = lab.guest(writes((1.0, 0), (1.0, 1), (1.0, 2)))
    lab.run(1.3)
    assert lab.engine.dirty_bytes(lab.pool) == 3 * BLOCK
    lab.run(20.0)
    assert [end for _, end in lab.io_times()] == [1.25, 1.25, 1.25]
    assert lab.starts == [(1.0, cache, GUEST)] * 3 + [(t, 0, GUEST) for t in (1.25, 2.25, 3.25)]
    assert lab.engine.dirty_bytes(lab.pool) == 0
    assert conserved(guest)


def test_the_front_end_port_comes_before_the_cache_and_never_at_destage() -> None:
    lab, cache = cached(port=True)
    lab.guest(writes((1.0, 0)))
    lab.run(20.0)
    assert lab.starts == [(1.0, 1, GUEST), (1.5, cache, GUEST), (1.75, 0, GUEST)]
    assert lab.io_times() == [(1.0, 1.75)]


def test_above_the_mark_writes_wait_for_room_in_order() -> None:
    lab, cache = cached(mark=2)
    guest = lab.guest(writes(*[(1.0, k) for k in range(5)]))
    lab.run(1.5)
    # the mark is reached by the second, so three wait; they are admitted and in flight
    assert (guest.in_flight, lab.engine.dirty_bytes(lab.pool)) == (3, 2 * BLOCK)
    lab.run(20.0)
    # the device frees room at 2.25, 3.25, 4.25: a write a second, as without a cache
    assert [end for _, end in lab.io_times()] == [1.25, 1.25, 2.5, 3.5, 4.5]
    assert lab.times(cache) == [1.0, 1.0, 2.25, 3.25, 4.25]


def test_a_write_larger_than_the_cache_has_its_turn() -> None:
    lab, _ = cached(mark=2)
    rows = [(1.0, 0, True, 0, 16 * BLOCK), (1.0, 0, True, 16 * BLOCK, BLOCK)]
    lab.guest(Script(rows))
    lab.run(20.0)
    assert [end for _, end in lab.io_times()] == [1.25, 2.5]


@pytest.mark.parametrize(("destages", "starts"), [(1, [1.25, 2.25, 3.25]), (2, [1.25, 1.25, 2.25])])
def test_so_many_destages_are_under_way_and_no_more(destages, starts) -> None:
    lab, _ = cached(destages=destages, servers=9)
    lab.guest(writes((1.0, 0), (1.0, 1), (1.0, 2)))
    lab.run(20.0)
    assert lab.times() == starts


def test_what_is_dirty_is_read_from_the_cache_and_what_is_partly_so_is_not() -> None:
    lab, cache = cached(servers=9)
    reads = [(at, 0, False, start * BLOCK, n * BLOCK) for at, start, n in (
        (1.125, 0, 2), (1.25, 0, 3), (1.25, 1, 1), (1.25, 5, 1), (3.5, 0, 2),
    )]  # fmt: skip
    lab.guest(Script([(1.0, 0, True, 0, 2 * BLOCK), *reads]))
    lab.run(20.0)
    # dirty from 1 s, when it had room, until 2.25 s, when the device had it
    assert lab.times(cache) == [1.0, 1.125, 1.25]
    assert lab.times() == [1.25, 1.25, 1.25, 3.5]


def test_a_block_written_twice_is_dirty_until_both_are_destaged_and_nothing_coalesces() -> None:
    lab, cache = cached()
    lab.guest(Script([
        (1.0, 0, True, 0, BLOCK), (1.0, 0, True, 0, BLOCK),
        (2.5, 0, False, 0, BLOCK), (3.5, 0, False, 0, BLOCK),
    ]))  # fmt: skip
    lab.run(20.0)
    assert lab.times(cache) == [1.0, 1.0, 2.5]
    assert lab.times() == [1.25, 2.25, 3.5]


def test_the_destage_starts_before_whoever_waited_for_the_write_goes_on() -> None:
    lab, _ = cached()
    guest = lab.guest(Script([(1.0, 0, True, 0, BLOCK), (1.0, 0, False, 9 * BLOCK, BLOCK)]))
    lab.engine.set_limit(guest, 1)
    lab.run(20.0)
    assert lab.io_times() == [(1.0, 1.25), (1.0, 3.25)]


@pytest.mark.parametrize("kind", [COPY_ON_WRITE, REDIRECT_ON_WRITE])
def test_a_snapshot_costs_at_destage_on_the_same_account(kind) -> None:
    lab, cache = cached()
    lab.site.freeze([lab.lun], kind)
    lab.guest(writes((1.0, 0)))
    lab.run(20.0)
    assert lab.io_times() == [(1.0, 1.25)]
    extra = {COPY_ON_WRITE: 2, REDIRECT_ON_WRITE: 1}[kind]
    purposes = [purpose for _, station, purpose in lab.starts if station != cache]
    assert purposes == [SIDE] * extra + [GUEST]
    assert lab.times() == [1.25 + k for k in range(extra + 1)]


def test_where_copies_block_the_destages_wait_and_hosts_do_not() -> None:
    lab, _ = cached(destages=4, servers=9)
    lab.engine.block_copies(lab.pool)
    lab.site.freeze([lab.lun], COPY_ON_WRITE)
    lab.guest(writes((1.0, 0), (1.5, 1)))
    lab.run(20.0)
    assert [end for _, end in lab.io_times()] == [1.25, 1.75]
    # copy read and written until 3.25, then both writes
    assert lab.times() == [1.25, 2.25, 3.25, 3.25]


def test_copying_for_no_host_is_never_deferred() -> None:
    lab, cache = cached()
    steps = [
        (1, int(Role.COPY_READ), 0, lab.pool, 0, BLOCK),
        (2, int(Role.COPY_WRITE), 1, lab.pool, 1 << 19, BLOCK),
    ]
    ended: list[float] = []
    event = lab.engine.submit(steps, Purpose.CONTROL)
    event.callbacks.append(lambda _: ended.append(lab.env.now))
    lab.run(9.0)
    assert ended == [2.0]
    assert not lab.times(cache)


def test_a_mirror_is_written_through_the_cache_when_it_is_made_equal_and_afterwards() -> None:
    lab, cache = cached(servers=9)
    mirror = lab.site.add_replica(lab.lun, lab.pool, 1 << 17)
    mirror.attach()
    ended: list[float] = []
    event = lab.engine.submit(mirror.equalise(0, 1), Purpose.CONTROL)
    event.callbacks.append(lambda _: ended.append(lab.env.now))
    lab.guest(writes((5.0, 0)))
    lab.run(5.125)
    assert lab.engine.dirty_bytes(lab.pool) == 2 * BLOCK
    lab.run(20.0)
    assert ended == [1.25]  # read from the device, and written to the cache
    assert lab.io_times() == [(5.0, 5.25)]
    assert lab.times(cache) == [1.0, 5.0, 5.0]
    assert lab.times() == [0.0, 1.25, 5.25, 5.25]


def test_a_drain_waits_for_the_host_and_not_for_the_devices() -> None:
    lab, _ = cached(mark=1)
    guest = lab.guest(writes((1.0, 0), (1.0, 1)))
    drained: list[float] = []

    def stun() -> None:
        lab.engine.stun(guest)
        lab.engine.drained(guest).callbacks.append(lambda _: drained.append(lab.env.now))

    lab.at(1.1, stun)
    lab.run(20.0)
    assert drained == [2.5]  # the second had room at 2.25
    assert lab.times()[-1] == 2.5


def test_streams_and_submitted_writes_go_through_the_cache_too() -> None:
    lab, cache = cached()
    ends: list[float] = []

    def begin() -> None:
        stream = lab.stream(Io.WRITE_DISK, lab.disk, [(0, BLOCK), (BLOCK, BLOCK)], 1)
        steps = lab.site.volume_write(lab.lun, 9 * BLOCK, BLOCK)
        for event in (stream.finished, lab.engine.submit(steps, Purpose.RESTORE)):
            event.callbacks.append(lambda _: ends.append(lab.env.now))

    lab.at(1.0, begin)
    lab.run(20.0)
    assert ends == [1.25, 1.5]
    assert [p for _, station, p in lab.starts if station != cache].count(RESTORE) == 1
    assert lab.times() == [1.25, 2.25, 3.25]


@pytest.mark.parametrize(("both", "second"), [(True, 3.5), (False, 6.0)])
def test_a_disk_over_two_pools_has_room_in_both_before_it_sets_out(both, second) -> None:
    lab = Lab()
    wide_pool = lab.site.create_pool(1 << 20, 1 << 16)
    lun = lab.site.create_lun(1 << 16, 16, wide_pool, 0)
    lab.stripe(fixed(1.0))
    (device,) = lab.stations(fixed(2.0))
    lab.engine.add_pool(wide_pool, Geometry(Raid.RAID0, device, 1, 1 << 20))
    store = lab.site.create_store([lab.lun, lun], 256, 256)
    file = store.create_file("wide", 512, sparse=False, zeroed=True)
    file.place(0, 0, 100)
    file.place(1, 1, 0)
    wide = lab.site.create_disk("wide", 512, file)
    for pool in (wide_pool, lab.pool) if both else (lab.pool,):
        lab.engine.add_cache(pool, Cache(BLOCK, 0.25))
    lab.guest(Script([(t, 0, True, 255 * BLOCK, 2 * BLOCK) for t in (1.0, 1.0)]), disks=[wide])
    lab.run(20.0)
    # a device without a cache is waited for, from 1 to 3 s; only then is the rest destaged, by 4 s
    assert [end for _, end in lab.io_times()] == [1.25 if both else 3.0, second]
    assert lab.times(device) == ([1.25, 3.5] if both else [1.0, 4.0])


def test_when_the_array_is_lost_those_that_wait_for_room_hang_like_the_others() -> None:
    lab, _ = cached(mark=1)
    guest = lab.guest(writes((1.0, 0), (1.0, 1), (1.0, 2)))
    ended: list[str] = []

    def submit() -> None:
        steps = lab.site.volume_write(lab.lun, 9 * BLOCK, BLOCK)
        event = lab.engine.submit(steps, Purpose.RESTORE)
        event.callbacks.append(lambda event: ended.append(str(event.value)))

    lab.at(1.5, submit)
    lab.at(2.0, lambda: lab.engine.cut_off(lab.pool, Unreachable("array-1")))
    lab.run(20.0)
    assert (guest.completed, guest.in_flight, len(guest.hung)) == (1, 2, 2)
    assert len(ended) == 1
    assert "array-1" in ended[0]
    assert lab.engine.dirty_bytes(lab.pool) == 0
    assert conserved(guest)
    lab.engine.retire(guest)
    lab.run(21.0)
    assert (guest.in_flight, guest.dropped) == (0, 2)
    assert conserved(guest)


# Quiet. ----------------------------------------------------------------------------------------


def test_a_run_may_wait_until_nothing_is_dirty() -> None:
    lab, _ = cached()
    quiet: list[float] = []
    lab.guest(writes((1.0, 0), (1.0, 1)))
    assert lab.engine.quiet().triggered
    for time in (1.1, 30.0):
        note = lambda _: quiet.append(lab.env.now)  # noqa: E731
        lab.at(time, lambda note=note: lab.engine.quiet().callbacks.append(note))
    lab.run(40.0)
    assert quiet == [3.25, 30.0]


def test_waiting_for_quiet_keeps_a_run_alive_and_dirty_data_alone_does_not() -> None:
    async def main(env) -> float:
        lab = Lab(env=env)
        lab.stripe(fixed(5.0))
        lab.engine.add_cache(lab.pool, Cache(BLOCK, 0.25))
        await completed(
            lab.engine.submit(lab.site.volume_write(lab.lun, 0, BLOCK), Purpose.RESTORE)
        )
        assert env.now == 0.25
        await completed(lab.engine.quiet() if wait else env.event())
        return env.now

    wait = True
    assert run(main) == 5.25
    wait = False
    with pytest.raises(NoProgress):
        run(main)


# What a cache never changes. -------------------------------------------------------------------


def spied(lab: Lab, stations: list[int]) -> Counter:
    """Return a count of the visits that stations are asked for, as it grows."""
    seen: Counter = Counter()
    for number in stations:
        station = lab.engine.stations[number]

        def visit(write, position, size, purpose, *, number=number, inner=station.visit):
            seen[number, write, position, size, int(purpose)] += 1
            return inner(write, position, size, purpose)

        station.visit = visit
    return seen


RAIDS = {Raid.RAID0: 2, Raid.RAID10: 4, Raid.RAID5: 4, Raid.RAID6: 5}
row = st.tuples(st.integers(0, 80), st.integers(0, 60), st.integers(1, 40))


@settings(max_examples=60)
@given(
    st.lists(row, min_size=1, max_size=20),
    st.sampled_from(list(RAIDS)),
    st.sampled_from([0, COPY_ON_WRITE, REDIRECT_ON_WRITE, COPY_INTO_EACH]),
    st.sampled_from([(1, 1), (8, 2), (1 << 20, 16)]),
    st.booleans(),
    st.booleans(),
)
def test_devices_do_the_same_work_with_a_cache_only_later(
    rows, raid, kind, shape, blocking, mirrored
) -> None:
    work = []
    for mark, destages in ((0, 0), shape):
        lab = Lab(chunk=4)
        devices = lab.stations(*[fixed(0.25)] * RAIDS[raid], servers=1)
        (port,) = lab.stations(fixed(0.125), servers=2)
        geometry = Geometry(raid, devices[0], len(devices), 2 * BLOCK, port)
        lab.engine.add_pool(lab.pool, geometry)
        if mark:
            lab.engine.add_cache(lab.pool, Cache(mark * BLOCK, 1 / 64, 1 / 64, destages))
        if blocking:
            lab.engine.block_copies(lab.pool)
        for _ in range(2 if kind else 0):
            lab.site.freeze([lab.lun], kind)
        if mirrored:
            replica = lab.site.add_replica(lab.lun, lab.pool, 1 << 17)
            replica.attach()
            replica.equalise(0, 10)  # chunks; what lies beyond is not written twice
        seen = spied(lab, [*devices, port])
        script = [(t / 8, 0, True, at * BLOCK + 512, n * 1024) for t, at, n in sorted(rows)]
        guest = lab.guest(Script(script))
        lab.run(11.0)
        quiet = lab.engine.quiet()
        lab.run(4000.0)
        assert quiet.processed
        assert guest.completed == len(rows)
        assert lab.engine.dirty_bytes(lab.pool) == 0
        assert sum(len(s.queue) + s.busy for s in lab.engine.stations) == 0
        work.append(seen)
    assert work[0] == work[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mark_bytes": 0},
        {"mark_bytes": 1 << 63},
        {"destages": 0},
        {"write_seconds": -1.0},
        {"write_seconds": nan},
        {"read_seconds": inf},
    ],
)
def test_a_cache_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"cache|destages"):
        Cache(**({"mark_bytes": BLOCK} | wrong))


# Against the book. -----------------------------------------------------------------------------


@st.composite
def histories(draw):
    guests, control = draw(snapshot_histories(writes=2))
    cache = draw(st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 3)))
    return draw(SERVICES), draw(st.integers(1, 2)), guests, control, cache, draw(st.booleans())


def by_the_book(services, servers, guests, control, cache, blocking):
    judge = Judge(list(services), servers, held_of(guests))
    judge.add_cache(*cache)
    return told(judge, control, UNTIL, blocking=blocking)


def by_the_engine(services, servers, guests, control, cache, blocking):
    lab = Lab(chunk=CHUNK)
    lab.stripe(*map(fixed, services), servers=servers)
    seconds, mark, destages = cache
    number = lab.engine.add_cache(lab.pool, Cache(mark * BLOCK, seconds, seconds, destages))
    lab.engine.stations[number].on_visit = lab.engine.stations[0].on_visit
    return played(lab, guests, control, UNTIL, blocking=blocking)


@settings(max_examples=150)
@given(histories())
def test_every_history_of_a_cache_goes_by_the_book(history) -> None:
    assert by_the_engine(*history) == by_the_book(*history)
