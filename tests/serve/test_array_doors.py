"""The array's vendor interface over real sockets, and a site that lives through its requests again."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress

import httpx
import pytest

from serve.going import going
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.adapters.wsapi.problems import Answered
from stuntdouble.arrayapi import Request
from stuntdouble.errors import InvalidState, Lost, Misuse, NotFound
from stuntdouble.scenarios.build import BACKUP_IQN
from stuntdouble.serve import blocks, threads
from stuntdouble.serve.arrays import WSAPI, wsapi_endpoint
from stuntdouble.serve.listening import Address
from stuntdouble.serve.reviving import in_thread, revived, understood

pytestmark = pytest.mark.paced

SERVER = "iqn.2026-11.org.example:backup-server"
ANY = Address("127.0.0.1", 0)
NEW = {"name": "new", "cpg": "pool-1", "sizeMiB": 256, "tpvv": True}


def opened(talk, *, rate=20.0, limit_seconds=30.0, tls=False):
    """Run ``talk(live, control, endpoint, url)`` while the interface listens."""

    async def main(live, control):
        endpoint = wsapi_endpoint(
            live, ANY, "admin", "secret", tls=tls, limit_seconds=limit_seconds
        )
        listening = await endpoint.start()
        assert (listening.name, listening.user) == ("wsapi", "admin")
        try:
            return await talk(live, control, endpoint, listening)
        finally:
            await endpoint.stop()
            await endpoint.stop()

    return going(main, rate=rate)


def beside(url, talk, **options):
    """Run ``talk(array, client)`` on a loop and in a thread of its own, as another program would."""

    async def main():
        async with WsapiClient(url, "admin", "secret", **options) as client:
            return await talk(WsapiArray(client), client)

    return asyncio.to_thread(lambda: asyncio.run(main()))


def state(world):
    """Return what the array holds, as this interface shows it and as it is."""
    array = world.arrays["array-1"]
    return {
        "now": world.env.now,
        "volumes": {v.name: (v.id, v.uuid, v.naa) for v in array.inventory.volumes.values()},
        "snapshots": {
            s.name: (s.id, s.uuid, s.naa, s.created) for s in array.inventory.snapshots.values()
        },
        "mappings": array.mappings(),
        "hosts": [(h.name, h.number, h.iqns, h.notes) for h in array.hosts.all()],
        "journal": [(e.time, e.kind, e.subject, str(e.facts)) for e in world.journal],
    }


async def life(array, client):
    """Go through half of a life cycle, and be refused a few things."""
    naa = (await array.volumes())[0].naa
    await array.create_snapshots((naa,), "kept")
    with pytest.raises(InvalidState):
        await array.create_snapshots((naa,), "kept")
    await array.promote("kept", "kept-copy")
    await array.map_volume("kept-copy", SERVER)
    await array.promote("kept", "own", read_only=False)
    with pytest.raises(NotFound):
        await array.promote("none", "other")
    await client.ask("POST", "volumesets", {"name": "set-1", "setmembers": ["vol-1", "own"]})
    await client.ask("PUT", "volumes/own", {"comment": "the server's"})
    return array


def test_a_life_cycle_over_sockets_leaves_nothing():
    async def talk(live, control, endpoint, listening):
        async def whole(array, client):
            await life(array, client)
            await client.ask("DELETE", "volumesets/set-1")
            await array.unmap_volume("kept-copy", SERVER)
            for name in ("kept-copy", "own"):
                await array.delete_volume(name)
            await array.delete_snapshot("kept")
            return await array.volumes(), await array.snapshots(), await array.mappings()

        volumes, snapshots, mappings = await beside(listening.url, whole)
        assert ([v.name for v in volumes], snapshots, mappings) == (["vol-1"], (), ())
        assert live.world.arrays["array-1"].hosts.all() == ()

    opened(talk)


def test_a_site_lives_through_its_requests_again():
    async def talk(live, control, endpoint, listening):
        await beside(listening.url, life)
        await asyncio.sleep(2.5)
        taken = live.checkpoint()
        doors = {door for door, _ in ((i["door"], i) for i in taken["inputs"])}
        assert doors == {WSAPI}
        assert all(i["payload"]["method"] != "GET" for i in taken["inputs"])
        assert "secret" not in json.dumps(taken)
        start, inputs, seconds = understood(json.loads(json.dumps(taken)), None)
        again = await in_thread(lambda: revived(start, dict(live.doors), inputs, seconds))
        with live.world.env.entered():
            there = state(live.world) | {"now": seconds}
        assert {k for k, v in state(again).items() if there[k] != v} == set()
        shown = []
        for world in (live.world, again):
            request = Request("GET", "/api/v1/volumesets")
            with world.env.entered():
                event = endpoint._begun(world, request)
            while not event.processed:
                await asyncio.sleep(0.01) if world is live.world else world.env.step()
            shown.append(event.value.body)
        assert shown[0] == shown[1]
        assert shown[0]["members"][0]["setmembers"] == ["vol-1", "own"]

    opened(talk)


def test_clients_go_on_with_the_site_that_was_put_back():
    async def talk(live, control, endpoint, listening):
        async def steps(array, client):
            naa = (await array.volumes())[0].naa
            await array.create_snapshots((naa,), "before")
            await asyncio.to_thread(lambda: ask("take"))
            await array.create_snapshots((naa,), "after")
            await asyncio.to_thread(lambda: ask("restore"))
            return [s.name for s in await array.snapshots()]

        taken = []

        async def take(what):
            if what == "take":
                taken.append(live.checkpoint())
            else:
                await live.restore(taken[0])

        def ask(what):
            asyncio.run_coroutine_threadsafe(take(what), live.loop).result(30)

        assert await beside(listening.url, steps) == ["before"]
        assert len(endpoint._personalities) == 1

    opened(talk)


def test_a_connection_is_cut_after_the_request_was_done():
    async def talk(live, control, endpoint, listening):
        async def cut(array, client):
            await array.volumes()
            endpoint.faults.change({"drop_after_commit": 1})
            body = {"name": "h1", "iSCSINames": [SERVER]}
            with pytest.raises(Lost):
                await client.ask("POST", "hosts", body)
            return await client.listed("hosts")

        assert [host["name"] for host in await beside(listening.url, cut)] == ["h1"]

    opened(talk)


def answers(url, *pieces):
    """Send pieces over one connection, until it is closed; return what came back."""
    where = httpx.URL(url)
    wire = socket.create_connection((where.host, where.port), timeout=30)
    found = b""
    with wire, suppress(ConnectionError):
        for piece in pieces:
            wire.sendall(piece)
        while data := wire.recv(65536):
            found += data
    return found


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET /api HTTP/1.1\r\nHost: x\r\n",
        b"POST /api/v1/credentials HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
        b"\r\n",
    ],
)
def test_who_does_not_finish_a_request_is_not_waited_for(half, monkeypatch):
    monkeypatch.setattr(threads, "REQUEST_SECONDS", 0.3)

    async def talk(live, control, endpoint, listening):
        assert await asyncio.to_thread(answers, listening.url, half) == b""
        whole = b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n"
        found = await asyncio.to_thread(answers, listening.url, whole, half)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")

    opened(talk)


@pytest.mark.parametrize("head", [[b"x: y\r\n" * 1024] * 64, [b"x: "] + [b"y" * 4096] * 64])
def test_a_head_without_end_is_not_taken(head):
    async def talk(live, control, endpoint, listening):
        pieces = (b"GET /api HTTP/1.1\r\n", *head, b"\r\n\r\n")
        assert await asyncio.to_thread(answers, listening.url, *pieces) == b""

    opened(talk)


def test_an_answer_may_take_longer_than_its_request(monkeypatch):
    monkeypatch.setattr(threads, "REQUEST_SECONDS", 0.3)

    async def talk(live, control, endpoint, listening):
        endpoint.faults.change({"slow_seconds": 1.0})
        whole = b"GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        found = await asyncio.to_thread(answers, listening.url, whole)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")

    opened(talk)


def test_a_site_whose_clock_stands_is_late():
    async def talk(live, control, endpoint, listening):
        live.loop.pause()

        def ask():
            with httpx.Client(base_url=listening.url, timeout=20) as http:
                login = {"user": "admin", "password": "secret"}
                key = http.post("/credentials", json=login).json()["key"]
                header = {"X-HP3PAR-WSAPI-SessionKey": key}
                names = http.get("/volumes", headers=header).json()["members"]
                body = {"action": "createSnapshot", "parameters": {"name": "s", "readOnly": True}}
                late = http.post("/volumes/vol-1", json=body, headers=header)
                return names[0]["name"], late.status_code, late.json()["code"]

        assert await asyncio.to_thread(ask) == ("vol-1", 408, 7)
        live.loop.resume()

    opened(talk, limit_seconds=0.5)


def test_it_may_be_reached_by_https():
    async def talk(live, control, endpoint, listening):
        assert listening.url.startswith("https://127.0.0.1:")
        assert len(listening.fingerprint_sha256) == 95

        async def look(array, client):
            return (await client.get("wsapiconfiguration"))["httpsState"]

        assert await beside(listening.url, look, verify=False) == "Enabled"
        with pytest.raises(Lost):
            await beside(listening.url, look)

    opened(talk, tls=True)


def test_an_array_that_is_lost_does_not_answer():
    async def talk(live, control, endpoint, listening):
        live.world.arrays["array-1"].lose()

        async def look(array, client):
            with pytest.raises(Lost):
                await array.volumes()

        await beside(listening.url, look, retry_seconds=(0.0,))

    opened(talk)


def test_an_array_that_there_is_not_cannot_be_served():
    async def main(live, control):
        with pytest.raises(NotFound):
            wsapi_endpoint(live, ANY, "admin", "secret", array="array-9")
        first = wsapi_endpoint(live, ANY, "admin", "secret")
        port = int((await first.start()).url.rpartition(":")[2].split("/")[0])
        with pytest.raises(Misuse, match="--wsapi"):
            await wsapi_endpoint(live, Address("127.0.0.1", port), "a", "b").start()
        await first.stop()

    going(main)


def test_a_snapshot_that_is_mapped_itself_is_shown_and_can_be_read():
    async def talk(live, control, endpoint, listening):
        async def presented(array, client):
            naa = (await array.volumes())[0].naa
            await array.create_snapshots((naa,), "kept")
            copy = await array.promote("kept", "kept-copy")
            await array.map_volume("kept-copy", BACKUP_IQN)
            return copy

        copy = await beside(listening.url, presented)
        luns = [export for export in await control.exports() if export.kind == "lun"]
        assert [(lun.name, lun.read_only, lun.size_bytes) for lun in luns] == [
            (f"lun/{copy.naa}", True, copy.size_bytes)
        ]
        source = blocks._Luns(live.world)
        assert [name for name, _ in source.listing()] == [luns[0].name]
        assert source.find(luns[0].name).size_bytes == copy.size_bytes

    opened(talk)


def test_a_volume_that_carries_a_datastore_is_not_brought_back():
    async def talk(live, control, endpoint, listening):
        async def bring_back(array, client):
            await array.create_snapshots(((await array.volumes())[0].naa,), "kept")
            said = []
            for online in (False, True):
                body = {"action": 4, "online": online}
                with pytest.raises(Answered) as refusal:
                    await client.ask("PUT", "volumes/kept", body)
                said.append((refusal.value.status, "datastore" in refusal.value.text))
            return said

        assert await beside(listening.url, bring_back) == [(409, True), (409, True)]

    opened(talk)


def test_a_volume_under_a_datastore_is_not_deleted():
    async def talk(live, control, endpoint, listening):
        async def delete(array, client):
            with pytest.raises(InvalidState, match="datastore ds-1 lies on it"):
                await array.delete_volume("vol-1")
            await client.ask("POST", "volumes", NEW)
            await array.delete_volume("new")
            return [volume.name for volume in await array.volumes()]

        assert await beside(listening.url, delete) == ["vol-1"]

    opened(talk)
