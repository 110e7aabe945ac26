"""Faults at the wire and on the data path, switched while the site runs, as clients meet them."""

from __future__ import annotations

import asyncio

import pytest

from serve.going import going
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.arrayapi import WireFaults
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Lost,
    MediumError,
    Misuse,
    NotFound,
    Refused,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators import IscsiInitiator
from stuntdouble.native import overlays as o
from stuntdouble.ports import Throttle
from stuntdouble.serve.arrays import wsapi_endpoint
from stuntdouble.serve.iscsi import IscsiEndpoint
from stuntdouble.serve.listening import Address
from stuntdouble.units import MIB

pytestmark = pytest.mark.paced

SERVER = "iqn.2026-11.org.example:backup-server"
ANY = Address("127.0.0.1", 0)


def opened(talk, rate=20.0):
    """Run ``talk(live, control, url, portal)`` while WSAPI and iSCSI are served."""

    async def main(live, control):
        ends = [IscsiEndpoint(live, ANY), wsapi_endpoint(live, ANY, "admin", "secret")]
        try:
            iscsi, wsapi = [await each.start() for each in ends]
            return await talk(live, control, wsapi.url, iscsi.url.removeprefix("iscsi://"))
        finally:
            for each in ends:
                await each.stop()

    return going(main, rate=rate)


async def beside(work):
    """Run *work* on a loop and in a thread of its own, as another program would."""
    return await asyncio.to_thread(lambda: asyncio.run(work))


async def mapped(control):
    (volume,) = await control.volumes("array-1")
    return await control.act(
        "map", array="array-1", volume=volume.name, initiator_iqn=SERVER
    ), volume


async def read(portal, mapping, runs):
    """Return the bytes of *runs*, joined."""
    device = await IscsiInitiator(portal, SERVER).attach(mapping)
    try:
        return b"".join([bytes(span.data) async for span in device.read(runs, Throttle(depth=4))])
    finally:
        await device.close()


def test_planned_faults_reach_an_initiator_and_go_away_with_a_word():
    whole = Runs.single(0, 4 * MIB)

    async def talk(live, control, _url, portal):
        mapping, volume = await mapped(control)
        good = await beside(read(portal, mapping, whole))
        assert await control.data_faults("array-1") == []

        bad = {"kind": "medium-error", "naa": volume.naa, "block": 100, "blocks": 2}
        await control.set_data_faults("array-1", [bad])
        with pytest.raises(MediumError):
            await beside(read(portal, mapping, whole))
        assert await beside(read(portal, mapping, Runs.single(MIB, MIB))) == good[MIB : 2 * MIB]
        (fault,) = await control.data_faults("array-1")
        assert fault.fired >= 1
        assert fault.plan["block"] == 100

        await control.set_data_faults("array-1", [{"kind": "corruption", "bytes": 3, "times": 1}])
        wrong = await beside(read(portal, mapping, whole))
        assert sum(a != b for a, b in zip(wrong, good, strict=True)) == 3, "and nothing says so"

        busy = {"kind": "busy", "times": 5}
        await control.set_data_faults("array-1", [busy, {"kind": "latency", "seconds": 1.0}])
        assert await beside(read(portal, mapping, Runs.single(0, MIB))) == good[:MIB]

        await control.set_data_faults("array-1", [{"kind": "pulled", "after": 3}])
        with pytest.raises((AccessDenied, NotFound, Refused, Lost)):
            await beside(read(portal, mapping, whole))
        await control.set_data_faults("array-1", [])
        assert await beside(read(portal, mapping, whole)) == good

    opened(talk)


def test_a_dropped_session_is_made_up_for_by_the_initiator():
    async def talk(_live, control, _url, portal):
        mapping, _ = await mapped(control)
        good = await beside(read(portal, mapping, Runs.single(0, 8 * MIB)))
        slow = {"kind": "latency", "seconds": 2.0, "commands": ["read"]}
        await control.set_data_faults("array-1", [slow])
        reading = asyncio.ensure_future(beside(read(portal, mapping, Runs.single(0, 8 * MIB))))
        dropped = 0
        while not reading.done() and dropped < 3:
            await asyncio.sleep(1.0)
            dropped += (await control.drop_sessions(o.Drop(initiator_iqn=SERVER))).sessions
        assert dropped >= 1
        assert await reading == good
        nobody = await control.drop_sessions(o.Drop(initiator_iqn="iqn.2026-11.org.example:other"))
        assert nobody.sessions == 0

    opened(talk)


def test_the_wire_of_a_vendors_interface_is_switched():
    async def names(url):
        async with WsapiClient(url, "admin", "secret", retry_seconds=(0.01,) * 4) as client:
            return [each.name for each in await WsapiArray(client).volumes()]

    async def talk(_live, control, url, _portal):
        assert await control.wire_faults() == {"wsapi": o.WireFaults()}
        good = await beside(names(url))
        await control.set_wire_faults("wsapi", o.WireFaults(unavailable=3, match="GET *"))
        assert (await control.wire_faults())["wsapi"].unavailable == 3
        assert await beside(names(url)) == good, "three times is not for ever"
        assert (await control.wire_faults())["wsapi"].unavailable == 0
        await control.set_wire_faults("wsapi", o.WireFaults(contradictory_total=9, match="GET *"))
        with pytest.raises(InvalidState, match="cannot conclude"):
            await beside(names(url))
        await control.set_wire_faults("wsapi", o.WireFaults())
        assert await beside(names(url)) == good

    opened(talk)


def test_what_makes_no_sense_changes_nothing():
    async def talk(_live, control, _url, _portal):
        await control.set_data_faults("array-1", [{"kind": "busy"}])
        for wrong in ({"kind": "flood"}, {"kind": "latency"}, {"kind": "busy", "block": 1}, {}):
            with pytest.raises(Misuse, match=r"plans\[1\]"):
                await control.set_data_faults("array-1", [{"kind": "busy"}, wrong])
        assert [each.plan["kind"] for each in await control.data_faults("array-1")] == ["busy"]
        with pytest.raises(NotFound):
            await control.set_data_faults("array-9", [])
        with pytest.raises(NotFound, match="pure"):
            await control.set_wire_faults("pure", o.WireFaults())

    opened(talk)

    async def closed(_live, control):
        with pytest.raises(InvalidState, match="--iscsi"):
            await control.drop_sessions(o.Drop())
        assert await control.wire_faults() == {}

    going(closed)


def test_the_native_switches_are_those_of_the_wire():
    assert o.WireFaults().model_dump() == WireFaults().shown()
