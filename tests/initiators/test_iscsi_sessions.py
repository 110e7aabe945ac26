"""From a portal to a LUN: discovery, login, proofs, and finding a volume."""

from __future__ import annotations

import asyncio

import pytest

from initiators.attaching import BOTH, OTHER, QUICK, USER, attached, disk, fails, read, run
from initiators.scripted import (
    IQN,
    NAA,
    TARGET,
    Scripted,
    served,
)
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Misuse,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.initiators.iscsi import (
    DigestUse,
    IscsiInitiator,
    Limits,
    Who,
    discover,
    new_isid,
    session,
)
from stuntdouble.initiators.iscsi.talk import parse_portal
from stuntdouble.ports import Mapping

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
