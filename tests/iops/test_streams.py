"""Bulk I/O: depth, pace, prefixes, stops, failures, fences, links; and reads for a workflow."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iops.lab import BLOCK, FS_BLOCKS, Lab, fixed, reads
from stuntdouble.clock import completed, run
from stuntdouble.errors import Bug, NoProgress, NoSpace
from stuntdouble.extents import Runs
from stuntdouble.iops import Io, Purpose, StreamSpec, link, read_bulk
from stuntdouble.ports import Throttle

pytestmark = pytest.mark.plain


def many(count: int) -> list[tuple[int, int]]:
    return [(k * BLOCK, BLOCK) for k in range(count)]


def built(*seconds: float, servers: int = 64) -> Lab:
    lab = Lab()
    lab.stripe(*map(fixed, seconds or (1.0,)), servers=servers)
    return lab


def in_one_part(lab: Lab):
    """Return what renders a LUN in one part."""
    return lambda first, count: [lab.lun.render(first, count)]


def happened(lab: Lab, event) -> list[float]:
    at: list[float] = []

    def note(event) -> None:
        event.defused = True
        at.append(lab.env.now)

    event.callbacks.append(note)
    return at


# Depth. ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=6),
    st.integers(0, 40),
)
def test_the_depth_is_kept_whatever_it_is_changed_to(depth, changes, count) -> None:
    lab = built(2.0, 3.0)
    stream = lab.stream(Io.READ_LUN, lab.lun, many(count), depth)
    for time, value in changes:
        lab.at(time, lambda value=value: setattr(stream, "depth", value))
    lab.at(40.0, lambda: setattr(stream, "depth", 3))
    limits = {0: depth} | dict(changes)
    limit = before = 0
    for second in range(40):
        limit = limits.get(second, limit)
        lab.run(second + 0.5)
        under_way = len(lab.starts) - stream.done
        left = count - len(lab.starts)
        assert under_way <= max(limit, before)
        assert not left or under_way >= limit  # and nothing that may start is left lying
        before = under_way
    lab.run(400.0)
    assert stream.finished.processed
    assert (stream.depth, stream.bytes_per_second) == (3, 0.0)
    assert stream.done == count == len(lab.starts)
    assert not lab.env.expecting


def test_a_depth_of_0_pauses_and_a_greater_one_goes_on_at_once() -> None:
    lab = built()
    stream = lab.stream(Io.READ_LUN, lab.lun, many(6), 2)
    lab.at(0.5, lambda: setattr(stream, "depth", 0))
    lab.at(5.0, lambda: setattr(stream, "depth", 4))
    finished = happened(lab, stream.finished)
    lab.run(20.0)
    assert lab.times() == [0.0, 0.0, 5.0, 5.0, 5.0, 5.0]
    assert finished == [6.0]


def test_a_stream_of_nothing_is_over_at_once() -> None:
    lab = built()
    stream = lab.stream(Io.READ_LUN, lab.lun, [], 4)
    finished, reached = happened(lab, stream.finished), happened(lab, stream.reached(0))
    lab.run(1.0)
    assert (finished, reached, stream.done) == ([0.0], [0.0], 0)
    assert not lab.env.expecting


def test_holes_take_no_time_and_the_stream_goes_through_them() -> None:
    lab = built()
    file = lab.store.create_file("thin", 4 * FS_BLOCKS, sparse=False, zeroed=True)
    lab.keeper.provide(file, 2)
    disk = lab.site.create_disk("thin", 4 * FS_BLOCKS, file)
    mib = FS_BLOCKS * BLOCK
    stream = lab.stream(Io.READ_LEVEL, disk.head, [(k * mib, BLOCK) for k in range(4)], 1)
    finished = happened(lab, stream.finished)
    lab.run(9.0)
    assert lab.times() == [0.0]
    assert (finished, stream.done) == ([1.0], 4)


# Prefixes and stops. -----------------------------------------------------------------------------


def test_a_prefix_has_ended_when_all_of_it_has() -> None:
    lab = built(4.0, 1.0)  # even blocks take 4 s, odd ones 1 s
    stream = lab.stream(Io.READ_LUN, lab.lun, many(4), 4)
    marks = {n: happened(lab, stream.reached(n)) for n in (0, 1, 2, 4, 9)}
    late = []
    lab.at(4.5, lambda: late.append(happened(lab, stream.reached(2))))
    lab.run(2.0)
    assert stream.done == 2
    assert marks[0] == [0.0]
    assert not marks[1]
    lab.run(9.0)
    assert marks == {0: [0.0], 1: [4.0], 2: [4.0], 4: [4.0], 9: [4.0]}
    assert late == [[4.5]]
    assert stream.reached(9).value == 4  # never more than there are


def test_a_stopped_stream_drains_and_tells_everybody() -> None:
    lab = built()
    stream = lab.stream(Io.READ_LUN, lab.lun, many(10), 2)
    mark = stream.reached(10)
    finished, told = happened(lab, stream.finished), happened(lab, mark)
    lab.at(1.5, stream.stop)
    lab.at(3.0, stream.stop)  # again, when it is over
    lab.at(4.0, lambda: setattr(stream, "depth", 5))
    lab.run(20.0)
    assert finished == told == [2.0]
    assert (stream.done, mark.value) == (4, 4)
    assert not lab.env.expecting


@pytest.mark.parametrize("how", ["paced", "fenced", "paused", "unopened"])
def test_a_stop_does_not_wait_for_what_has_not_started(how) -> None:
    lab = built()
    pace = 1.0 if how == "paced" else 0.0
    if how == "fenced":
        lab.engine.fence([lab.lun])
    depth = 0 if how == "paused" else 2
    stream = lab.stream(
        Io.READ_LUN, lab.lun, many(10), depth, bytes_per_second=pace, luns=(lab.lun,)
    )
    finished = happened(lab, stream.finished)
    stop = 0.0 if how == "unopened" else 3.0
    lab.at(stop, stream.stop) if stop else stream.stop()
    lab.run(5.0)
    assert finished == [stop]
    assert len(lab.starts) == (1 if how == "paced" else 0)
    lab.run(2 * BLOCK)
    assert stream.done == len(lab.starts)


# Pace. -------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=20),
    st.sampled_from([512.0, 1000.0, 65536.0, 1e6 / 3]),
    st.integers(1, 3),
)
def test_starts_keep_the_pace_exactly(blocks, rate, depth) -> None:
    lab = Lab()
    lab.stripe(fixed(1e-6), servers=64, stripe=1 << 20)
    items = [(0, n * BLOCK) for n in blocks]
    lab.stream(Io.READ_LUN, lab.lun, items, depth, bytes_per_second=rate)
    lab.run(1e6)
    due, expected = 0.0, []
    for n in blocks:
        expected.append(due)
        due += n * BLOCK / rate
    assert lab.times() == expected


def test_a_stream_that_is_late_does_not_make_up_for_it() -> None:
    lab = built(3.0, servers=1)
    lab.stream(Io.READ_LUN, lab.lun, many(3), 1, bytes_per_second=BLOCK)
    lab.run(20.0)
    assert lab.times() == [0.0, 3.0, 6.0]


def test_a_change_of_pace_holds_for_the_very_next_start() -> None:
    lab = built(0.01)
    stream = lab.stream(Io.READ_LUN, lab.lun, many(8), 8, bytes_per_second=BLOCK / 100)
    lab.at(10.0, lambda: setattr(stream, "bytes_per_second", BLOCK / 20))  # due at 20 s
    lab.at(30.0, lambda: setattr(stream, "bytes_per_second", BLOCK / 50))  # 20 + 50
    lab.at(75.0, lambda: setattr(stream, "bytes_per_second", BLOCK))  # 70 + 1, so now
    lab.at(76.5, lambda: setattr(stream, "bytes_per_second", 0.0))  # as fast as it goes
    lab.run(200.0)
    assert lab.times() == [0.0, 20.0, 70.0, 75.0, 76.0, 76.5, 76.5, 76.5]


def test_moves_are_paced_and_sent_by_their_bytes() -> None:
    lab = built(0.25)
    delta = lab.store.create_file("delta", 1 << 12, sparse=True, zeroed=True)
    lab.disk.push(delta)
    for block in (0, 100):
        lab.site.write(lab.disk, block * BLOCK, BLOCK)
    (lan,) = lab.stations(fixed(0.5))
    stream = lab.stream(
        Io.MOVE_LEVEL, lab.disk.head, [(0, 64), (64, 64)], 2, bytes_per_second=64 * BLOCK, link=lan
    )
    lab.run(20.0)
    # each move reads the grain and writes it, then the item crosses the link
    assert lab.times() == [0.0, 0.25, 1.0, 1.25]
    assert lab.times(lan) == [0.5, 1.5]
    assert stream.done == 2


def test_a_link_carries_the_bytes_of_each_item() -> None:
    lab = built(1.0)
    delta = lab.store.create_file("delta", 1 << 12, sparse=True, zeroed=True)
    lab.disk.push(delta)
    (lan,) = lab.stations(link(4 * BLOCK))
    lab.stream(Io.READ_LUN, lab.lun, [(0, BLOCK), (BLOCK, BLOCK)], 2, link=lan)
    moved = lab.stream(Io.MOVE_LEVEL, lab.disk.head, [(0, 8)], 1, link=lan)
    finished = happened(lab, moved.finished)
    lab.run(20.0)
    # nothing to move, but its 8 blocks cross all the same: two seconds
    assert finished == [2.0]
    assert lab.times(lan) == [0.0, 2.0, 2.25]


def test_a_fence_holds_the_streams_of_its_luns() -> None:
    lab = built()
    held = lab.stream(Io.READ_LUN, lab.lun, many(4), 1, luns=(lab.lun, lab.other))
    free = lab.stream(Io.READ_LUN, lab.lun, many(4), 1)
    lab.at(0.5, lambda: lab.engine.fence([lab.other]))
    lab.at(1.5, lambda: lab.engine.fence([lab.lun]))
    lab.at(2.5, lambda: setattr(held, "depth", 2))
    lab.at(3.0, lambda: lab.engine.unfence([lab.other]))
    lab.at(6.0, lambda: lab.engine.unfence([lab.lun]))
    ends = [happened(lab, stream.finished) for stream in (held, free)]
    lab.run(20.0)
    assert ends == [[8.0], [4.0]]
    assert lab.times() == [0.0, 0.0, 1.0, 2.0, 3.0, 6.0, 6.0, 7.0]


def test_a_paced_start_comes_before_the_ends_of_its_instant() -> None:
    lab = built(2.0, 2.0, servers=1)
    guest = lab.guest(reads(0.0, 0.5))
    lab.engine.set_limit(guest, 1)
    items = [(BLOCK, BLOCK), (0, BLOCK)]
    lab.at(1.0, lambda: lab.stream(Io.READ_LUN, lab.lun, items, 2, bytes_per_second=BLOCK))
    lab.run(20.0)
    # at 2 s the second item queues up, the guest's first read ends, its second is let go
    backup, its_own = int(Purpose.BACKUP), int(Purpose.GUEST)
    first = [(start, purpose) for start, station, purpose in lab.starts if station == 0]
    assert first == [(0.0, its_own), (2.0, backup), (4.0, its_own)]


# Failures. ---------------------------------------------------------------------------------------


def without_room() -> tuple[Lab, object]:
    lab = built()
    file = lab.store.create_file("thin", 8 * FS_BLOCKS, sparse=False, zeroed=True)
    disk = lab.site.create_disk("thin", 8 * FS_BLOCKS, file)
    left = [3]

    class Poor:
        def provide(self, file, index: int) -> int:
            if not left[0]:
                raise NoSpace("datastore", 1, 0)
            left[0] -= 1
            return lab.keeper.provide(file, index)

    lab.store.keeper = Poor()
    return lab, disk


# eight that need room, of which there is for three, and one that needs none
ITEMS = [(k * FS_BLOCKS * BLOCK, BLOCK) for k in (*range(8), 0)]


def test_lack_of_space_reaches_whoever_waits() -> None:
    lab, disk = without_room()
    stream = lab.stream(Io.WRITE_DISK, disk, ITEMS, 2)
    told: list[tuple[str, object]] = []

    def wait(name: str, event):
        try:
            yield event
        except NoSpace as error:
            told.append((name, error))
        else:
            told.append((name, event.value))

    lab.env.process(wait("two", stream.reached(2)))
    lab.env.process(wait("five", stream.reached(5)))
    lab.env.process(wait("finished", stream.finished))
    lab.run(20.0)
    lab.env.process(wait("late", stream.finished))
    lab.env.process(wait("later", stream.reached(9)))
    lab.env.process(wait("good", stream.reached(3)))
    lab.run(21.0)
    error = NoSpace("datastore", 1, 0)
    assert told == [
        ("two", 2), ("finished", error), ("five", error),
        ("late", error), ("later", error), ("good", 3),
    ]  # fmt: skip
    assert stream.failure == error
    assert stream.done == 3
    assert not lab.env.expecting


def test_a_failure_that_nobody_waits_for_ends_no_run_and_is_kept() -> None:
    lab, disk = without_room()
    stream = lab.stream(Io.WRITE_DISK, disk, ITEMS, 4)
    lab.run(20.0)
    assert stream.finished.processed
    assert not stream.finished.ok
    assert isinstance(stream.failure, NoSpace)

    async def ask(_env) -> None:
        await completed(stream.finished)

    with pytest.raises(NoSpace):
        run(ask)


def test_an_item_too_large_for_one_io_is_refused() -> None:
    lab = built()
    lab.stream(Io.READ_LUN, lab.lun, [(0, (4 << 20) + 1)])
    with pytest.raises(Bug, match="cut it up"):
        lab.run(1.0)


# Bulk reads for a workflow. ------------------------------------------------------------------------


def bulk(lab: Lab, runs: Runs, pace: Throttle, take: int | None = None, faster: bool = False):
    """Read *runs* in virtual time, at most *take* pieces; return what came and when."""
    got: list[tuple[float, int, bytes]] = []
    spec = StreamSpec(Io.READ_LUN, lab.lun, np.empty((0, 2), np.int64), 1, Purpose.BACKUP)

    async def main(env) -> None:
        lab.env = lab.engine.env = env
        for station in lab.engine.stations:
            station.env = env
        reading = read_bulk(lab.engine, spec, runs, pace, in_one_part(lab))
        async for offset, data in reading:
            got.append((env.now, offset, bytes(data)))
            if faster and env.now > 1.0:
                pace.limit(bytes_per_second=0.0)
            if take is not None and len(got) >= take:
                break
        await reading.aclose()
        await asyncio.sleep(100.0)
        assert not env.expecting

    run(main)
    return got


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 40 << 20), st.integers(1, 12 << 20)), max_size=4).map(
        Runs.of
    ),
    st.sampled_from([1 << 16, 1 << 20, 3 << 20]),
)
def test_a_bulk_read_yields_every_byte_once_in_order(runs, block_bytes) -> None:
    lab = built(0.001, 0.003, servers=4)
    pieces = bulk(lab, runs, Throttle(block_bytes=block_bytes))
    assert Runs.of([(offset, len(data)) for _, offset, data in pieces]) == runs
    assert [offset for _, offset, _ in pieces] == sorted(offset for _, offset, _ in pieces)
    assert sum(len(data) for _, _, data in pieces) == runs.total
    assert [time for time, _, _ in pieces] == sorted(time for time, _, _ in pieces)
    for _, offset, data in pieces[:2]:
        first = offset // BLOCK
        whole = lab.lun.render(first, 2).tobytes()
        assert data[:BLOCK] == whole[offset - first * BLOCK :][: len(data)][:BLOCK]


def test_a_bulk_read_notices_another_pace_at_once() -> None:
    lab = built(0.0625, servers=1)
    runs = Runs.single(0, 24 << 20)
    pieces = bulk(lab, runs, Throttle(depth=1, bytes_per_second=float(1 << 20)), faster=True)
    # two spans at 1 MiB/s, then as fast as the station goes
    assert [len(data) >> 20 for _, _, data in pieces] == [1, 1, 8, 8, 6]
    times = [time for time, _, _ in pieces]
    assert times[1] == 1.0625
    assert times[-1] == pytest.approx(times[1] + 22 * 0.0625)


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(1, 8), st.lists(st.integers(1, 12), min_size=1, max_size=6))
@example(2, 1, [1, 1])  # the second joins while the first, having read all, waits until it is due
def test_bulk_reads_side_by_side_share_one_pace(depth, quarters, sizes) -> None:
    """Together they have no more under way than one alone may, and are no faster."""
    lab, block, rate = built(quarters / 4), 1 << 20, float(2 << 20)
    throttle = Throttle(depth, block, rate)
    ended: list[float] = []
    spec = StreamSpec(Io.READ_LUN, lab.lun, np.empty((0, 2), np.int64), 1, Purpose.BACKUP)

    async def read(number: int, size: int) -> None:
        await asyncio.sleep(0.3 * number)
        runs = Runs.single(number * (16 << 20), size << 20)
        render = in_one_part(lab)
        _ = [part async for part in read_bulk(lab.engine, spec, runs, throttle, render)]
        ended.append(asyncio.get_running_loop().time())

    async def main(env) -> None:
        lab.env = lab.engine.env = env
        for station in lab.engine.stations:
            station.env = env
        async with asyncio.TaskGroup() as group:
            for number, size in enumerate(sizes):
                group.create_task(read(number, size))

    run(main)
    starts = sorted(lab.times())
    for place, start in enumerate(starts):
        assert sum(start - quarters / 4 < earlier <= start for earlier in starts) <= depth
        assert place <= (start + 1e-9) * rate / block + len(sizes)
    assert max(ended) >= sum(sizes) * block / rate - 1e-9


def test_a_bulk_read_that_is_given_up_stops_its_stream() -> None:
    lab = built(0.0625, servers=64)
    pieces = bulk(lab, Runs.single(0, 64 << 20), Throttle(), take=1)
    assert len(pieces) == 1
    assert max(lab.times()) <= pieces[0][0]


def test_a_stream_that_is_awaited_keeps_the_run_alive_and_one_that_is_over_does_not() -> None:
    async def main(env) -> None:
        lab = built()
        lab.env = lab.engine.env = env
        for station in lab.engine.stations:
            station.env = env
        stream = lab.stream(Io.READ_LUN, lab.lun, many(3))
        await completed(stream.finished)
        assert env.now == 3.0
        stopped = lab.stream(Io.READ_LUN, lab.lun, many(3))
        stopped.stop()
        await completed(stopped.finished)
        await completed(env.event())

    with pytest.raises(NoProgress):
        run(main)
