"""Reading and writing LUNs over iSCSI: any runs, any depth, and whatever happens on the way."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initiators.scripted import (
    ATTENTION,
    BLOCK,
    CUT,
    DROP,
    IQN,
    NAA,
    SHORT,
    TARGET,
    Disk,
    Fail,
    Scripted,
    served,
)
from stuntdouble.codecs.scsi import Key, Sense, Status
from stuntdouble.errors import (
    AccessDenied,
    Interrupted,
    InvalidState,
    MediumError,
    Misuse,
    NoSpace,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import DigestUse, IscsiInitiator, Limits
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

SIZE = 2 * MIB
CONTENT = random.Random(5).randbytes(SIZE)
READ, WRITE = 0x88, 0x8A


def disk(**kw):
    return Disk(bytearray(CONTENT), **kw)


def run(scenario, target=None, *, lun=5, **kw):
    """Attach a LUN of a target, and let a scenario use it."""
    target = target or Scripted({lun: disk()})
    kw.setdefault("limits", Limits(patience_seconds=20.0, rescan_seconds=0.0))

    async def main():
        async with served(target):
            initiator = IscsiInitiator(target.portal, IQN, TARGET, **kw)
            device = await initiator.attach(target.mapping(lun))
            try:
                return await scenario(device, target)
            finally:
                await device.close()

    return asyncio.run(main())


async def contents(device, runs=None, **throttle):
    """Read a device; return pairs of offset and bytes."""
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    return [(s.offset, bytes(s.data)) async for s in device.read(runs, Throttle(**throttle))]


async def whole(device, **throttle):
    return b"".join(data for _, data in await contents(device, **throttle))


def once(op, word, *, after=0):
    """Script: one word for the first command of a kind, or a later one, and nothing then."""
    seen = []

    def script(_talk, asked):
        if asked.cdb[0] == op:
            seen.append(op)
            if len(seen) == after + 1:
                return word
        return None

    return script


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


# What units say. ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        ATTENTION,
        Fail(Sense(Key.UNIT_ATTENTION, 0x29, 0)),
        Fail(Sense(Key.UNIT_ATTENTION, 0x2A, 0x09)),
        Fail(status=Status.BUSY),
        Fail(status=Status.TASK_SET_FULL),
        Fail(status=Status.TASK_ABORTED),
        Fail(Sense(Key.ABORTED_COMMAND, 0x47, 0)),
        Fail(Sense(Key.NOT_READY, 0x04, 0x01)),
        DROP,
        CUT,
        SHORT,
    ],
    ids=str,
)
@pytest.mark.parametrize("sessions", [1, 2])
def test_what_passes_is_tried_again(word, sessions):
    async def scenario(device, target):
        target.script = once(READ, word, after=3)
        assert await whole(device, block_bytes=256 * KIB) == CONTENT
        assert target.reads > SIZE // (256 * KIB)

    run(scenario, sessions=sessions)


@pytest.mark.parametrize(
    ("word", "error", "text"),
    [
        (Fail(Sense(Key.MEDIUM_ERROR, 0x11, 0, 600)), MediumError, f"byte {600 * BLOCK}"),
        (Fail(Sense(Key.MEDIUM_ERROR, 0x11, 0)), MediumError, f"byte {256 * KIB}"),
        (Fail(Sense(Key.MEDIUM_ERROR, 0x11, 0, 1)), MediumError, f"byte {256 * KIB}"),
        (Fail(Sense(Key.ILLEGAL_REQUEST, 0x25, 0)), AccessDenied, "not mapped"),
        (Fail(Sense(Key.ILLEGAL_REQUEST, 0x21, 0)), Misuse, "beyond its end"),
        (Fail(Sense(Key.ILLEGAL_REQUEST, 0x20, 0)), Unsupported, "does not know"),
        (Fail(Sense(Key.ILLEGAL_REQUEST, 0x24, 0)), Misuse, "05/24/00"),
        (Fail(status=Status.RESERVATION_CONFLICT), AccessDenied, "reserved"),
        (Fail(status=0x22), Misuse, "status 22h"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_pass_is_said_in_one_line(word, error, text):
    async def scenario(device, target):
        target.script = once(READ, word, after=1)
        with pytest.raises(error, match=text) as raised:
            await whole(device, depth=1, block_bytes=256 * KIB)
        assert "\n" not in str(raised.value)

    run(scenario)


@pytest.mark.parametrize(
    "word",
    [
        Fail(Sense(Key.HARDWARE_ERROR, 0x44, 0)),
        Fail(Sense(Key.NOT_READY, 0x04, 0x03)),
        Fail(),
        Fail(status=Status.BUSY),
        SHORT,
    ],
    ids=str,
)
def test_what_may_pass_and_does_not_is_given_up(word):
    async def scenario(device, target):
        target.script = lambda _talk, asked: word if asked.cdb[0] == READ else None
        with pytest.raises((Unreachable, Interrupted)):
            await whole(device)

    run(scenario, limits=Limits(patience_seconds=0.2))


def test_unit_attentions_without_end_are_given_up():
    async def scenario(device, target):
        target.script = lambda _talk, asked: ATTENTION if asked.cdb[0] == READ else None
        with pytest.raises(Interrupted, match="unit attentions"):
            await whole(device)

    run(scenario)


def test_a_recovered_error_is_no_error():
    async def scenario(device, target):
        target.script = once(READ, Fail(Sense(Key.RECOVERED_ERROR, 0x17, 0)))
        with pytest.raises(Interrupted, match="0 of"):  # the script sends no data with it
            await contents(device, Runs.single(0, BLOCK))

    run(scenario, limits=Limits(patience_seconds=0.0))


def test_a_lun_that_grows_is_read_to_its_new_end():
    async def scenario(device, target):
        target.luns[5].data += bytes(MIB)
        target.script = once(READ, Fail(Sense(Key.UNIT_ATTENTION, 0x2A, 0x09)))
        await contents(device, Runs.single(0, BLOCK))
        assert device.size_bytes == SIZE + MIB
        assert await whole(device) == CONTENT + bytes(MIB)

    run(scenario)


# A LUN number that is used again. -----------------------------------------------------------------


OTHER = "6000" + "cd" * 14


def replace(target):
    target.luns[5] = Disk(bytearray(SIZE), naa=OTHER)


@pytest.mark.parametrize("sessions", [1, 2])
@pytest.mark.parametrize("word", [DROP, ATTENTION], ids=["after a drop", "after an attention"])
def test_another_volume_at_the_same_lun_is_never_read(word, sessions):
    async def scenario(device, target):
        replaced = []

        def script(_talk, asked):
            if asked.cdb[0] == READ:
                if target.reads == 4:
                    replace(target)
                    replaced.append(target.reads)
                    return word
                if replaced and word == ATTENTION:
                    return ATTENTION if _talk not in told else None
                if replaced:
                    return DROP if _talk not in told else None
            if replaced and asked.cdb[0] == 0x12:
                told.add(_talk)
            return None

        told = set()
        target.script = script
        spans = []

        async def read():
            throttle = Throttle(depth=4, block_bytes=64 * KIB)
            async for span in device.read(Runs.single(0, SIZE), throttle):
                spans.append((span.offset, bytes(span.data)))  # noqa: PERF401  (kept when it fails)

        with pytest.raises(InvalidState, match=f"volume {OTHER}: cannot read {NAA}"):
            await read()
        assert all(CONTENT[at : at + len(data)] == data for at, data in spans)

    run(scenario, sessions=sessions)


def test_a_silent_exchange_is_found_at_the_end_of_the_read():
    async def scenario(device, target):
        def script(_talk, asked):
            if asked.cdb[0] == READ and target.reads == 2:
                replace(target)

        target.script = script
        with pytest.raises(InvalidState, match=OTHER):
            await whole(device, depth=1, block_bytes=MIB)

    run(scenario)


def test_an_exchange_amid_the_questions_is_noticed():
    async def scenario(device, target):
        said = []

        def script(_talk, asked):
            if asked.cdb[0] == READ and not said:
                said.append(READ)
                return ATTENTION
            if asked.cdb[0] == 0x9E and said == [READ]:  # READ CAPACITY: who it is is known by then
                said.append(0x9E)
                replace(target)
                return ATTENTION
            return None

        target.script = script
        with pytest.raises(InvalidState, match=OTHER):
            await whole(device, depth=1)
        assert said == [READ, 0x9E]
        assert target.reads == 1

    run(scenario, sessions=1)


def test_a_lun_that_is_unmapped_amid_a_read_is_denied():
    async def scenario(device, target):
        def script(_talk, asked):
            if asked.cdb[0] == READ and target.reads == 3:
                target.luns.clear()

        target.script = script
        with pytest.raises(AccessDenied, match="not mapped"):
            await whole(device, depth=1, block_bytes=256 * KIB)

    run(scenario)


# The connection. ----------------------------------------------------------------------------------


def test_a_session_comes_back_under_its_own_name():
    async def scenario(device, target):
        target.script = once(READ, DROP, after=1)
        assert await whole(device, block_bytes=256 * KIB) == CONTENT
        assert len(target.isids) == 2
        assert target.isids[0] == target.isids[1]

    run(scenario, sessions=1)


def test_sessions_have_names_of_their_own_and_share_the_work():
    async def scenario(device, target):
        assert len(set(target.isids)) == 3
        users = set()
        target.script = lambda talk, asked: users.add(talk) if asked.cdb[0] == READ else None
        assert await whole(device, block_bytes=64 * KIB) == CONTENT
        assert len(users) == 3

    run(scenario, sessions=3)


@pytest.mark.parametrize("part", ["header", "data"])
def test_a_wrong_digest_costs_the_connection_and_no_byte(part):
    async def scenario(device, target):
        spoilt = []

        def spoil(header, raw):
            if header[0] == 0x25 and len(raw) > 4 * KIB and not spoilt:
                spoilt.append(raw)
                raw[9 if part == "header" else 1000] ^= 1

        target.spoil = spoil
        assert await whole(device) == CONTENT
        assert spoilt
        assert len(target.isids) == 2

    run(scenario, sessions=1, digests=DigestUse.REQUIRED)


def test_a_target_that_goes_away_is_given_up():
    async def scenario(device, target):
        target.script = lambda _talk, asked: DROP if asked.cdb[0] == READ else None
        with pytest.raises(Unreachable, match="hung up"):
            await whole(device)

    run(scenario, limits=Limits(patience_seconds=0.3))


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
                sessions.append(target.talks.index(talk))
                return word if len(sessions) == 1 else None
            return None

        target.script = script
        await device.write(0, memoryview(data))
        assert bytes(target.luns[5].data[:MIB]) == data
        assert len(sessions) == 2

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
