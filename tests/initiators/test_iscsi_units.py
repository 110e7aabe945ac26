"""What units say while they are read, LUN numbers that are used again, connections that are lost."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initiators.luns import CONTENT, READ, SIZE, contents, disk, once, run, whole
from initiators.scripted import (
    ATTENTION,
    BLOCK,
    CUT,
    DROP,
    NAA,
    SHORT,
    SILENT,
    Disk,
    Fail,
    Scripted,
)
from stuntdouble.codecs.scsi import Key, Sense, Status
from stuntdouble.errors import (
    AccessDenied,
    Error,
    Interrupted,
    InvalidState,
    Lost,
    MediumError,
    Misuse,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import DigestUse, Limits, session, wire
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB, MIB

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


def test_nothing_is_handed_out_while_an_attention_stands():
    runs = Runs.of([(0, 4 * KIB), (MIB, 4 * KIB)])  # two commands, and a span of each

    async def scenario(device, target):
        reads, spans, late = [], [], []

        async def answer(talk):
            first, second = reads
            await talk.fail(second, ATTENTION)
            await talk.answer(first, 5, None)  # of the other volume by now

        def script(talk, asked):
            if asked.cdb[0] != READ:
                return None
            reads.append(asked)
            if len(reads) == 2:
                replace(target)
                late.append(asyncio.get_running_loop().create_task(answer(talk)))
            return SILENT

        async def read():
            async for span in device.read(runs, Throttle(depth=2)):
                spans.append(bytes(span.data))  # noqa: PERF401  (kept when it fails)

        target.script = script
        with pytest.raises(InvalidState, match=OTHER):
            await read()
        assert not spans

    run(scenario, sessions=1)


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


@contextmanager
def impatient():
    """Leave a silent target soon: for the rest of a PDU whose length is a lie, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "PING_SECONDS", 0.02)
        patch.setattr(session, "LOGIN_SECONDS", 0.2)
        yield


@given(st.lists(st.tuples(st.integers(3, 60), st.integers(0, 10**6)), max_size=4))
@settings(deadline=None, max_examples=30)
def test_no_flipped_bit_reaches_a_reader_who_asks_for_digests(flips):
    """Flip bits, each in one PDU after the logins, anywhere in it."""
    target = Scripted({5: disk()}, segment=32 * KIB)
    wanted, sent = dict(flips), []

    def spoil(header, raw):
        sent.append(header)
        if header[0] != 0x23 and len(sent) in wanted:  # a login carries none
            bit = wanted[len(sent)] % (8 * len(raw))
            raw[bit // 8] ^= 1 << bit % 8

    async def scenario(device, _target):
        assert await whole(device, block_bytes=64 * KIB) == CONTENT

    target.spoil = spoil
    with impatient(), suppress(Lost):  # while it is attached, nothing is tried again
        run(scenario, target, sessions=1, digests=DigestUse.REQUIRED)


@given(st.binary(min_size=1, max_size=200), st.integers(0, 40))
@settings(deadline=None, max_examples=30)
def test_nonsense_from_a_target_costs_a_connection_and_nothing_else(nonsense, when):
    sent = []

    def spoil(_header, raw):
        sent.append(raw)
        if len(sent) == when + 3:
            raw[: len(nonsense)] = nonsense[: len(raw)]

    async def scenario(device, target):
        target.spoil = spoil
        assert len(await whole(device, block_bytes=64 * KIB)) == SIZE

    with impatient(), suppress(Error):
        run(scenario, Scripted({5: disk()}, digests="None"), sessions=1)
