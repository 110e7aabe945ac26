"""Our client of WSAPI against the emulated interface, in virtual time: the life cycle and its faults."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from arrayapi.wsapi_rig import PASSWORD, SERVER, URL, USER, build
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.clock import run
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    LimitReached,
    Lost,
    Misuse,
    NotFound,
    Unreachable,
)

OTHER = "iqn.2026-01.example:other"


class Broken(httpx.ASGITransport):
    """A connection that is cut looks to the client as it does on a network."""

    async def handle_async_request(self, request):
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as error:
            raise httpx.ReadError(str(error), request=request) from error


def using(talk, *, password=PASSWORD, **options):
    """Run ``talk(array, rig, client)`` with volumes v1 and v2."""

    async def main(env):
        rig = build(env, **options)
        rig.volume("v1")
        rig.volume("v2")
        transport = Broken(rig.app)
        async with WsapiClient(URL, USER, password, transport=transport) as client:
            return await talk(WsapiArray(client), rig, client)

    return run(main)


def naas(rig, *names):
    return tuple(rig.array.volume(name).naa for name in names)


async def left(array):
    """Return what there is beside v1 and v2."""
    volumes = [each.name for each in await array.volumes() if each.name not in ("v1", "v2")]
    return volumes, await array.snapshots(), await array.mappings()


def test_the_life_cycle_of_one_snapshot_leaves_nothing():
    async def talk(array, rig, client):
        assert await array.prepare(naas(rig, "v1")) == 0
        (snapshot,) = await array.create_snapshots(naas(rig, "v1"), "job.1")
        assert (snapshot.name, snapshot.volume, snapshot.valid) == ("job.1", "v1", True)
        copy = await array.promote("job.1", "job.1-copy")
        assert (copy.promoted_from, copy.read_only, copy.size_bytes) == ("job.1", True, 256 << 20)
        assert copy in await array.volumes()
        mapping = await array.map_volume("job.1-copy", SERVER)
        assert (mapping.volume, mapping.naa, mapping.lun) == ("job.1-copy", copy.naa, 0)
        assert [v.naa for v in rig.array.luns(SERVER).values()] == [copy.naa]
        assert await array.mappings() == (mapping,)
        for refused in (array.delete_volume("job.1-copy"), array.delete_snapshot("job.1")):
            with pytest.raises(InvalidState):
                await refused
        for _ in range(2):
            await array.unmap_volume("job.1-copy", SERVER)
        for _ in range(2):
            await array.delete_volume("job.1-copy")
        for _ in range(2):
            await array.delete_snapshot("job.1")
        assert await left(array) == ([], (), ())
        assert rig.array.hosts.all() == ()

    using(talk)


def test_several_volumes_are_one_group_and_no_set_stays():
    async def talk(array, rig, client):
        made = await array.create_snapshots(naas(rig, "v2", "v1"), "job.1")
        assert [(s.name, s.volume) for s in made] == [("job.1.0", "v2"), ("job.1.1", "v1")]
        assert len({s.created for s in rig.array.inventory.snapshots.values()}) == 1
        assert await client.listed("volumesets") == []
        with pytest.raises(InvalidState, match="there already"):
            await array.create_snapshots(naas(rig, "v2", "v1"), "job.1")
        assert await client.listed("volumesets") == []
        for each in made:
            await array.delete_snapshot(each.name)
        assert await left(array) == ([], (), ())

    using(talk)


def test_a_writable_promotion_is_a_volume_of_its_own():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        copy = await array.promote("s", "c", read_only=False)
        assert (copy.name, copy.read_only, copy.promoted_from) == ("c", False, "s")
        assert copy in await array.volumes()
        assert rig.array.volume("c").naa == copy.naa != rig.array.snapshot("s").naa
        with pytest.raises(InvalidState):
            await array.delete_snapshot("s")
        with pytest.raises(InvalidState):
            await array.promote("s", "c", read_only=False)
        mapping = await array.map_volume("c", SERVER)
        with pytest.raises(InvalidState):
            await array.delete_volume("c")
        await array.unmap_volume("c", mapping.initiator_iqn)
        await array.delete_volume("c")
        await array.delete_snapshot("s")
        assert await left(array) == ([], (), ())

    using(talk)


def test_names_that_are_taken_or_unknown_are_refused():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        await array.create_snapshots(naas(rig, "v1"), "t")
        await array.promote("s", "c")
        for snapshot, name in (("t", "c"), ("t", "v2"), ("s", "d")):
            with pytest.raises(InvalidState):
                await array.promote(snapshot, name)
        for snapshot in ("none", "v1"):
            with pytest.raises(NotFound):
                await array.promote(snapshot, "e")
        with pytest.raises(NotFound):
            await array.map_volume("none", SERVER)
        with pytest.raises(NotFound):
            await array.create_snapshots(("6" * 32,), "u")
        with pytest.raises(NotFound):
            await array.prepare(("6" * 32,))
        with pytest.raises(Misuse):
            await array.create_snapshots(naas(rig, "v1"), "n" * 32)
        await array.map_volume("c", SERVER)
        with pytest.raises(InvalidState):
            await array.map_volume("c", SERVER)
        await array.delete_volume("none")
        await array.delete_snapshot("none")
        await array.unmap_volume("none", OTHER)

    using(talk)


def test_a_host_that_was_there_stays_and_serves_all_its_initiators():
    async def talk(array, rig, client):
        rig.array.hosts.create("backup", (SERVER, OTHER))
        await array.map_volume("v1", OTHER)
        assert [(m.initiator_iqn, m.lun) for m in await array.mappings()] == [
            (SERVER, 0),
            (OTHER, 0),
        ]
        await array.unmap_volume("v1", SERVER)
        assert [host.name for host in rig.array.hosts.all()] == ["backup"]
        assert await array.mappings() == ()

    using(talk)


def test_a_host_that_was_made_stays_while_it_sees_anything():
    async def talk(array, rig, client):
        await array.map_volume("v1", SERVER)
        await array.map_volume("v2", SERVER)
        await array.unmap_volume("v1", SERVER)
        assert [m.volume for m in await array.mappings()] == ["v2"]
        await array.unmap_volume("v2", SERVER)
        assert rig.array.hosts.all() == ()

    using(talk)


def test_another_client_after_a_crash_sees_the_snapshot_itself():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        await array.promote("s", "c")
        await array.map_volume("c", SERVER)
        later = WsapiArray(client)
        assert [m.volume for m in await later.mappings()] == ["s"]
        await later.delete_volume("c")
        with pytest.raises(InvalidState):
            await later.delete_snapshot("s")
        await later.unmap_volume("s", SERVER)
        await later.delete_snapshot("s")
        assert await left(later) == ([], (), ())

    using(talk)


def test_a_wrong_password_is_told_at_once():
    async def talk(array, rig, client):
        with pytest.raises(AccessDenied):
            await array.volumes()
        assert rig.sessions.open == 0

    using(talk, password="wrong")


def test_limits_are_told_from_a_service_that_is_away():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        before = rig.env.now
        with pytest.raises(LimitReached):
            await array.create_snapshots(naas(rig, "v1"), "t")
        assert rig.env.now - before < 1.0

    using(talk, snapshots_per_volume_max=1)


# What goes wrong on the way. -------------------------------------------------------------------


def test_a_session_that_ends_is_renewed_and_logged_out():
    async def talk(array, rig, client):
        await array.volumes()
        await asyncio.sleep(1000.0)
        await array.volumes()
        rig.faults.change({"unauthorised": 1})
        await array.create_snapshots(naas(rig, "v1"), "s")
        assert rig.sessions.open == 1
        await client.close()
        assert rig.sessions.open == 0

    using(talk)


def test_a_session_is_renewed_only_once():
    async def talk(array, rig, client):
        await array.volumes()
        rig.faults.change({"unauthorised": 100, "match": "GET /api/v1/volumes*"})
        with pytest.raises(InvalidState):
            await array.volumes()
        assert rig.faults.unauthorised == 98

    using(talk)


def test_patience_with_a_service_that_is_away_comes_back():
    async def talk(array, rig, client):
        await array.volumes()
        for _ in range(5):
            rig.faults.change({"unavailable": 4})
            assert len(await array.volumes()) == 2
        rig.faults.change({"unavailable": 1000})
        with pytest.raises(Unreachable):
            await array.snapshots()
        rig.faults.change({"unavailable": 0})
        assert len(await array.volumes()) == 2

    using(talk)


DONE_ONCE = {
    "a snapshot": ("POST /api/v1/volumes/v1", lambda a, rig: a.create_snapshots(naas(rig, "v1"), "t")),
    "a group": (
        "POST /api/v1/volumesets/*",
        lambda a, rig: a.create_snapshots(naas(rig, "v1", "v2"), "t"),
    ),
    "a promotion": ("POST /api/v1/volumes/s", lambda a, rig: a.promote("s", "c", read_only=False)),
    "a host": ("POST /api/v1/hosts", lambda a, rig: a.map_volume("v1", SERVER)),
    "a mapping": ("POST /api/v1/vluns", lambda a, rig: a.map_volume("v1", SERVER)),
    "an unmapping": ("DELETE /api/v1/vluns/*", lambda a, rig: a.unmap_volume("v2", OTHER)),
    "a deletion": ("DELETE /api/v1/volumes/s", lambda a, rig: a.delete_snapshot("s")),
}  # fmt: skip


@pytest.mark.parametrize("what", DONE_ONCE)
def test_what_was_done_and_not_answered_is_found(what):
    match, ask = DONE_ONCE[what]

    async def once(array, rig, faults):
        await array.create_snapshots(naas(rig, "v2"), "s")
        await array.map_volume("v2", OTHER)
        rig.faults.change(faults)
        await ask(array, rig)
        found = (
            sorted(rig.array.inventory.volumes),
            sorted(rig.array.inventory.snapshots),
            [(m.volume, m.lun) for m in rig.array.mappings()],
            [host.name for host in rig.array.hosts.all()],
        )
        assert rig.faults.drop_after_commit == 0
        return found

    without = using(lambda array, rig, _: once(array, rig, {}))
    faults = {"drop_after_commit": 1, "match": match}
    assert using(lambda array, rig, _: once(array, rig, faults)) == without


def test_a_set_that_could_not_be_dropped_is_dropped_later():
    async def talk(array, rig, client):
        rig.faults.change({"unavailable": 100, "match": "DELETE *"})
        made = await array.create_snapshots(naas(rig, "v1", "v2"), "s")
        assert len(made) == 2
        rig.faults.change({"unavailable": 0})
        assert len(await client.listed("volumesets")) == 1
        await array.create_snapshots(naas(rig, "v1", "v2"), "t")
        assert await client.listed("volumesets") == []

    using(talk)


@pytest.mark.parametrize("fault", ["truncated", "contradictory_total"])
@pytest.mark.parametrize("what", ["volumes", "snapshots", "mappings"])
def test_a_list_that_contradicts_itself_is_refused(fault, what):
    async def talk(array, rig, client):
        await array.map_volume("v1", SERVER)
        rig.faults.change({fault: 1})
        with pytest.raises(InvalidState, match="conclude"):
            await getattr(array, what)()
        await getattr(array, what)()

    using(talk)


def test_an_answer_without_its_body_is_asked_for_again():
    async def talk(array, rig, client):
        await array.volumes()
        rig.faults.change({"no_body": 1})
        assert len(await array.volumes()) == 2
        rig.faults.change({"no_body": 2})
        with pytest.raises(Lost):
            await array.volumes()

    using(talk)


@pytest.mark.parametrize(
    "members",
    [
        [{"name": "v"}],
        [{"name": "v", "wwn": "60", "sizeMiB": 1, "readOnly": False}],
        [{"name": "v", "wwn": "6" * 32, "sizeMiB": "1", "readOnly": False}],
        [{"name": "v", "wwn": "6" * 32, "sizeMiB": 1, "readOnly": 0}],
        ["v"],
        None,
    ],
)
def test_what_makes_no_sense_is_not_understood(members):
    def answer(request):
        if request.method == "POST":
            return httpx.Response(201, json={"key": "k"})
        total = len(members) if members is not None else 0
        return httpx.Response(200, json={"total": total, "members": members})

    async def main(env):
        transport = httpx.MockTransport(answer)
        async with WsapiClient(URL, USER, PASSWORD, transport=transport) as client:
            with pytest.raises(InvalidState):
                await WsapiArray(client).volumes()

    run(main)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (201, {}, Lost),
        (201, b"<html>", Lost),
        (200, b"", Lost),
        (500, b"oops", InvalidState),
        (302, b"", InvalidState),
        (404, {"code": 11, "desc": "no such resource"}, NotFound),
    ],
)
def test_a_login_at_something_else_fails(status, body, error):
    def answer(request):
        content = {"json": body} if isinstance(body, dict) else {"content": body}
        return httpx.Response(status, **content)

    async def main(env):
        transport = httpx.MockTransport(answer)
        async with WsapiClient(URL, USER, PASSWORD, transport=transport) as client:
            with pytest.raises(error):
                await WsapiArray(client).volumes()

    run(main)


def test_nobody_there_is_unreachable():
    def answer(request):
        raise httpx.ConnectError("refused", request=request)

    async def main(env):
        transport = httpx.MockTransport(answer)
        async with WsapiClient(URL, USER, PASSWORD, transport=transport) as client:
            with pytest.raises(Unreachable):
                await WsapiArray(client).volumes()

    run(main)


def test_many_requests_at_once_are_one_session():
    async def talk(array, rig, client):
        found = await asyncio.gather(*(array.volumes() for _ in range(8)))
        assert all(len(each) == 2 for each in found)
        assert rig.sessions.open == 1
        rig.faults.change({"unauthorised": 1})
        await asyncio.gather(*(array.volumes() for _ in range(3)))
        assert (rig.sessions.open, rig.faults.unauthorised) == (1, 0)

    using(talk)


def test_a_name_that_is_there_after_a_503_is_ones_own():
    """Nobody knows whether a service that was away had done something before."""

    async def talk(array, rig, client):
        real, left = client._sent, [1]

        async def away(method, path, body, query, key):
            answer = await real(method, path, body, query, key)
            if method == "POST" and path == "volumes/v1" and left:
                left.pop()
                answer.status, answer.body = 503, None
            return answer

        client._sent = away
        (snapshot,) = await array.create_snapshots(naas(rig, "v1"), "s")
        assert (snapshot.name, left) == ("s", [])

    using(talk)
