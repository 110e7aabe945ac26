"""Volumes: made, told, changed, grown, deleted, and refused."""

from __future__ import annotations

import pytest

from arrayapi.wsapi_rig import SERVER, refused, talking
from stuntdouble.units import MIB

NEW = {"name": "v1", "cpg": "CPG1", "sizeMiB": 256, "tpvv": True}
HOUR = 3600.0


def make(rig, **more):
    return rig("POST", "volumes", NEW | more)


async def show(rig, name):
    return (await rig.fine("GET", f"volumes/{name}")).body


async def names(rig, query=""):
    return (await rig.fine("GET", "volumes", query=query)).names


# Volumes. --------------------------------------------------------------------------------------


def test_a_volume_is_made_of_zeros_and_told():
    async def talk(rig):
        made = await make(rig, sizeMiB=257, comment="c")
        assert (made.status, made.body, made.location) == (201, None, "/api/v1/volumes/v1")
        volume = rig.array.volume("v1")
        assert not rig.array.show(volume, 0, 8).any()
        shown = await show(rig, "v1")
        assert shown["wwn"] == volume.naa.upper()
        assert (shown["uuid"], shown["id"]) == (volume.uuid, volume.id)
        assert (shown["sizeMiB"], shown["copyType"], shown["provisioningType"]) == (512, 1, 2)
        assert (shown["readOnly"], shown["state"], shown["comment"]) == (False, 1, "c")
        assert (shown["userCPG"], shown["userSpace"]["usedMiB"]) == ("CPG1", 512)
        assert shown["creationTime8601"].startswith("2026-01-01T00:00:0")
        assert "copyOf" not in shown

    talking(talk)


@pytest.mark.parametrize(
    ("changes", "symbol"),
    [
        ({"name": None}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "v" * 32}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"name": "v 1"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": "taken"}, "EXISTENT_VOL"),
        ({"cpg": "none"}, "NON_EXISTENT_CPG"),
        ({"sizeMiB": 0}, "INV_INPUT_BELOW_RANGE"),
        ({"sizeMiB": 255}, "INV_INPUT_EXCEEDS_RANGE"),
        ({"sizeMiB": "256"}, "INV_INPUT_WRONG_TYPE"),
        ({"sizeMiB": 256.0}, "INV_INPUT_WRONG_TYPE"),
        ({"sizeMiB": 16777217}, "TOO_LARGE"),
        ({"sizeMiB": 16777216}, "NO_SPACE"),
        ({"tpvv": False}, "INV_INPUT_ONE_REQUIRED"),
        ({"tpvv": 1}, "INV_INPUT_WRONG_TYPE"),
        ({"tpvv": False, "reduce": True}, "UNLICENSED_FEATURE"),
        ({"reduce": True}, "INV_INPUT_PARAM_CONFLICT"),
        ({"tdvv": True}, "INV_INPUT"),
        ({"comment": "c" * 512}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"comment": "a\u0000b"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"id": 1}, "EXISTENT_ID"),
        ({"id": 99}, "UNSUP_OP"),
        ({"snapCPG": "none"}, "NON_EXISTENT_CPG"),
        ({"policies": {"caching": True}}, "INV_INPUT_VV_POLICY"),
        ({"policies": {"system": True}}, "INV_INPUT_VV_POLICY"),
        ({"policies": {"oneHost": True}}, "UNSUP_OP"),
        ({"policies": {"colour": True}}, "INV_INPUT"),
        ({"policies": []}, "INV_INPUT_WRONG_TYPE"),
        ({"usrSpcAllocLimitPct": 50}, "UNSUP_OP"),
        ({"usrSpcAllocLimitPct": 101}, "INV_INPUT_EXCEEDS_RANGE"),
        ({"expirationHours": 43801}, "INV_INPUT_TIME"),
        ({"expirationHours": 0}, "INV_INPUT_TIME"),
        ({"expirationHours": 1, "retentionHours": 2}, "INV_INPUT_RETAIN_GT_EXPIRE"),
        ({"LUN": 3}, "INV_INPUT"),
    ],
)
def test_a_volume_that_cannot_be_is_refused_and_not_made(changes, symbol):
    async def talk(rig):
        rig.volume("taken")
        answer = await make(rig, **changes)
        assert refused(answer, symbol)
        assert answer.body["desc"]
        assert await names(rig) == ["taken"]

    talking(talk)


