"""Commands on a session: order, data in both directions, residuals, and everything out of line."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from iscsi.initiating import (
    LUN1,
    MIB,
    READ_CAPACITY,
    TEST_UNIT_READY,
    SlowUnit,
    World,
    read10,
    write10,
)
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import (
    NO_TAG,
    RejectReason,
    ResponseFlag,
)
from stuntdouble.iscsi import Limits
from stuntdouble.iscsi.segments import cut, sliced
from stuntdouble.scsi import Status

OVER, UNDER = ResponseFlag.OVERFLOW, ResponseFlag.UNDERFLOW


ROWS = [bytes((7 * i + n) & 0xFF for i in range(512)) for n in range(256)]


def pattern(size, seed=0):
    """Bytes that differ from sector to sector."""
    return b"".join(ROWS[(n + seed) & 0xFF] for n in range(-(-size // 512)))[:size]


@pytest.fixture
def world():
    world = World()
    world.unit.data[:] = pattern(world.unit.size_bytes)
    return world


# Reading. -------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(1, 700), st.integers(1, 2000))
def test_cuts_are_short_enough_and_leave_nothing_out(total, segment, burst):
    at = begun = 0
    for offset, length, ends in cut(total, segment, burst):
        assert offset == at
        assert 0 < length <= segment
        at += length
        assert at - begun <= burst
        assert ends == (at == total or at - begun == burst)
        begun = at if ends else begun
    assert at == total


@given(st.lists(st.binary(max_size=20)), st.data())
def test_slices_are_the_parts_one_after_the_other(parts, draw):
    whole = b"".join(parts)
    bounds = sorted(draw.draw(st.lists(st.integers(0, len(whole)))))
    sizes = [b - a for a, b in zip([0, *bounds], [*bounds, len(whole)], strict=True)]
    found = [b"".join(piece) for piece in sliced(parts, iter(sizes))]
    assert [len(piece) for piece in found] == sizes
    assert b"".join(found) == whole


@pytest.mark.parametrize("digest", ["None", "CRC32C"])
@given(st.integers(512, 5000), st.integers(512, 9000), st.integers(0, 100), st.integers(1, 40))
def test_a_read_is_what_the_unit_holds_however_it_is_cut(digest, segment, burst, block, count):
    world = World()
    world.unit.data[:131072] = pattern(131072)
    initiator = world.logged_in(
        MaxRecvDataSegmentLength=str(segment), MaxBurstLength=str(burst),
        HeaderDigest=digest, DataDigest=digest,
    )  # fmt: skip
    initiator.command(read10(block, count), read=count * 512)
    found, begun, answer = b"", 0, None
    for answer, data in initiator.replies():
        assert len(data) <= segment
        found += data
        assert len(found) - begun <= burst
        if answer.flags & ResponseFlag.FINAL:
            begun = len(found)
    assert found == pattern(131072)[block * 512 : (block + count) * 512]
    assert answer.flags & ResponseFlag.STATUS


@pytest.mark.parametrize(
    ("expected", "blocks", "flag", "residual", "length"),
    [
        (512, 1, 0, 0, 512),
        (1024, 1, UNDER, 512, 512),
        (512, 2, OVER, 512, 512),
        (700, 2, OVER, 324, 700),
        (100000, 1, UNDER, 99488, 512),
    ],
)
def test_what_a_read_and_its_initiator_differ_by(world, expected, blocks, flag, residual, length):
    initiator = world.logged_in()
    initiator.command(read10(0, blocks), read=expected)
    answer, data = initiator.reply()
    assert isinstance(answer, iscsi.DataIn)
    assert answer.flags == ResponseFlag.FINAL | ResponseFlag.STATUS | flag
    assert (answer.residual, data) == (residual, pattern(1024)[:length])


def test_data_for_somebody_who_expects_none(world):
    initiator = world.logged_in()
    initiator.command(read10(0, 2))
    answer, data = initiator.reply()
    assert isinstance(answer, iscsi.ScsiResponse)
    assert (answer.flags, answer.residual, data) == (ResponseFlag.FINAL | OVER, 1024, b"")


def test_a_refusal_comes_with_its_reason(world):
    initiator = world.logged_in()
    initiator.command(read10(1 << 30, 1), read=512)
    answer, data = initiator.reply()
    assert isinstance(answer, iscsi.ScsiResponse)
    assert answer.status == Status.CHECK_CONDITION
    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert (data[2 + 2] & 0xF, data[2 + 12]) == (5, 0x21)
    assert (answer.flags & UNDER, answer.residual) == (UNDER, 512)


def test_a_command_ahead_of_the_order_is_answered_and_uses_no_number(world):
    initiator = world.logged_in()
    initiator.command(READ_CAPACITY, read=8, immediate=True)
    answer, _ = initiator.reply()
    assert answer.numbers.expcmdsn == initiator.cmdsn


# Order. ---------------------------------------------------------------------------------------


def test_numbers_count_on(world):
    initiator = world.logged_in()
    statsn = None
    for _ in range(5):
        initiator.command(READ_CAPACITY, read=8)
        answer, _ = initiator.reply()
        assert answer.numbers.expcmdsn == initiator.cmdsn
        assert answer.numbers.maxcmdsn == initiator.cmdsn + world.limits.commands - 1
        assert statsn is None or answer.numbers.statsn == statsn + 1
        statsn = answer.numbers.statsn


def test_commands_are_taken_in_their_order_whenever_they_come(world):
    initiator = world.logged_in()
    first = initiator.cmdsn
    tags = [initiator.command(READ_CAPACITY, read=8, cmdsn=first + n) for n in (2, 1)]
    assert initiator.replies() == []
    tags.append(initiator.command(READ_CAPACITY, read=8, cmdsn=first))
    assert [answer.itt for answer, _ in initiator.replies()] == tags[::-1]


def test_data_that_wait_for_a_command_that_never_comes_are_limited():
    world = World(limits=Limits(ahead_bytes=8192))
    initiator = world.logged_in()
    first = initiator.cmdsn
    for number in (1, 2):
        initiator.command(write10(0, 8), write=4096, data=bytes(4096), cmdsn=first + number)
    assert not initiator.connection.closed
    initiator.command(TEST_UNIT_READY, cmdsn=first)
    assert [reply.status for reply, _ in initiator.replies()] == [0, 0, 0]
    for number in (4, 5, 6):  # all of that room is there again, and no more
        assert not initiator.connection.closed
        initiator.command(write10(0, 8), write=4096, data=bytes(4096), cmdsn=first + number)
    assert initiator.connection.closed
    assert list(world.target.of()) == []


@pytest.mark.parametrize("ahead", [-1, -100, 128, 1000, 1 << 31])
def test_what_is_outside_of_the_window_is_not_taken(world, ahead):
    initiator = world.logged_in()
    initiator.command(READ_CAPACITY, read=8, cmdsn=(initiator.cmdsn + ahead) & 0xFFFFFFFF)
    assert initiator.replies() == []
    initiator.command(READ_CAPACITY, read=8)
    assert len(initiator.replies()) == 1


def slow_world(**limits):
    world = World(unit=SlowUnit(size_bytes=MIB), limits=Limits(**limits))
    world.unit.data[:] = pattern(MIB)
    return world


def test_the_window_closes_while_commands_are_under_way():
    world = slow_world(commands=3)
    initiator = world.logged_in()
    tags = [initiator.command(read10(n, 1), read=512) for n in range(4)]
    assert len(world.runner.begun) == 3
    world.runner.end(1)
    answer, data = initiator.reply()
    assert (answer.itt, data) == (tags[1], pattern(1024)[512:])
    assert answer.numbers.maxcmdsn == initiator.cmdsn - 1
    assert initiator.woken


def test_reads_that_take_their_time_pile_up_to_a_limit():
    world = slow_world(read_bytes=8192)
    initiator = world.logged_in()
    for _ in range(2):  # the second passes the limit, and is the last
        initiator.command(read10(0, 15), read=1)  # what the unit reads counts, not what is wanted
    assert world.node.reading_bytes == 2 * 15 * 512
    refused = initiator.command(read10(0, 1), read=512)
    assert len(world.runner.begun) == 2
    answer, _ = initiator.reply()
    assert (answer.itt, answer.status) == (refused, Status.TASK_SET_FULL)
    initiator.command(TEST_UNIT_READY)
    assert initiator.reply()[0].status == 0, "what reads nothing goes on"
    world.runner.end()
    initiator.replies()
    assert world.node.reading_bytes == 15 * 512
    initiator.command(read10(0, 1), read=512)
    assert len(world.runner.begun) == 2
    initiator.connection.lost()
    assert world.node.reading_bytes == 0


def test_tags_in_use_are_not_used_twice():
    world = slow_world()
    initiator = world.logged_in()
    tag = initiator.command(read10(0, 1), read=512)
    initiator.command(read10(0, 1), read=512, itt=tag)
    answer, data = initiator.reply()
    assert answer.reason == RejectReason.TASK_IN_PROGRESS
    assert iscsi.ScsiCommand.parse(data).itt == tag


def test_commands_ahead_of_the_order_are_limited():
    world = slow_world(immediate=2)
    initiator = world.logged_in()
    for _ in range(3):
        initiator.command(read10(0, 1), lun=LUN1, read=512, immediate=True, data=b"")
        # What is answered later is a task; a second kind of task needs data first.
    writes = [
        initiator.command(write10(0, 1), write=512, immediate=True, final=True) for _ in range(1)
    ]
    answers = [answer for answer, _ in initiator.replies()]
    assert writes
    assert any(
        getattr(answer, "reason", None) == RejectReason.IMMEDIATE_COMMAND for answer in answers
    )


# Writing. -------------------------------------------------------------------------------------

AGREED = {"InitialR2T": "No", "FirstBurstLength": "2048", "MaxBurstLength": "4096"}


def test_a_write_whose_data_come_along(world):
    initiator = world.logged_in()
    initiator.command(write10(4, 2), write=1024, data=pattern(1024, 9))
    answer, _ = initiator.reply()
    assert (answer.status, answer.flags, answer.residual) == (0, ResponseFlag.FINAL, 0)
    assert initiator.read(4, 2) == pattern(1024, 9)


def test_a_write_whose_data_are_asked_for(world):
    initiator = world.logged_in(**AGREED)
    data = pattern(10240, 5)
    tag = initiator.command(write10(8, 20), write=10240)
    asked = []
    while True:
        answer, _ = initiator.reply()
        if not isinstance(answer, iscsi.R2t):
            break
        asked.append((answer.r2tsn, answer.offset, answer.length))
        middle = answer.offset + answer.length // 2
        stop = answer.offset + answer.length
        initiator.data_out(
            tag, answer.ttt, 0, answer.offset, data[answer.offset : middle], final=False
        )
        initiator.data_out(tag, answer.ttt, 1, middle, data[middle:stop], final=True)
    assert asked == [(0, 0, 4096), (1, 4096, 4096), (2, 8192, 2048)]
    assert answer.status == 0
    assert initiator.read(8, 20) == data
    assert world.node.held_bytes == 0


def test_a_write_whose_data_come_in_every_way(world):
    initiator = world.logged_in(**AGREED)
    data = pattern(4096, 3)
    tag = initiator.command(write10(0, 8), write=4096, data=data[:512], final=False)
    initiator.data_out(tag, NO_TAG, 0, 512, data[512:1024], final=False)
    initiator.data_out(tag, NO_TAG, 1, 1024, data[1024:2048], final=True)
    answer, _ = initiator.reply()
    assert (answer.offset, answer.length) == (2048, 2048)
    initiator.data_out(tag, answer.ttt, 0, 2048, data[2048:], final=True)
    assert initiator.reply()[0].status == 0
    assert initiator.read(0, 8) == data


def test_what_a_write_and_its_initiator_differ_by(world):
    initiator = world.logged_in()
    initiator.command(write10(0, 1), write=2048, data=pattern(2048, 1))
    answer, _ = initiator.reply()
    assert (answer.status, answer.flags & UNDER, answer.residual) == (0, UNDER, 1536)
    initiator.command(write10(0, 4), write=512, data=pattern(512, 1))
    answer, _ = initiator.reply()
    assert (answer.flags & OVER, answer.residual) == (OVER, 1536)
    assert initiator.read(1, 1) == pattern(1024)[512:]


AFTER = [  # (tag, number, offset, bytes, final): what comes after a write of 8 blocks with nothing
    (NO_TAG, 1, 0, 512, True),
    (NO_TAG, 0, 512, 512, True),
    (NO_TAG, 0, 0, 2560, True),
    (5, 0, 0, 512, True),
]


@pytest.mark.parametrize("sent", AFTER)
def test_data_that_nobody_agreed_on_end_a_write(world, sent):
    initiator = world.logged_in(**AGREED)
    before = bytes(world.unit.data)
    itt = initiator.command(write10(0, 8), write=4096, final=False)
    tag, number, offset, size, final = sent
    initiator.data_out(itt, tag, number, offset, pattern(size, 1), final=final)
    answer, data = initiator.reply()
    assert answer.status == Status.CHECK_CONDITION
    assert data[4] & 0xF == 0x0B
    initiator.data_out(itt, NO_TAG, 0, 0, pattern(512, 1), final=True)
    assert initiator.replies() == []
    assert world.unit.data == before
    assert world.node.held_bytes == 0


@pytest.mark.parametrize(
    ("number", "offset", "size", "final"),
    [
        (1, 0, 4096, True),
        (0, 512, 512, False),
        (0, 0, 2048, True),
        (0, 0, 4096, False),
        (0, 0, 4608, True),
    ],
)
def test_data_that_were_not_asked_for_end_a_write(world, number, offset, size, final):
    initiator = world.logged_in(**AGREED)
    before = bytes(world.unit.data)
    itt = initiator.command(write10(0, 16), write=8192)
    r2t, _ = initiator.reply()
    initiator.data_out(itt, r2t.ttt, number, offset, pattern(size, 1), final=final)
    answer, _ = initiator.reply()
    assert answer.status == Status.CHECK_CONDITION
    assert world.unit.data == before


@pytest.mark.parametrize(
    "asked",
    [
        {"write": 512, "data": bytes(1024)},
        {"write": 4096, "data": bytes(2560)},
        {"write": 512, "data": bytes(512), "final": False},
        {"read": 512, "data": bytes(4)},
        {"read": 512, "final": False},
    ],
)
def test_commands_that_break_the_agreement_are_rejected(world, asked):
    initiator = world.logged_in(**AGREED)
    initiator.command(write10(0, 8), **asked)
    answer, _ = initiator.reply()
    assert answer.reason == RejectReason.PROTOCOL_ERROR
    initiator.command(READ_CAPACITY, read=8)
    assert initiator.reply()[0].status == 0


def test_nothing_comes_unasked_where_that_was_agreed_on(world):
    initiator = world.logged_in(InitialR2T="Yes", ImmediateData="No")
    initiator.command(write10(0, 1), write=512, data=bytes(512))
    assert initiator.reply()[0].reason == RejectReason.PROTOCOL_ERROR
    initiator.command(write10(0, 1), write=512, final=False)
    assert initiator.reply()[0].reason == RejectReason.PROTOCOL_ERROR


def test_both_directions_at_once_are_not_supported(world):
    initiator = world.logged_in()
    header = iscsi.ScsiCommand(LUN1, 9, 512, initiator.cmdsn, 0, write10(0, 1), 0xE1).pack()
    initiator.say(header)
    assert initiator.reply()[0].reason == RejectReason.NOT_SUPPORTED


def test_writes_find_no_more_room_than_there_is():
    world = World(limits=Limits(write_bytes=4096))
    initiator = world.logged_in()
    first = initiator.command(write10(0, 8), write=4096)
    r2t, _ = initiator.reply()
    initiator.command(write10(0, 1), write=512)
    assert initiator.reply()[0].status == Status.TASK_SET_FULL
    initiator.data_out(first, r2t.ttt, 0, 0, pattern(4096), final=True)
    assert initiator.reply()[0].status == 0
    initiator.command(write10(0, 1), write=512, data=bytes(512))
    assert initiator.reply()[0].status == 0


def test_answers_wait_until_there_is_room_for_them(world):
    """However much is asked for at once, only so much lies in memory."""
    initiator = world.logged_in(MaxRecvDataSegmentLength="262144")
    wire = b""
    for n in range(32):
        command = iscsi.ScsiCommand(
            LUN1, 50 + n, MIB, initiator.cmdsn + n, 0, read10(0, 2048), 0xC1
        )
        wire += command.pack()
    initiator.connection.framer.feed(wire)
    rounds = 0
    more = True
    while more:
        more = initiator.connection.work()
        _, size = initiator.connection.take()
        assert size <= world.limits.output_bytes + MIB + 4096
        rounds += 1
    assert rounds >= 8
