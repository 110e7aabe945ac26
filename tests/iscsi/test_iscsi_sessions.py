"""The rest of a session: task management, pings, text, discovery, and its end."""

from __future__ import annotations

from struct import Struct

import pytest

from iscsi.initiating import (
    IQN,
    LUN1,
    MIB,
    OTHER,
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
    AsyncEvent,
    RejectReason,
    TaskAnswer,
    TaskFunction,
)
from stuntdouble.iscsi import Limits
from stuntdouble.scsi import Status

ROWS = [bytes((7 * i + n) & 0xFF for i in range(512)) for n in range(256)]


def pattern(size, seed=0):
    """Bytes that differ from sector to sector."""
    return b"".join(ROWS[(n + seed) & 0xFF] for n in range(-(-size // 512)))[:size]


@pytest.fixture
def world():
    world = World()
    world.unit.data[:] = pattern(world.unit.size_bytes)
    return world


def slow_world(**limits):
    world = World(unit=SlowUnit(size_bytes=MIB), limits=Limits(**limits))
    world.unit.data[:] = pattern(MIB)
    return world


# Task management. -----------------------------------------------------------------------------


def test_a_task_is_aborted_and_never_answered():
    world = slow_world()
    initiator = world.logged_in()
    tag = initiator.command(read10(0, 1), read=512)
    assert initiator.manage(TaskFunction.ABORT_TASK, referenced=tag) == TaskAnswer.COMPLETE
    assert len(world.runner.cancelled) == 1
    world.runner.begun.clear()
    assert initiator.manage(
        TaskFunction.ABORT_TASK, referenced=tag, refcmdsn=initiator.cmdsn - 1
    ) == (TaskAnswer.NO_TASK)
    initiator.command(READ_CAPACITY, read=8)
    answer, _ = initiator.reply()
    assert answer.numbers.maxcmdsn == initiator.cmdsn + world.limits.commands - 1


def test_a_task_that_has_not_come_yet_never_will(world):
    initiator = world.logged_in()
    missing = initiator.cmdsn
    initiator.command(READ_CAPACITY, read=8, cmdsn=missing + 1)
    assert initiator.replies() == []
    initiator.say(
        iscsi.TaskRequest(TaskFunction.ABORT_TASK, LUN1, 99, 98, missing + 2, 0, missing).pack()
    )
    kinds = [type(answer) for answer, _ in initiator.replies()]
    assert kinds == [iscsi.DataIn, iscsi.TaskResponse]


@pytest.mark.parametrize(
    "function",
    [
        TaskFunction.ABORT_TASK_SET,
        TaskFunction.CLEAR_TASK_SET,
        TaskFunction.LUN_RESET,
        TaskFunction.WARM_RESET,
    ],
)
def test_tasks_of_a_unit_are_aborted(function):
    world = slow_world()
    first, second = world.logged_in(), world.logged_in(isid=b"\x80\0\0\0\0\2")
    for initiator in (first, second):
        initiator.command(read10(0, 1), read=512)
        initiator.command(write10(0, 1), write=512)
        initiator.replies()
    assert first.manage(function) == TaskAnswer.COMPLETE
    everybodys = function != TaskFunction.ABORT_TASK_SET
    assert len(first.connection.commands) == 0
    assert len(second.connection.commands) == (0 if everybodys else 2)
    assert world.node.held_bytes == (0 if everybodys else 512)
    world.runner.begun.clear()
    second.connection.lost()


@pytest.mark.parametrize(
    ("function", "lun", "answer"),
    [
        (TaskFunction.LUN_RESET, b"\0\5" + bytes(6), TaskAnswer.NO_LUN),
        (TaskFunction.ABORT_TASK_SET, b"\0\5" + bytes(6), TaskAnswer.NO_LUN),
        (TaskFunction.CLEAR_ACA, LUN1, TaskAnswer.NOT_SUPPORTED),
        (TaskFunction.COLD_RESET, LUN1, TaskAnswer.NOT_SUPPORTED),
        (TaskFunction.REASSIGN, LUN1, TaskAnswer.NO_REASSIGNMENT),
        (99, LUN1, TaskAnswer.REJECTED),
    ],
)
def test_functions_that_are_refused(world, function, lun, answer):
    assert world.logged_in().manage(function, lun) == answer


# PERSISTENT RESERVE OUT: (service action, scope and type, length of the parameters), (keys).
OUT, KEYS = Struct(">xBB2xI7x"), Struct(">QQ8x")
REGISTER, RESERVE, PREEMPT, PREEMPT_AND_ABORT = 0, 1, 4, 5


def reserve_out(initiator, action, key, other=0, kind=0):
    """Send a PERSISTENT RESERVE OUT; return the status."""
    cdb = b"\x5f" + OUT.pack(action, kind, KEYS.size)[1:]
    initiator.command(cdb, write=KEYS.size, data=KEYS.pack(key, other))
    return initiator.reply()[0].status


def registered(*initiators):
    """Register a key for each, from 1 on; the second one reserves the unit for writing."""
    for key, initiator in enumerate(initiators, 1):
        assert reserve_out(initiator, REGISTER, 0, key) == Status.GOOD
    assert reserve_out(initiators[1], RESERVE, 2, kind=1) == Status.GOOD


def attention(initiator):
    """What the unit has to tell, as additional sense."""
    initiator.command(TEST_UNIT_READY, LUN1)
    answer, data = initiator.reply()
    return tuple(data[14:16]) if answer.status == Status.CHECK_CONDITION else None


@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
def test_who_is_preempted_and_aborted_has_no_tasks_left(action):
    world = slow_world()
    world.luns.by_initiator[OTHER] = {1: world.unit, 2: world.other_unit}
    first, second = world.logged_in(), world.logged_in(OTHER)
    bystander = world.logged_in(isid=b"\x80\0\0\0\0\2")
    registered(first, second, bystander)
    kept = bystander.command(read10(0, 1), read=512)
    second.command(read10(0, 1), read=512)
    second.command(write10(4, 1), write=512)  # waits for its data
    second.command(write10(8, 1), write=512, data=pattern(512, 9))
    own = first.command(read10(3, 1), read=512)
    second.replies()
    assert reserve_out(first, action, 1, 2, kind=3) == Status.GOOD
    aborts = action == PREEMPT_AND_ABORT
    assert len(second.connection.commands) == (0 if aborts else 3)
    assert len(world.runner.cancelled) == (2 if aborts else 0)
    assert world.node.held_bytes == (0 if aborts else 1024)
    assert attention(second) == (0x2A, 0x05)
    assert attention(second) == ((0x2F, 0x00) if aborts else None)
    assert attention(bystander) is not None  # the reservation that it knew is gone
    assert attention(bystander) is None
    while world.runner.begun:  # those that were aborted are not among what is answered
        if world.runner.begun[0][0] in world.runner.cancelled:
            world.runner.begun.pop(0)
        else:
            world.runner.end()
    assert [answer.itt for answer, _ in bystander.replies()] == [kept]
    assert [answer.itt for answer, _ in first.replies()] == [own]
    assert len(second.replies()) == (0 if aborts else 2)
    assert world.unit.data[8 * 512 : 9 * 512] == pattern(512, 8 if aborts else 9)
    second.connection.lost()


def test_tasks_on_other_units_are_not_aborted():
    world = slow_world()
    world.other_unit = SlowUnit("6000" + "0" * 27 + "3", MIB)
    world.luns.by_initiator[OTHER] = {1: world.unit, 2: world.other_unit}
    first, second = world.logged_in(), world.logged_in(OTHER)
    registered(first, second)
    second.command(TEST_UNIT_READY, b"\0\2" + bytes(6))
    elsewhere = second.command(read10(0, 1), b"\0\2" + bytes(6), read=512)
    second.replies()
    assert reserve_out(first, PREEMPT_AND_ABORT, 1, 2, kind=3) == Status.GOOD
    assert attention(second) == (0x2A, 0x05)
    assert attention(second) is None  # nothing was aborted here
    world.runner.end()
    assert [answer.itt for answer, _ in second.replies()] == [elsewhere]


@pytest.mark.parametrize("commands", [4, 5])
def test_who_waits_for_room_hears_of_what_others_have_aborted(commands):
    """Its commands are never answered, so nothing else would tell it that it may send more."""
    world = slow_world(commands=5)
    first, second = world.logged_in(), world.logged_in(isid=b"\x80\0\0\0\0\2")
    for _ in range(commands):
        second.command(read10(0, 1), read=512)
    woken = second.woken
    assert first.manage(TaskFunction.CLEAR_TASK_SET) == TaskAnswer.COMPLETE
    if commands < 5:
        assert (second.replies(), second.woken) == ([], woken)
    else:
        answer, _ = second.reply()
        assert isinstance(answer, iscsi.NopIn)
        assert (answer.itt, answer.ttt) == (NO_TAG, NO_TAG)
        assert answer.numbers.maxcmdsn == second.cmdsn + 4
        assert second.woken > woken
    assert second.manage(TaskFunction.CLEAR_TASK_SET) == TaskAnswer.COMPLETE


def test_a_reset_is_told_to_everybody(world):
    first, second = world.logged_in(), world.logged_in(isid=b"\x80\0\0\0\0\2")
    assert first.manage(TaskFunction.LUN_RESET) == TaskAnswer.COMPLETE
    for initiator in (first, second):
        initiator.command(TEST_UNIT_READY)
        answer, data = initiator.reply()
        assert answer.status == Status.CHECK_CONDITION
        assert (data[4] & 0xF, data[14]) == (6, 0x29)


# The rest of a session. -----------------------------------------------------------------------


def test_pings_come_back(world):
    initiator = world.logged_in(MaxRecvDataSegmentLength="512")
    initiator.say(iscsi.NopOut(5, NO_TAG, initiator.cmdsn, 0).pack(600), bytes(range(200)) * 3)
    answer, data = initiator.reply()
    assert (answer.itt, answer.ttt, data) == (5, NO_TAG, (bytes(range(200)) * 3)[:512])
    initiator.say(iscsi.NopOut(NO_TAG, NO_TAG, initiator.cmdsn + 1, 0, immediate=True).pack())
    assert initiator.replies() == []


def test_who_does_not_answer_a_ping_is_gone(world):
    initiator = world.logged_in()
    initiator.connection.watch()
    initiator.connection.watch()
    ping, _ = initiator.reply()
    assert (ping.itt, ping.ttt != NO_TAG) == (NO_TAG, True)
    initiator.say(iscsi.NopOut(NO_TAG, ping.ttt, initiator.cmdsn, 0, immediate=True).pack())
    initiator.connection.watch()
    assert initiator.replies() == []
    initiator.connection.watch()
    initiator.connection.watch()
    assert initiator.connection.closed
    assert list(world.target.of()) == []


@pytest.mark.parametrize(
    ("reason", "cid", "answer", "closed"),
    [(0, 0, 0, True), (1, 0, 0, True), (1, 5, 1, False), (2, 0, 2, False)],
)
def test_logouts(world, reason, cid, answer, closed):
    initiator = world.logged_in()
    initiator.say(iscsi.LogoutRequest(reason, 9, cid, initiator.cmdsn, 0).pack())
    assert initiator.reply()[0].answer == answer
    assert initiator.connection.closed == closed
    assert bool(list(world.target.of())) != closed


def test_a_dropped_session_is_told_and_over(world):
    initiator = world.logged_in()
    initiator.connection.end(AsyncEvent.SESSION_DROP)
    message, _ = initiator.reply()
    assert message.event == AsyncEvent.SESSION_DROP
    assert initiator.connection.closed
    assert initiator.woken


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (iscsi.SnackRequest(0, LUN1, 1, NO_TAG, 0, 0, 0).pack(), RejectReason.SNACK),
        (b"\x1c" + bytes(47), RejectReason.NOT_SUPPORTED),
        (b"\x21" + bytes(47), RejectReason.NOT_SUPPORTED),
        (
            iscsi.LoginRequest(bytes(6), 0, 1, 0, 0, 0, 1, 3, True).pack(),
            RejectReason.PROTOCOL_ERROR,
        ),
        (iscsi.LogoutRequest(9, 1, 0, 0, 0).pack(), RejectReason.INVALID_FIELD),
    ],
)
def test_what_makes_no_sense_is_rejected(world, header, reason):
    initiator = world.logged_in()
    initiator.say(header)
    answer, data = initiator.reply()
    assert (answer.reason, data) == (reason, header)
    assert not initiator.connection.closed


def test_a_wrong_digest_of_data_ends_the_session(world):
    initiator = world.logged_in(DataDigest="CRC32C")
    command = iscsi.ScsiCommand(LUN1, 5, 512, initiator.cmdsn, 0, write10(0, 1), 0xA1)
    initiator.raw(command.pack(512) + bytes(512) + b"\1\2\3\4")
    answer, _ = initiator.reply()
    assert answer.reason == RejectReason.DATA_DIGEST
    assert initiator.connection.closed
    assert world.unit.data[:512] == pattern(512)


# Discovery, and who may see what. ---------------------------------------------------------------


def found(initiator, asked="All"):
    initiator.text([("SendTargets", asked)])
    answer, data = initiator.reply()
    assert answer.final
    return iscsi.parse_text(data)


EXPECTED = [("TargetName", "iqn.2026-01.com.example:array"), ("TargetAddress", "192.0.2.1:3260,1")]


def test_discovery_tells_the_target_and_its_portal(world):
    initiator = world.initiator()
    initiator.discover()
    assert found(initiator) == EXPECTED
    assert found(initiator, "iqn.2026-01.com.example:array") == EXPECTED
    assert found(initiator, "iqn.other") == []
    assert found(initiator, "") == [("SendTargets", "Reject")]


def test_a_stranger_finds_nothing(world):
    initiator = world.initiator("iqn.2026-01.com.example:stranger")
    initiator.discover()
    assert found(initiator) == []
    assert found(initiator, "iqn.2026-01.com.example:array") == []


def test_a_session_tells_of_its_own_target_only(world):
    initiator = world.logged_in()
    assert found(initiator, "") == EXPECTED
    assert found(initiator, "All") == [("SendTargets", "Reject")]


def test_there_are_no_commands_in_a_discovery_session(world):
    initiator = world.initiator()
    initiator.discover()
    initiator.command(read10(0, 1), read=512)
    assert initiator.reply()[0].reason == RejectReason.NOT_SUPPORTED
    initiator.say(
        iscsi.TaskRequest(TaskFunction.LUN_RESET, LUN1, 5, NO_TAG, initiator.cmdsn, 0).pack()
    )
    assert initiator.reply()[0].reason == RejectReason.NOT_SUPPORTED


def test_long_answers_come_in_pieces(world):
    world.node.targets |= {f"iqn.2026-01.com.example:{n:0100}": world.target for n in range(20)}
    world.target.name = "iqn.2026-01.com.example:" + "y" * 150
    initiator = world.initiator()
    initiator.discover()
    initiator.connection.segment_bytes = 512
    initiator.text([("SendTargets", "All")], itt=55)
    text = b""
    while True:
        answer, data = initiator.reply()
        assert len(data) <= 512
        text += data
        if answer.final:
            break
        assert answer.ttt != NO_TAG
        initiator.text([], itt=55, tag=answer.ttt)
    assert len(iscsi.parse_text(text)) == 42


def test_parameters_may_change_later(world):
    initiator = world.logged_in()
    initiator.text([("MaxRecvDataSegmentLength", "512"), ("MaxBurstLength", "512")])
    _, data = initiator.reply()
    assert iscsi.parse_text(data) == [("MaxBurstLength", "Reject")]
    initiator.command(read10(0, 4), read=2048)
    assert [len(data) for _, data in initiator.replies()] == [512] * 4


def test_text_that_goes_on_for_ever_is_rejected():
    world = World(limits=Limits(text_bytes=1000))
    initiator = world.logged_in()
    initiator.text([("Xa", "1" * 600)], itt=7, final=False, more=True)
    answer, _ = initiator.reply()
    initiator.text([("Xb", "1" * 600)], itt=7, tag=answer.ttt, final=False, more=True)
    assert initiator.reply()[0].reason == RejectReason.PROTOCOL_ERROR


def test_masking_is_asked_at_every_command(world):
    initiator = world.logged_in()
    assert initiator.read(0, 1) == pattern(512)
    del world.luns.by_initiator[IQN][1]
    initiator.command(read10(0, 1), read=512)
    answer, data = initiator.reply()
    assert answer.status == Status.CHECK_CONDITION
    assert (data[4] & 0xF, data[14]) == (5, 0x25)