@pytest.mark.parametrize("missing", ["name", "cpg", "sizeMiB", "tpvv"])
def test_what_a_volume_needs_is_named(missing):
    async def talk(rig):
        body = {name: value for name, value in NEW.items() if name != missing}
        answer = await rig("POST", "volumes", body)
        needed = "INV_INPUT_ONE_REQUIRED" if missing == "tpvv" else "INV_INPUT_MISSING_REQUIRED"
        assert refused(answer, needed)
        assert missing in answer.body["ref"].split(",")

    talking(talk)


def test_what_may_be_said_and_is_so_is_no_error():
    async def talk(rig):
        policies = {"staleSS": True, "zeroDetect": True, "caching": False}
        more = {"policies": policies, "snapCPG": "CPG1", "id": -1, "usrSpcAllocLimitPct": 0}
        assert (await make(rig, **more, expirationHours=-5)).status == 201

    talking(talk)


def test_volumes_are_found_by_query():
    async def talk(rig):
        for name in ("v1", "v2"):
            rig.volume(name)
        await rig.snapshot("v1", "s1")
        await rig.snapshot("v1", "s2")
        assert await names(rig) == ["v1", "v2", "s1", "s2"]
        assert await names(rig, "copyOf EQ v1") == ["s1", "s2"]
        assert await names(rig, "name EQ v2 OR name EQ s2") == ["v2", "s2"]
        assert await names(rig, "copyOf EQ v1 AND name EQ s2") == ["s2"]
        wwn = rig.array.snapshot("s1").naa.upper()
        assert await names(rig, f"wwn EQ {wwn}") == ["s1"]
        assert await names(rig, "snapCPG EQ CPG1 AND copyType EQ 3") == ["s1", "s2"]
        assert await names(rig, "copyOf EQ v9") == []
        assert refused(await rig("GET", "volumes", query="sizeMiB EQ 3"), "INV_INPUT")

    talking(talk)


def test_a_volume_is_renamed_and_commented():
    async def talk(rig):
        rig.volume("v1")
        rig.volume("v2")
        await rig.snapshot("v1", "s1")
        naa = rig.array.volume("v1").naa
        changed = await rig.fine("PUT", "volumes/v1", {"newName": "v3", "comment": "new"})
        assert (changed.status, changed.location) == (200, "/api/v1/volumes/v3")
        assert (rig.array.volume("v3").naa, (await show(rig, "v3"))["comment"]) == (naa, "new")
        assert (await show(rig, "s1"))["copyOf"] == "v3"
        await rig.fine("PUT", "volumes/s1", {"newName": "s3"})
        assert await names(rig, "copyOf EQ v3") == ["s3"]
        for body, symbol in (
            ({"newName": "v2"}, "EXISTENT_VOL"),
            ({"newName": "s3"}, "EXISTENT_VOL"),
            ({"newName": "v" * 32}, "INV_INPUT_EXCEEDS_LENGTH"),
            ({}, "INV_INPUT_ONE_REQUIRED"),
            ({"sizeMiB": 512}, "INV_INPUT"),
            ({"userCPG": "none"}, "NON_EXISTENT_CPG"),
            ({"rmExpTime": 1}, "INV_INPUT_WRONG_TYPE"),
        ):
            assert refused(await rig("PUT", "volumes/v3", body), symbol)
        assert refused(
            await rig("PUT", "volumes/s3", {"userCPG": "CPG1"}), "INV_OPERATION_VV_CPG_ON_SNAPSHOT"
        )
        assert refused(await rig("PUT", "volumes/v1", {"comment": ""}), "NON_EXISTENT_VOL")

    talking(talk)


