"""Our client of WSAPI where something goes wrong on the way."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from adapters.wsapi_client_rig import OTHER, naas, using
from arrayapi.wsapi_rig import PASSWORD, SERVER, URL, USER
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.adapters.wsapi.hosts import own_name
from stuntdouble.clock import run
from stuntdouble.errors import (
    InvalidState,
    Lost,
    NotFound,
    Unreachable,
)

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


def test_a_set_that_was_left_is_used_if_it_is_the_same():
    async def talk(array, rig, client):
        left = {"name": "s", "setmembers": ["v1", "v2"]}
        await client.ask("POST", "volumesets", left)
        with pytest.raises(InvalidState, match="set exists"):
            await array.create_snapshots(naas(rig, "v2", "v1"), "s")
        assert [each["name"] for each in await client.listed("volumesets")] == ["s"]
        assert len(await array.create_snapshots(naas(rig, "v1", "v2"), "s")) == 2
        assert await client.listed("volumesets") == []

    using(talk)


def test_a_host_that_was_made_for_nothing_goes():
    async def talk(array, rig, client):
        rig.faults.change({"unavailable": 100, "match": "POST /api/v1/vluns"})
        with pytest.raises(Unreachable):
            await array.map_volume("v1", SERVER)
        assert rig.array.hosts.all() == ()

    using(talk)


def test_a_host_whose_name_somebody_else_has_is_not_taken():
    async def talk(array, rig, client):
        rig.array.hosts.create(own_name(SERVER), (OTHER,))
        with pytest.raises(InvalidState, match="host"):
            await array.map_volume("v1", SERVER)
        assert await array.mappings() == ()

    using(talk)


def test_a_request_for_a_host_that_did_not_arrive_is_lost():
    async def talk(array, rig, client):
        real = client._sent

        async def deaf(method, path, body, query, key):
            if (method, path) == ("POST", "hosts"):
                raise Unreachable("the array")
            return await real(method, path, body, query, key)

        client._sent = deaf
        with pytest.raises(Unreachable):
            await array.map_volume("v1", SERVER)

    using(talk)


def test_a_snapshot_that_was_given_up_is_not_promoted():
    async def talk(array, rig, client):
        await array.create_snapshots(naas(rig, "v1"), "s")
        volume, chunk = rig.array.volume("v1"), rig.array.parameters.chunk_bytes
        with rig.env.entered():
            for at in range(0, 32 * chunk, chunk):
                rig.array.core.site.volume_write(volume.lun, at, chunk)
        assert [each.valid for each in await array.snapshots()] == [False]
        with pytest.raises(InvalidState, match="no longer valid"):
            await array.promote("s", "c")
        await array.delete_snapshot("s")

    using(talk, reserve=1 << 20)


@pytest.mark.parametrize("location", ["", "/api/v1/vluns/v1", "/api/v1/vluns/v1,x,h"])
def test_a_mapping_without_a_number_is_refused(location):
    async def talk(array, rig, client):
        real = client._sent

        async def elsewhere(method, path, body, query, key):
            answer = await real(method, path, body, query, key)
            if (method, path) == ("POST", "vluns"):
                answer.location = location
            return answer

        client._sent = elsewhere
        with pytest.raises(InvalidState, match="LUN"):
            await array.map_volume("v1", SERVER)

    using(talk)


@pytest.mark.parametrize("status", [408, 502, 504])
def test_what_took_too_long_may_have_been_done(status):
    async def talk(array, rig, client):
        real = client._sent

        async def late(method, path, body, query, key):
            answer = await real(method, path, body, query, key)
            if (method, path) == ("POST", "volumes/v1"):
                answer.status, answer.body = status, {"code": 7, "desc": "timeout"}
            return answer

        client._sent = late
        (snapshot,) = await array.create_snapshots(naas(rig, "v1"), "s")
        assert snapshot.name == "s"
        rig.faults.change({"unavailable": 5, "match": "POST /api/v1/volumes/v1"})
        with pytest.raises(Lost):
            await array.create_snapshots(naas(rig, "v1"), "t")

    using(talk)
