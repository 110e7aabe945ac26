"""Exports: what a host comes to see, how it is told, and what is refused."""

from __future__ import annotations

import asyncio

import pytest

from arrayapi.wsapi_rig import SERVER, refused, talking
from stuntdouble.clock import perform

PORT0 = {"node": 0, "slot": 2, "cardPort": 1}
PORT1 = {"node": 1, "slot": 2, "cardPort": 1}


def exporting(talk, **options):
    """Talk to a rig with volumes v1 and v2, and a host h1 with an initiator."""

    async def main(rig):
        rig.volume("v1")
        rig.volume("v2")
        await rig.fine("POST", "hosts", {"name": "h1", "iSCSINames": [SERVER]})
        return await talk(rig)

    return talking(main, **options)


def export(rig, **more):
    return rig("POST", "vluns", {"volumeName": "v1", "hostname": "h1"} | more)


def test_an_export_is_told_as_template_and_once_for_each_path():
    async def talk(rig):
        made = await export(rig, lun=7)
        assert (made.status, made.body, made.location) == (201, None, "/api/v1/vluns/v1,7,h1")
        naa = rig.array.volume("v1").naa
        assert {lun: v.naa for lun, v in rig.array.luns(SERVER).items()} == {7: naa}
        found = (await rig.fine("GET", "vluns")).body
        assert found["total"] == 3
        template, *active = found["members"]
        assert (template["active"], template["type"], template["lun"]) == (False, 3, 7)
        assert (template["volumeWWN"], "portPos" in template) == (naa.upper(), False)
        assert [each["remoteName"] for each in active] == [SERVER, SERVER]
        assert [each["portPos"] for each in active] == [PORT0, PORT1]
        assert (await rig.fine("GET", "vluns/v1,7,h1")).body == template

    exporting(talk)


def test_lun_numbers_are_given_from_the_lowest_free_one():
    async def talk(rig):
        assert (await export(rig, autoLun=True, maxAutoLun=0, lun=0)).location.endswith("v1,0,h1")
        second = {"volumeName": "v2", "autoLun": True}
        assert (await export(rig, **second)).location.endswith("v2,1,h1")
        await rig.fine("DELETE", "vluns/v1,0,h1")
        await rig.fine("DELETE", "vluns/v2,1,h1")
        assert (await export(rig, autoLun=True, lun=5, maxAutoLun=5)).location.endswith("v1,5,h1")
        full = await export(rig, **second, lun=5, maxAutoLun=5)
        assert refused(full, "AUTO_LUN_ID_UNAVAILABLE")

    exporting(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({}, "INV_INPUT_MISSING_REQUIRED"),
        ({"volumeName": "v1"}, "MISSING_VLUN_EXPORT_INFO"),
        ({"volumeName": "v1", "hostname": "h1"}, "INV_INPUT"),
        ({"volumeName": "v9", "hostname": "h1", "lun": 1}, "NON_EXISTENT_VOL"),
        ({"volumeName": "v1", "hostname": "h9", "lun": 1}, "NON_EXISTENT_HOST"),
        ({"volumeName": "v1", "hostname": "h1", "lun": "1"}, "INV_INPUT_WRONG_TYPE"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 1.0}, "INV_INPUT_WRONG_TYPE"),
        ({"volumeName": "v1", "hostname": "h1", "lun": True}, "INV_INPUT_WRONG_TYPE"),
        ({"volumeName": "v1", "hostname": "h1", "lun": -1}, "INV_INPUT_BELOW_RANGE"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 16384}, "TOO_LARGE"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 300}, "TOO_LARGE"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 1, "maxAutoLun": 3}, "INV_INPUT_PARAM_CONFLICT"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 1, "LUN": 3}, "INV_INPUT"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 1, "noVcn": 1}, "INV_INPUT_WRONG_TYPE"),
        ({"volumeName": "v1", "portPos": PORT0, "lun": 1}, "UNSUP_OP"),
        (
            {"volumeName": "v1", "portPos": PORT0, "lun": 1, "overrideLowerPriority": True},
            "INV_INPUT_PARAM_CONFLICT",
        ),
        ({"volumeName": "set:s", "hostname": "h1", "lun": 1}, "UNSUP_OP"),
        ({"volumeName": "v1", "hostname": "set:s", "lun": 1}, "UNSUP_OP"),
        (
            {"volumeName": "v1", "hostname": "h1", "lun": 1, "portPos": {"node": 0, "slot": 2}},
            "INV_INPUT_MISSING_REQUIRED",
        ),
        (
            {"volumeName": "v1", "hostname": "h1", "lun": 1, "portPos": PORT0 | {"node": 5}},
            "NON_EXISTENT_PORT",
        ),
        (
            {"volumeName": "v1", "hostname": "h1", "lun": 1, "portPos": PORT0 | {"node": 9}},
            "INV_INPUT_EXCEEDS_RANGE",
        ),
        ({"volumeName": "v2", "hostname": "h1", "lun": 200}, "EXISTENT_LUN"),
        ({"volumeName": "v1", "hostname": "h1", "lun": 200}, "EXISTENT_LUN"),
        ({"volumeName": "v2", "hostname": "h1", "lun": 201}, "EXISTENT_LUN"),
    ],
)  # fmt: skip
def test_an_export_that_cannot_be_is_refused_and_seen_by_nobody(body, symbol):
    async def talk(rig):
        await export(rig, volumeName="v2", lun=200)
        assert refused(await rig("POST", "vluns", body), symbol)
        assert list(rig.array.luns(SERVER)) == [200]

    exporting(talk, lun_max=255)


