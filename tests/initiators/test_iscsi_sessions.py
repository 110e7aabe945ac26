"""From a portal to a LUN: discovery, login, proofs, finding a volume, and wires that go wrong."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager

import pytest

from initiators.scripted import (
    ATTENTION,
    IQN,
    NAA,
    TARGET,
    Disk,
    Scripted,
    served,
)
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import NO_TAG, AsyncMessage, Credentials, DataIn, NopIn, R2t, Reject
from stuntdouble.errors import (
    AccessDenied,
    Error,
    InvalidState,
    Misuse,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import (
    DigestUse,
    IscsiInitiator,
    Limits,
    Who,
    discover,
    new_isid,
    session,
    wire,
)
from stuntdouble.initiators.iscsi.talk import parse_portal
from stuntdouble.ports import Mapping, Throttle
from stuntdouble.units import KIB

SIZE = 256 * KIB
OTHER = "6000" + "cd" * 14
QUICK = Limits(patience_seconds=5.0, rescan_seconds=0.0)
USER = Credentials("user", "secret of user")
BOTH = Credentials("user", "secret of user", "array", "secret of array")


def disk(naa=NAA):
    return Disk(bytearray(range(256)) * (SIZE // 256), naa=naa)


def run(scenario, target=None):
    target = target or Scripted({5: disk()})

    async def main():
        async with served(target):
            return await scenario(target)

    return asyncio.run(main())


@asynccontextmanager
async def attached(target, lun=5, **kw):
    kw.setdefault("limits", QUICK)
    device = await IscsiInitiator(target.portal, IQN, TARGET, **kw).attach(target.mapping(lun))
    try:
        yield device
    finally:
        await device.close()


async def read(device):
    throttle = Throttle()
    runs = Runs.single(0, device.size_bytes)
    return b"".join([bytes(span.data) async for span in device.read(runs, throttle)])


async def fails(target, error, text, **kw):
    with pytest.raises(error, match=text) as raised:
        async with attached(target, **kw):
            pass
    assert "\n" not in str(raised.value)


# Portals. -----------------------------------------------------------------------------------------


def test_portals_are_parsed():
    assert parse_portal("array.example") == ("array.example", 3260)
    assert parse_portal("10.0.0.1:3261,1") == ("10.0.0.1", 3261)
    assert parse_portal("[fe80::1]") == ("fe80::1", 3260)
    assert parse_portal("[fe80::1]:860") == ("fe80::1", 860)
    for wrong in ("", ":1", "a:b", "a:0", "a:65536", "[::1]x", "fe80::1"):
        with pytest.raises(Misuse, match="portal"):
            parse_portal(wrong)


# Discovery. ---------------------------------------------------------------------------------------


def test_a_portal_tells_its_targets():
    async def scenario(target):
        who = Who(IQN, "", new_isid(b"abc", 1))
        assert await discover(target.portal, who) == {TARGET: (target.portal,)}
        assert await IscsiInitiator(target.portal, IQN).targets() == (TARGET,)

    run(scenario)


def test_a_volume_is_found_without_the_name_of_its_target():
    async def scenario(target):
        initiator = IscsiInitiator(target.portal, IQN, limits=QUICK)
        device = await initiator.attach(target.mapping(5))
        assert await read(device) == bytes(target.luns[5].data)
        await device.close()

    run(scenario)


# Login. -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chap", [USER, BOTH], ids=["one way", "mutual"])
def test_who_knows_the_secret_gets_in(chap):
    async def scenario(target):
        async with attached(target, chap=chap) as device:
            assert await read(device) == bytes(target.luns[5].data)
        initiator = IscsiInitiator(target.portal, IQN, chap=chap)
        assert await initiator.targets() == (TARGET,)

    run(scenario, Scripted({5: disk()}, chap=chap))


def test_who_does_not_know_it_does_not():
    async def scenario(target):
        await fails(target, AccessDenied, "CHAP name and secret", chap=Credentials("user", "guess"))
        await fails(target, AccessDenied, "CHAP name and secret", chap=Credentials("other", "x"))
        await fails(target, AccessDenied, IQN)
        assert not target.logins

    run(scenario, Scripted({5: disk()}, chap=USER))


def test_a_target_that_cannot_prove_itself_is_not_read():
    async def scenario(target):
        await fails(target, AccessDenied, "cannot prove who it is", chap=BOTH)
        assert not target.commands

    run(scenario, Scripted({5: disk()}, chap=BOTH, lie=True))


def test_a_target_that_does_not_ask_is_not_trusted_with_chap():
    async def scenario(target):
        await fails(target, Unsupported, "without CHAP", chap=USER)

    run(scenario)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (0x0201, AccessDenied, "CHAP"),
        (0x0202, AccessDenied, IQN),
        (0x0203, NotFound, TARGET),
        (0x0204, NotFound, TARGET),
        (0x0206, Misuse, "status 0206"),
        (0x0301, Unreachable, "cannot serve now"),
    ],
)
def test_refused_logins_say_why(status, error, text):
    async def scenario(target):
        await fails(target, error, text)

    run(scenario, Scripted({5: disk()}, status=status))


@pytest.mark.parametrize("use", DigestUse)
@pytest.mark.parametrize("offered", ["None", "CRC32C", "None,CRC32C"])
def test_digests_are_agreed_on(use, offered):
    async def scenario(target):
        mine, theirs = use.offer.split(","), offered.split(",")
        if use is DigestUse.REQUIRED and offered == "None":
            await fails(target, Unsupported, "digests", digests=use)
            return
        async with attached(target, digests=use) as device:
            assert await read(device) == bytes(target.luns[5].data)
        want = next((name for name in mine if name in theirs), "None")
        assert all(pairs["HeaderDigest"] == use.offer for pairs in target.logins)
        assert target.agreed == {want}

    run(scenario, Scripted({5: disk()}, digests=offered))


def test_a_target_that_has_moved_is_followed():
    async def scenario(target):
        async with served(Scripted({5: disk()}, moved=f"{target.portal},1")) as old:
            old.luns = target.luns
            async with attached(old) as device:
                assert await read(device) == bytes(target.luns[5].data)
            assert not old.logins
            with pytest.raises(Unreachable, match="it has moved"):
                await IscsiInitiator(old.portal, IQN).targets()

    run(scenario)


def test_a_target_that_moves_in_circles_is_refused():
    async def scenario(target):
        target.moved = target.portal
        await fails(target, Misuse, "sends us on more than 4 times")

    run(scenario)


def test_nobody_at_the_portal():
    async def scenario():
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        mapping = Mapping("volume", NAA, IQN, 5)
        with pytest.raises(Unreachable, match=f"{TARGET} at {host}"):
            await IscsiInitiator(f"{host}:{port}", IQN, TARGET).attach(mapping)
        server.close()
        await server.wait_closed()
        for target in ("", TARGET):
            with pytest.raises(Unreachable, match=f"{host}:{port}"):
                await IscsiInitiator(f"{host}:{port}", IQN, target).attach(mapping)

    asyncio.run(scenario())


def test_a_login_has_a_limit(monkeypatch):
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.05)

    async def mute(reader, writer):
        await reader.read()
        writer.close()

    async def scenario():
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        with pytest.raises(TimedOut, match=r"the login to .* took longer"):
            await IscsiInitiator(f"{host}:{port}", IQN, TARGET).attach(
                Mapping("volume", NAA, IQN, 5)
            )
        server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(60),
        iscsi.NopIn(1, 2, iscsi.Numbers(1, 1, 1)).pack(),
        iscsi.Reject(4, iscsi.Numbers(1, 1, 1)).pack(),
        iscsi.LoginResponse(bytes(6), 1, 0, iscsi.Numbers(1, 1, 1), 0, 0, 3, transit=True).pack(),
        iscsi.LoginResponse(bytes(6), 1, 0, iscsi.Numbers(1, 1, 1), 0, 0, 0, False, True).pack()
        * 40,
        bytes([0x23, 0, 0, 0, 0, 255, 255, 255]) + bytes(40),
    ],
    ids=["http", "another operation", "reject", "another stage", "without end", "long"],
)
def test_what_is_no_login_is_refused(answer):
    async def answering(reader, writer):
        await reader.read(48)
        writer.write(answer)
        await reader.read()
        writer.close()

    async def scenario():
        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        with pytest.raises((Misuse, Unreachable)) as raised:
            await IscsiInitiator(f"{host}:{port}", IQN, TARGET).attach(
                Mapping("volume", NAA, IQN, 5)
            )
        assert "\n" not in str(raised.value)
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


# Finding a volume. --------------------------------------------------------------------------------


def test_the_volume_counts_and_not_its_number():
    async def scenario(target):
        initiator = IscsiInitiator(target.portal, IQN, TARGET, limits=QUICK)
        device = await initiator.attach(Mapping("volume", NAA.upper(), IQN, 5))
        assert await read(device) == bytes(target.luns[300].data)
        await device.close()

    run(scenario, Scripted({5: disk(OTHER), 300: disk()}))


def test_a_unit_with_many_names_is_known():
    async def scenario(target):
        target.luns[5].names = (bytes([2, 1, 0, 200]) + bytes(200)) * 2
        async with attached(target) as device:
            assert device.identity == NAA

    run(scenario)


def test_a_target_that_is_not_for_us_is_passed_over():
    async def scenario(target):
        initiator = IscsiInitiator(target.portal, IQN, limits=QUICK)
        target.on_login = lambda talk: 0 if talk.discovery else 0x0202
        with pytest.raises(NotFound, match=NAA):
            await initiator.attach(target.mapping(5))
        await fails(target, AccessDenied, IQN)

    run(scenario)


def test_what_is_not_there_is_named():
    async def scenario(target):
        await fails(target, NotFound, f"no volume named '{NAA} .LUN 7 at", lun=7)
        target.luns[7] = disk(OTHER)
        initiator = IscsiInitiator(target.portal, IQN, TARGET, limits=QUICK)
        with pytest.raises(InvalidState, match=f"volume {OTHER}: cannot read {NAA} there"):
            await initiator.attach(Mapping("volume", NAA, IQN, 7))
        with pytest.raises(Misuse, match=r"mapped to iqn\.other, not to us"):
            await initiator.attach(Mapping("volume", NAA, "iqn.other", 7))
        with pytest.raises(Misuse, match="use 1 to 64"):
            IscsiInitiator(target.portal, IQN, sessions=0)

    run(scenario, Scripted({}))


def test_a_lun_that_shows_late_is_waited_for():
    async def scenario(target):
        def script(_talk, asked):
            if [op for op, _ in target.commands].count(0xA0) == 3:
                target.luns[5] = disk()

        target.script = script
        patient = Limits(rescan_seconds=10.0)
        initiator = IscsiInitiator(target.portal, IQN, TARGET, limits=patient)
        device = await initiator.attach(Mapping("volume", NAA, IQN, 5))
        assert await read(device) == bytes(target.luns[5].data)
        await device.close()

    run(scenario, Scripted({}))


def test_luns_of_a_target_share_its_sessions():
    async def scenario(target):
        initiator = IscsiInitiator(target.portal, IQN, TARGET, sessions=2)
        one = await initiator.attach(target.mapping(5))
        two = await initiator.attach(target.mapping(6))
        assert len(target.logins) == 2
        await one.close()
        await one.close()
        assert await read(two) == bytes(target.luns[6].data)
        assert not target.logouts
        await two.close()
        assert target.logouts == 2
        three = await initiator.attach(target.mapping(5))
        assert await read(three) == bytes(target.luns[5].data)
        await three.close()

    run(scenario, Scripted({5: disk(), 6: disk(OTHER)}))


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
