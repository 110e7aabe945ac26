"""Wires that go wrong, targets that say odd things, and sessions that do not come back."""

from __future__ import annotations

import asyncio
import struct

import pytest

from initiators.attaching import SIZE, attached, disk, fails, read, run
from initiators.scripted import (
    ATTENTION,
    IQN,
    SILENT,
    Scripted,
)
from stuntdouble.codecs.iscsi import NO_TAG, AsyncMessage, DataIn, NopIn, R2t, Reject
from stuntdouble.errors import (
    AccessDenied,
    Error,
    InvalidState,
    TimedOut,
    Unreachable,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import (
    Limits,
    wire,
)
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB

# Wires. -------------------------------------------------------------------------------------------


async def with_word(target, word):
    """Read while the target puts a word in before the first answer; return what came of it."""
    said = []

    async def say(talk):
        await word(talk)

    def script(talk, asked):
        if asked.cdb[0] == 0x88 and not said:
            said.append(asyncio.get_running_loop().create_task(say(talk)))

    target.script = script
    async with attached(target, sessions=1) as device:
        got = await read(device)
        await said[0]
        assert got == bytes(target.luns[5].data)
    return len(target.isids)


def test_pings_are_answered():
    async def word(talk):
        ping = NopIn(NO_TAG, 0x1234, talk.numbers(status=False))
        await talk.send(ping.pack())

    async def scenario(target):
        seen = []
        target.on_answer = seen.append
        assert await with_word(target, word) == 1
        assert seen == [0x1234]

    run(scenario)


@pytest.mark.parametrize(("event", "logins"), [(0, 1), (255, 1), (1, 2), (2, 2), (3, 2), (4, 2)])
def test_a_target_that_wants_us_off_is_left_and_come_back_to(event, logins):
    async def word(talk):
        await talk.send(AsyncMessage(event, talk.numbers()).pack())

    async def scenario(target):
        assert await with_word(target, word) == logins

    run(scenario)


def _wrong(number):
    async def word(talk):
        numbers = talk.numbers(status=False)
        match number:
            case 0:
                header = Reject(4, numbers).pack()
            case 1:
                header = bytes([0x2A]) + bytes(47)
            case 2:
                header = DataIn(bytes(8), 0x777, numbers, 0, 0).pack(4) + bytes(4)
            case 3:
                header = R2t(bytes(8), 0x777, 1, numbers, 0, 0, 512).pack()
            case 4:
                header = NopIn(5, NO_TAG, numbers._replace(statsn=99)).pack()
            case 5:
                header = bytes([0x20, 0x80, 0, 0, 0, 255, 255, 255]) + bytes(40)
            case _:
                header = struct.pack(">48s", b"\x21")
        talk.writer.write(header)

    return word


@pytest.mark.parametrize("number", range(7))
def test_what_makes_no_sense_ends_the_connection_alone(number):
    async def scenario(target):
        assert await with_word(target, _wrong(number)) == 2

    run(scenario, Scripted({5: disk()}, digests="None"))


@pytest.mark.parametrize("still", [False, True], ids=["alive", "dead"])
def test_a_silent_target_is_asked_and_then_left(monkeypatch, still):
    monkeypatch.setattr(wire, "PING_SECONDS", 0.05)
    monkeypatch.setattr(wire, "COMMAND_SECONDS", 0.3)

    async def scenario(target):
        silent = []

        def script(talk, asked):
            if asked.cdb[0] == 0x88 and not silent:
                silent.append(talk)
                talk.dead = still
                return "silent"
            return None

        target.script = script
        async with attached(target, sessions=1) as device:
            assert await read(device) == bytes(target.luns[5].data)
        assert len(target.isids) == 2

    run(scenario)


def test_errors_of_logins_reach_whoever_waits():
    async def scenario(target):
        async with attached(target, sessions=2) as device:
            target.status = 0x0202
            target.drop_all()
            with pytest.raises(Error, match=IQN):
                await read(device)

    run(scenario)


def test_a_command_that_the_target_could_not_carry_out_is_tried_again():
    async def scenario(target):
        refused = []

        def script(talk, asked):
            if asked.cdb[0] == 0x88 and not refused:
                refused.append(asked)
                return "failure"
            return None

        target.script = script
        async with attached(target) as device:
            assert await read(device) == bytes(target.luns[5].data)
        assert len(target.isids) == 2  # two sessions, and none of them was lost

    run(scenario)


def test_where_one_of_several_logins_is_refused_none_is_left():
    async def scenario(target):
        target.on_login = lambda talk: 0x0302 if len(set(target.isids)) > 1 else 0
        await fails(target, Unreachable, "status 0302", sessions=3)
        await until(lambda: not target.talks)

    run(scenario)


async def until(condition):
    while not condition():  # noqa: ASYNC110  (the target tells nobody)
        await asyncio.sleep(0.002)


def test_a_device_that_is_closed_while_it_waits_says_so():
    async def scenario(target):
        async with attached(target, sessions=1) as device:
            target.on_login = lambda _talk: 0x0301
            target.drop_all()
            await until(lambda: not device._pool.sessions[0].alive)
            reading = asyncio.create_task(read(device))
            writing = asyncio.create_task(device.write(0, memoryview(bytes(512))))
            await asyncio.sleep(0.02)
            await device.close()
            for waiting in (reading, writing):
                with pytest.raises(InvalidState, match="closed"):
                    await waiting

    run(scenario)


def test_a_write_waits_for_its_own_session_and_no_longer_than_it_may():
    async def scenario(target):
        async with attached(target, sessions=2, limits=Limits(patience_seconds=0.3)) as device:

            def script(talk, asked):
                if asked.cdb[0] == 0x8A:
                    target.on_login = lambda _talk: 0x0301
                    return "drop"
                return None

            target.script = script
            with pytest.raises((TimedOut, Unreachable)):
                await device.write(0, memoryview(bytes(512)))
            target.script, target.on_login = None, None
            await until(lambda: all(each.alive for each in device._pool.sessions))
            await device.write(0, memoryview(bytes(512)))

            def refuse(talk, asked):
                if asked.cdb[0] == 0x8A:
                    target.on_login = lambda _talk: 0x0202
                    return "drop"
                return None

            target.script = refuse
            with pytest.raises(AccessDenied, match=IQN):
                await device.write(0, memoryview(bytes(512)))

    run(scenario)


def test_doubts_of_a_session_that_is_lost_do_not_hold_up_a_read():
    async def scenario(target):
        said = []

        def script(talk, asked):
            if asked.cdb[0] == 0x88 and target.reads == 2:
                said.append(talk)
                return ATTENTION
            if said and talk is said[0] and asked.cdb[0] == 0x00:
                return "drop"
            return None

        target.script = script
        async with attached(target, sessions=2) as device:
            spans = device.read(Runs.single(0, SIZE), Throttle(depth=4, block_bytes=8 * KIB))
            found = b"".join([bytes(span.data) async for span in spans])
            assert found == bytes(target.luns[5].data)

    run(scenario)


@pytest.mark.parametrize(("offset", "length"), [(512, 512), (0, SIZE + 512)])
def test_data_that_nobody_asked_for_end_the_connection(offset, length):
    async def scenario(target):
        sent = []

        async def send(talk, asked):
            head = DataIn(asked.lun, asked.itt, talk.numbers(status=False), 0, offset)
            await talk.send(head.pack(length), bytes(length))
            await talk.answer(asked, 5, None)

        def script(talk, asked):
            if asked.cdb[0] == 0x88 and not sent:
                sent.append(asyncio.get_running_loop().create_task(send(talk, asked)))
                return SILENT
            return None

        target.script = script
        async with attached(target, sessions=1) as device:
            assert await read(device) == bytes(target.luns[5].data)
        assert len(target.isids) == 2
        await asyncio.gather(*sent, return_exceptions=True)

    run(scenario)