def test_exports_are_found_by_query():
    async def talk(rig):
        await export(rig, lun=1)
        await export(rig, volumeName="v2", lun=2)

        async def found(query):
            members = (await rig.fine("GET", "vluns", query=query)).body["members"]
            return [(each["volumeName"], each["active"]) for each in members]

        assert await found("volumeName EQ v1") == [("v1", False), ("v1", True), ("v1", True)]
        assert await found("hostname EQ h1 AND active EQ false") == [("v1", False), ("v2", False)]
        assert await found("lun EQ 2 AND active EQ false OR lun EQ 9") == [("v2", False)]
        assert await found("hostname EQ h2") == []
        assert refused(await rig("GET", "vluns", query="colour EQ red"), "INV_INPUT")

    exporting(talk)


def test_exports_by_one_port_each_are_one_mapping():
    async def talk(rig):
        first = await export(rig, lun=4, portPos=PORT0)
        assert first.location == "/api/v1/vluns/v1,4,h1,0:2:1"
        assert refused(await export(rig, lun=4, portPos=PORT0), "EXISTENT_LUN")
        assert refused(await export(rig, lun=5, portPos=PORT1), "EXISTENT_LUN")
        assert refused(await export(rig, lun=4), "EXISTENT_LUN")
        second = await export(rig, autoLun=True, portPos=PORT1)
        assert second.location == "/api/v1/vluns/v1,4,h1,1:2:1"
        found = (await rig.fine("GET", "vluns")).body["members"]
        assert [(each["type"], each["active"]) for each in found] == [
            (4, False), (4, False), (4, True), (4, True),
        ]  # fmt: skip
        assert refused(await rig("DELETE", "vluns/v1,4,h1"), "NON_EXISTENT_VLUN")
        await rig.fine("DELETE", "vluns/v1,4,h1,0:2:1")
        assert list(rig.array.luns(SERVER)) == [4]
        await rig.fine("DELETE", "vluns/v1,4,h1,1:2:1")
        assert rig.array.luns(SERVER) == {}
        await export(rig, lun=4)
        assert (await rig.fine("GET", "vluns/v1,4,h1")).body["type"] == 3

    exporting(talk)


def test_ports_of_a_mapping_that_somebody_else_took_away_are_forgotten():
    async def talk(rig):
        await export(rig, lun=4, portPos=PORT0)
        await perform(rig.env, rig.array.unmap_volume("v1", SERVER))
        await perform(rig.env, rig.array.map_volume("v1", SERVER, 4))
        template = (await rig.fine("GET", "vluns")).body["members"][0]
        assert (template["type"], "portPos" in template) == (3, False)

    exporting(talk)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("v1", "INV_INPUT_MISSING_REQUIRED"),
        ("v1,3", "INV_INPUT_MISSING_REQUIRED"),
        ("v1,3,", "INV_INPUT_MISSING_REQUIRED"),
        (",3,h1", "INV_INPUT_MISSING_REQUIRED"),
        ("v1,3,h1,0:2:1,x", "INV_INPUT_MISSING_REQUIRED"),
        ("v1,x,h1", "INV_INPUT_WRONG_TYPE"),
        ("v1,16384,h1", "INV_INPUT_EXCEEDS_RANGE"),
        ("v1,99999999999999999999,h1", "INV_INPUT_EXCEEDS_RANGE"),
        ("v1,3,h1,0:2", "INV_INPUT_PORT_SPECIFICATION"),
        ("v1,3,h1,7:7:7", "NON_EXISTENT_PORT"),
        ("v1,3,h9", "NON_EXISTENT_HOST"),
        ("v1,4,h1", "NON_EXISTENT_VLUN"),
        ("v2,3,h1", "NON_EXISTENT_VLUN"),
        ("v1,3,h1,0:2:1", "NON_EXISTENT_VLUN"),
        ("v1,3,,0:2:1", "UNSUP_OP"),
    ],
)
def test_an_export_that_there_is_not_is_refused(name, symbol):
    async def talk(rig):
        await export(rig, lun=3)
        assert refused(await rig("DELETE", f"vluns/{name}"), symbol)
        assert refused(await rig("GET", f"vluns/{name}"), symbol)
        assert list(rig.array.luns(SERVER)) == [3]

    exporting(talk)


def test_a_snapshot_is_exported_itself_under_its_own_identity():
    async def talk(rig):
        await rig.snapshot("v1", "s1")
        wwn = (await rig.fine("GET", "volumes/s1")).body["wwn"]
        assert (await export(rig, volumeName="s1", autoLun=True)).status == 201
        seen = rig.array.luns(SERVER)[0]
        assert (seen.naa.upper(), seen.read_only) == (wwn, True)
        assert refused(await rig("DELETE", "volumes/s1"), "EXPORTED_VV")
        assert refused(await export(rig, volumeName="s1", lun=9), "EXISTENT_LUN")
        await rig.fine("DELETE", "vluns/s1,0,h1")
        assert refused(await rig("DELETE", "vluns/s1,0,h1"), "NON_EXISTENT_VLUN")
        await rig.fine("DELETE", "volumes/s1")

    exporting(talk)


def test_exports_by_two_ports_at_once_are_one_mapping():
    async def talk(rig):
        asked = (export(rig, lun=4, portPos=port) for port in (PORT0, PORT1))
        first, second = await asyncio.gather(*asked)
        assert (first.status, second.status) == (201, 201)
        assert second.location == "/api/v1/vluns/v1,4,h1,1:2:1"
        found = (await rig.fine("GET", "vluns", query="active EQ false")).body
        assert (found["total"], list(rig.array.luns(SERVER))) == (2, [4])

    exporting(talk)
