"""Reading and writing LUNs over iSCSI: any runs, any depth, any connection."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initiators.luns import CONTENT, SIZE, WRITE, contents, disk, run, whole
from initiators.scripted import (
    ATTENTION,
    BLOCK,
    DROP,
    NAA,
    Fail,
    Scripted,
)
from stuntdouble.codecs.scsi import Key, Sense, Status
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Misuse,
    NoSpace,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import DigestUse, Limits
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

# Reading. -----------------------------------------------------------------------------------------


def test_a_lun_reads_as_it_is():
    async def scenario(device, target):
        assert (device.identity, device.size_bytes, device.block_bytes) == (NAA, SIZE, BLOCK)
        assert await whole(device) == CONTENT
        assert await whole(device, depth=1, block_bytes=4 * KIB) == CONTENT
        assert await contents(device, Runs.empty()) == []

    run(scenario)


pairs = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 100_000)), max_size=12)


@given(
    pairs,
    st.integers(1, 3),
    st.integers(1, 40),
    st.sampled_from([512, 4096, 65536, MIB]),
    st.sampled_from([0, 300_000, 1_000_000]),
    st.sampled_from([0, 4 * KIB, 64 * KIB]),
    st.sampled_from([512, 8192, 100_000]),
    st.booleans(),
    st.sampled_from(DigestUse),
    st.integers(1, 32),
)
@settings(deadline=None, max_examples=40)
def test_any_runs_read_as_the_device_has_them(
    wanted, sessions, depth, block, fuse, gap, segment, phase_collapse, digests, window
):
    runs = Runs.of(wanted).clip(0, SIZE)
    target = Scripted(
        {5: disk()}, fuse=fuse, segment=segment, phase_collapse=phase_collapse, window=window
    )

    async def scenario(device, _):
        found = await contents(device, runs, depth=depth, block_bytes=block)
        assert all(CONTENT[at : at + len(data)] == data for at, data in found)
        assert Runs.of([(at, len(data)) for at, data in found]) == runs
        ends = [at + len(data) for at, data in found]
        assert all(end <= at for end, (at, _) in zip(ends, found[1:], strict=False))

    limits = Limits(patience_seconds=20.0, rescan_seconds=0.0, gap_bytes=gap)
    run(scenario, target, sessions=sessions, digests=digests, limits=limits)


def test_neighbours_and_small_gaps_become_one_command():
    extents = Runs.from_arrays(np.arange(64) * 20 * KIB, np.full(64, 4 * KIB))

    async def scenario(device, target):
        before = target.reads
        found = await contents(device, extents)
        assert [(at, len(data)) for at, data in found] == [tuple(each) for each in extents]
        return target.reads - before

    wide = Limits(gap_bytes=16 * KIB)
    assert run(scenario, limits=wide) == 2
    assert run(scenario, limits=Limits(gap_bytes=8 * KIB)) == 64


def test_a_unit_says_how_long_a_command_may_be():
    async def scenario(device, target):
        assert await whole(device, block_bytes=MIB) == CONTENT
        return target.reads

    assert run(scenario, Scripted({5: disk(most=64 * KIB)})) == SIZE // (64 * KIB)


@pytest.mark.parametrize(("window", "depth", "under_way"), [(4, 8, 4), (32, 8, 8)])
def test_the_queue_is_kept_full_and_the_window_obeyed(window, depth, under_way):
    async def scenario(device, target):
        target.hold = asyncio.Event()
        read = asyncio.create_task(whole(device, depth=depth, block_bytes=64 * KIB))
        while target.held < under_way:  # noqa: ASYNC110  (the target counts, and sets nothing)
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert target.held == under_way
        target.hold.set()
        assert await read == CONTENT

    run(scenario, Scripted({5: disk()}, window=window), sessions=1)


def test_a_read_stops_where_it_is_told_to():
    async def scenario(device, target):
        spans = device.read(Runs.single(0, SIZE), Throttle(depth=2, block_bytes=64 * KIB))
        span = await anext(spans)
        assert bytes(span.data) == CONTENT[span.offset : span.offset + len(span.data)]
        await spans.aclose()
        assert await whole(device) == CONTENT
        with pytest.raises(Misuse, match="beyond its end"):
            await contents(device, Runs.single(0, SIZE + 1))
        await device.close()
        with pytest.raises(InvalidState, match="closed"):
            await contents(device)

    run(scenario)
    target = Scripted({5: disk()})
    run(scenario, target)
    assert target.logouts == 2


# Writing. -----------------------------------------------------------------------------------------


@given(
    st.integers(0, SIZE // BLOCK),
    st.integers(0, 3000),
    st.sampled_from([512, 65536]),
    st.sampled_from(DigestUse),
)
@settings(deadline=None, max_examples=15)
def test_what_is_written_is_there(first, blocks, segment, digests):
    blocks = min(blocks, SIZE // BLOCK - first)
    data = random.Random(first).randbytes(blocks * BLOCK)

    async def scenario(device, target):
        await device.write(first * BLOCK, memoryview(data))
        await device.flush()
        want = CONTENT[: first * BLOCK] + data + CONTENT[(first + blocks) * BLOCK :]
        assert bytes(target.luns[5].data) == want
        assert await whole(device) == want

    run(scenario, Scripted({5: disk()}, segment=segment), digests=digests)


@pytest.mark.parametrize("word", [DROP, ATTENTION, Fail(status=Status.BUSY)], ids=str)
def test_a_write_is_tried_again_on_its_own_session(word):
    data = bytes(MIB)

    async def scenario(device, target):
        sessions = []

        def script(talk, asked):
            if asked.cdb[0] == WRITE:
                sessions.append(talk.isid)
                return word if len(sessions) == 1 else None
            return None

        target.script = script
        await device.write(0, memoryview(data))
        assert bytes(target.luns[5].data[:MIB]) == data
        assert len(sessions) == 2
        assert sessions[0] == sessions[1]

    run(scenario)


def test_writes_that_are_refused():
    async def scenario(device, target):
        with pytest.raises(Misuse, match="beyond its end"):
            await device.write(SIZE, memoryview(bytes(BLOCK)))
        with pytest.raises(Misuse, match="blocks of 512"):
            await device.write(1, memoryview(bytes(BLOCK)))
        full = Fail(Sense(Key.DATA_PROTECT, 0x27, 0x07))
        target.script = lambda _talk, asked: full if asked.cdb[0] == WRITE else None
        with pytest.raises(NoSpace, match="27/07"):
            await device.write(0, memoryview(bytes(BLOCK)))
        target.script, target.luns[5].read_only = None, True
        with pytest.raises(AccessDenied, match="read-only"):
            await device.write(0, memoryview(bytes(MIB)))
        await device.close()
        with pytest.raises(InvalidState, match="closed"):
            await device.write(0, memoryview(bytes(BLOCK)))
        with pytest.raises(InvalidState, match="closed"):
            await device.flush()

    run(scenario)