def test_a_volume_grows_and_never_shrinks():
    async def talk(rig):
        rig.volume("v1")

        async def grow(size, name="v1"):
            return await rig("PUT", f"volumes/{name}", {"action": 3, "sizeMiB": size})

        assert (await grow(300)).status == 200
        assert rig.array.volume("v1").size_bytes == 768 * MIB
        for size, symbol in (
            (0, "INV_INPUT_VV_GROW_SIZE"),
            (-256, "INV_INPUT_VV_GROW_SIZE"),
            ("256", "INV_INPUT_WRONG_TYPE"),
            (16777216, "VV_NEW_SIZE_EXCEED_CPG_LIMIT"),
            (1 << 20, "NO_SPACE"),
        ):
            assert refused(await grow(size), symbol)
        await rig.snapshot("v1", "s1")
        assert refused(await grow(256, "s1"), "INV_OPERATION_UNSUPPORTED_VV_TYPE")
        missing = await rig("PUT", "volumes/v1", {"action": 3})
        assert refused(missing, "INV_INPUT_MISSING_REQUIRED")
        extra = {"action": 3, "sizeMiB": 256, "newName": "x"}
        assert refused(await rig("PUT", "volumes/v1", extra), "INV_INPUT")
        assert refused(await rig("PUT", "volumes/v1", {"action": 7}), "INV_INPUT_BAD_ENUM_VALUE")
        assert refused(await rig("PUT", "volumes/v1", {"action": 6}), "UNSUP_OP")
        assert (await show(rig, "s1"))["sizeMiB"] == 768

    talking(talk)


def test_what_is_in_use_is_not_deleted():
    async def talk(rig):
        rig.volume("v1")
        assert refused(await rig("DELETE", "volumes/v9"), "NON_EXISTENT_VOL")
        await rig.fine("POST", "hosts", {"name": "h", "iSCSINames": [SERVER]})
        export = {"volumeName": "v1", "hostname": "h", "lun": 0}
        await rig.fine("POST", "vluns", export)
        assert refused(await rig("DELETE", "volumes/v1"), "EXPORTED_VV")
        await rig.fine("DELETE", "vluns/v1,0,h")
        await rig.snapshot("v1", "s1")
        await rig.snapshot("s1", "w1", readonly=False)
        assert refused(await rig("DELETE", "volumes/v1"), "HAS_CHILD")
        assert refused(await rig("DELETE", "volumes/s1"), "HAS_CHILD")
        for name in ("w1", "s1", "v1"):
            gone = await rig.fine("DELETE", f"volumes/{name}")
            assert (gone.status, gone.body) == (200, None)
        assert refused(await rig("DELETE", "volumes/v1", {"force": True}), "INV_INPUT")
        assert await names(rig) == []

    talking(talk)


# Keys and values. ------------------------------------------------------------------------------


def test_clients_keep_values_with_a_volume():
    async def talk(rig):
        rig.volume("v1")
        at = "volumes/v1/objectKeyValues"
        made = await rig.fine("POST", at, {"key": "owner", "value": "joe"})
        assert made.location == f"/api/v1/{at}/owner"
        again = await rig("POST", at, {"key": "owner", "value": "jim"})
        assert refused(again, "EXISTENT_OBJECT_KEY")
        await rig.fine("PUT", f"{at}/owner", {"value": "jim"})
        assert (await rig.fine("GET", f"{at}/owner")).body == {"key": "owner", "value": "jim"}
        assert (await rig.fine("GET", at)).body["total"] == 1
        await rig.fine("DELETE", f"{at}/owner")
        for method, body in (("GET", None), ("PUT", {"value": ""}), ("DELETE", None)):
            assert refused(await rig(method, f"{at}/owner", body), "NON_EXISTENT_OBJECT_KEY")
        assert refused(await rig("GET", "volumes/v9/objectKeyValues"), "NON_EXISTENT_VOL")

    talking(talk)
