"""The array as a FlashArray over real sockets; beside WSAPI; and a site that lives through it again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from serve.going import going, origin
from stuntdouble.adapters.pure import PureArray, PureClient
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.arrayapi import Request
from stuntdouble.errors import AccessDenied, InvalidState, Lost, Misuse, Unreachable
from stuntdouble.scenarios.vendors import as_flasharrays
from stuntdouble.serve.arrays import wsapi_endpoint
from stuntdouble.serve.flasharray import PURE, pure_endpoint
from stuntdouble.serve.listening import Address
from stuntdouble.serve.reviving import in_thread, revived, understood

pytestmark = pytest.mark.paced

SERVER = "iqn.2026-11.org.example:backup-server"
ANY = Address("127.0.0.1", 0)


def flasharrays():
    start = origin()
    return replace(start, scenario=as_flasharrays(start.scenario))


def opened(talk, *, rate=20.0, **options):
    """Run ``talk(live, endpoint, listening)`` while the interface listens."""

    async def main(live, control):
        endpoint = pure_endpoint(live, ANY, "admin", "secret", api_token="token", **options)
        listening = await endpoint.start()
        assert (listening.name, listening.user) == ("pure", "admin")
        assert listening.url.startswith("https://127.0.0.1:")
        try:
            return await talk(live, endpoint, listening)
        finally:
            await endpoint.stop()

    return going(main, rate=rate, start=flasharrays())


def beside(listening, talk, token="token", **options):
    """Run ``talk(array, client)`` on a loop and in a thread of its own, as another program would."""
    options = options or {"fingerprint": listening.fingerprint_sha256}

    async def main():
        async with PureClient(listening.url, token, **options) as client:
            return await talk(PureArray(client), client)

    return asyncio.to_thread(lambda: asyncio.run(main()))


async def life(array, client):
    """Go through half of a life cycle, and be refused a few things."""
    naa = (await array.volumes())[0].naa
    await array.create_snapshots((naa,), "kept")
    with pytest.raises(InvalidState):
        await array.create_snapshots((naa,), "kept")
    await array.promote("vol-1.kept", "kept-copy")
    await array.map_volume("kept-copy", SERVER)
    await client.change("POST", "protection-groups", {}, names="pg")
    members = {"group_names": "pg", "member_names": "vol-1"}
    await client.change("POST", "protection-groups/volumes", None, **members)
    await client.change("POST", "protection-group-snapshots", {"suffix": "s"}, source_names="pg")


def test_a_life_cycle_over_sockets_leaves_nothing():
    async def talk(live, endpoint, listening):
        async def whole(array, client):
            await life(array, client)
            for destroyed in ("protection-group-snapshots", "protection-groups"):
                name = "pg.s" if destroyed.endswith("snapshots") else "pg"
                await client.change("PATCH", destroyed, {"destroyed": True}, names=name)
                await client.change("DELETE", destroyed, None, names=name)
            await array.unmap_volume("kept-copy", SERVER)
            await array.delete_volume("kept-copy")
            await array.delete_snapshot("vol-1.kept")
            return await array.volumes(), await array.snapshots(), await array.mappings()

        volumes, snapshots, mappings = await beside(listening, whole)
        assert ([v.name for v in volumes], snapshots, mappings) == (["vol-1"], (), ())
        assert live.world.arrays["array-1"].hosts.all() == ()

    opened(talk)


def test_whoever_asks_has_to_be_known_and_so_has_the_array():
    async def talk(live, endpoint, listening):
        async def look(array, client):
            return await array.volumes()

        assert len(await beside(listening, look, insecure=True)) == 1
        with pytest.raises(AccessDenied):
            await beside(listening, look, token="wrong")
        with pytest.raises(Unreachable):
            await beside(listening, look, insecure=False)
        with pytest.raises(AccessDenied):
            await beside(listening, look, fingerprint="00" * 32)

    opened(talk)


def test_a_site_lives_through_its_requests_again():
    async def talk(live, endpoint, listening):
        await beside(listening, life)
        taken = live.checkpoint()
        assert {i["door"] for i in taken["inputs"]} == {PURE}
        assert all(i["payload"]["method"] != "GET" for i in taken["inputs"])
        assert "token" not in json.dumps([i["payload"]["query"] for i in taken["inputs"]])
        start, inputs, seconds = understood(json.loads(json.dumps(taken)), None)
        again = await in_thread(lambda: revived(start, dict(live.doors), inputs, seconds))
        shown = []
        for world in (live.world, again):
            each = []
            for path in (
                "volumes",
                "volume-snapshots",
                "hosts",
                "connections",
                "protection-groups",
            ):
                request = Request("GET", f"/api/2.26/{path}")
                with world.env.entered():
                    event = endpoint._begun(world, request)
                while not event.processed:
                    await asyncio.sleep(0.01) if world is live.world else world.env.step()
                items = event.value.body["items"]
                each.append([{k: v for k, v in item.items() if k != "space"} for item in items])
            shown.append(each)
        assert shown[0] == shown[1]
        assert [len(each) for each in shown[0]] == [2, 2, 1, 1, 1]

    opened(talk)


def test_a_connection_is_cut_after_the_request_was_done():
    async def talk(live, endpoint, listening):
        async def cut(array, client):
            await array.volumes()
            endpoint.faults.change({"drop_after_commit": 1})
            with pytest.raises(Lost):
                await client.change("POST", "hosts", {"iqns": [SERVER]}, names="h1")
            endpoint.faults.change({"drop_after_commit": 1, "match": "POST *"})
            (snapshot,) = await array.create_snapshots(((await array.volumes())[0].naa,), "s")
            return snapshot.name, [host["name"] for host in await client.items("hosts")]

        assert await beside(listening, cut) == ("vol-1.s", ["h1"])
        assert len(live.world.arrays["array-1"].inventory.snapshots) == 1

    opened(talk)


def test_both_interfaces_say_the_same_of_one_array():
    async def main(live, control):
        pure = pure_endpoint(live, ANY, "admin", "secret")
        wsapi = wsapi_endpoint(live, ANY, "admin", "secret")
        by_pure, by_wsapi = await pure.start(), await wsapi.start()

        def run():
            async def talk():
                print_ = by_pure.fingerprint_sha256
                async with (
                    PureClient(by_pure.url, "secret", fingerprint=print_) as one,
                    WsapiClient(by_wsapi.url, "admin", "secret") as other,
                ):
                    await agreeing(PureArray(one), WsapiArray(other), other)

            asyncio.run(talk())

        try:
            await asyncio.to_thread(run)
        finally:
            await pure.stop()
            await wsapi.stop()

    going(main, start=flasharrays())


async def agreeing(pure, wsapi, client):
    """Make something by one, find it by the other, and take it away by the other still."""

    naa = (await pure.volumes())[0].naa
    assert naa in {volume.naa for volume in await wsapi.volumes()}
    await wsapi.create_snapshots((naa,), "by-wsapi")
    assert [s.name for s in await pure.snapshots()] == ["vol-1.by-wsapi"]
    copy = await pure.promote("vol-1.by-wsapi", "copy")
    (found,) = [vv for vv in await client.listed("volumes") if vv["name"] == "copy"]
    assert (found["wwn"].lower(), found["sizeMiB"] << 20) == (copy.naa, copy.size_bytes)
    mapping = await pure.map_volume("copy", SERVER)
    (seen,) = await wsapi.mappings()
    assert (seen.naa, seen.lun, seen.initiator_iqn) == (mapping.naa, mapping.lun, SERVER)
    with pytest.raises(InvalidState):
        await wsapi.delete_volume("copy")
    await wsapi.unmap_volume("copy", SERVER)
    assert await pure.mappings() == ()
    await pure.delete_volume("copy")
    await pure.delete_snapshot("vol-1.by-wsapi")
    assert await wsapi.snapshots() == ()
    await pure.create_snapshots((naa,), "by-pure")
    (snapshot,) = await wsapi.snapshots()
    await wsapi.delete_snapshot(snapshot.name)
    assert await pure.snapshots() == ()


def test_rest_1_keeps_its_cookie():
    async def talk(live, endpoint, listening):
        def ask():
            with httpx.Client(base_url=listening.url, verify=False) as http:
                body = {"username": "admin", "password": "secret"}
                token = http.post("/api/1.19/auth/apitoken", json=body).json()
                assert http.post("/api/1.19/auth/session", json=token).status_code == 200
                return [http.get("/api/1.19/volume").json()[0]["name"] for _ in range(3)]

        assert await asyncio.to_thread(ask) == ["vol-1"] * 3

    opened(talk)


def test_an_array_of_another_vendor_cannot_be_served():
    async def main(live, control):
        with pytest.raises(Misuse, match="naa_prefix of array array-1"):
            pure_endpoint(live, ANY, "admin", "secret")

    going(main)


def test_what_a_scenario_says_itself_stays():
    scenario = origin().scenario
    (array,) = as_flasharrays(scenario).arrays
    assert array.parameters["exhaustion"] == "refuse"
    own = scenario.arrays[0].model_copy(update={"parameters": {"exhaustion": "invalidate"}})
    changed = as_flasharrays(scenario.model_copy(update={"arrays": (own,)}))
    assert changed.arrays[0].parameters["exhaustion"] == "invalidate"
    assert as_flasharrays(scenario, "another").arrays == scenario.arrays
