"""Copies of volumes: virtual and physical, made, brought back, overtaken, and refused."""

from __future__ import annotations

import asyncio

import pytest

from arrayapi.wsapi_rig import SERVER, action, refused, talking
from stuntdouble.clock import completed, perform
from stuntdouble.units import MIB

NEW = {"name": "v1", "cpg": "CPG1", "sizeMiB": 256, "tpvv": True}
HOUR = 3600.0


def make(rig, **more):
    return rig("POST", "volumes", NEW | more)


async def show(rig, name):
    return (await rig.fine("GET", f"volumes/{name}")).body


async def names(rig, query=""):
    return (await rig.fine("GET", "volumes", query=query)).names


# Virtual copies. -------------------------------------------------------------------------------


def test_copies_alternate_between_read_only_and_writable():
    async def talk(rig):
        rig.volume("v1")
        made = await rig.snapshot("v1", "s1", comment="c")
        assert (made.status, made.body, made.location) == (201, None, "/api/v1/volumes/s1")
        assert (await rig.snapshot("s1", "w1", readonly=False)).status == 201
        assert (await rig.snapshot("w1", "s2")).status == 201
        shown = [await show(rig, name) for name in ("v1", "s1", "w1", "s2")]
        assert [each.get("copyOf", "") for each in shown] == ["", "v1", "s1", "w1"]
        assert [each["copyType"] for each in shown] == [1, 3, 3, 3]
        assert [each["readOnly"] for each in shown] == [False, True, False, True]
        assert {each["baseId"] for each in shown} == {shown[0]["id"]}
        assert len({each["wwn"] for each in shown}) == 4
        assert shown[1]["comment"] == "c"
        again = await rig.snapshot("s1", "s3")
        assert refused(again, "INV_OPERATION_VV_READONLY_TO_READONLY_SNAP")

    talking(talk)


def test_an_array_of_split_mirrors_synchronises_before_it_copies():
    async def talk(rig):
        rig.volume("v1")
        rig.volume("v2")
        assert (await rig.snapshot("v1", "s1")).status == 201
        assert (await rig.snapshot("v1", "w1", readonly=False)).status == 201
        members = {"name": "both", "setmembers": ["v1", "v2"]}
        assert (await rig("POST", "volumesets", members)).status == 201
        wanted = {"name": "g-@vvname@", "readOnly": True}
        made = await rig("POST", "volumesets/both", action("createSnapshot", wanted))
        assert made.status == 201, made
        assert await names(rig) == ["v1", "v2", "s1", "w1", "g-v1", "g-v2"]
        again = await rig.snapshot("v1", "s9")  # every mirror of it is in use
        assert refused(again, "SNAPSHOT_LIMIT_REACHED")

    talking(talk, snapshot_kind="split-mirror")


def test_a_writable_copy_of_a_volume_has_nothing_visible_between():
    async def talk(rig):
        rig.volume("v1")
        assert (await rig.snapshot("v1", "w1", readonly=False)).status == 201
        assert await names(rig) == ["v1", "w1"]
        shown = await show(rig, "w1")
        assert (shown["copyOf"], shown["readOnly"], shown["copyType"]) == ("v1", False, 3)
        assert refused(await rig("DELETE", "volumes/v1"), "HAS_CHILD")
        assert (await rig.snapshot("w1", "w2", readonly=False)).status == 201
        assert (await show(rig, "w2"))["copyOf"] == "w1"
        assert refused(await rig("DELETE", "volumes/w1"), "HAS_CHILD")
        for name in ("w2", "w1", "v1"):
            await rig.fine("DELETE", f"volumes/{name}")
        inventory = rig.array.inventory
        assert not inventory.volumes
        assert not inventory.snapshots
        assert rig.pool.free_bytes == rig.pool.area_bytes

    talking(talk)


def test_what_lies_between_is_nobodys_while_it_is_made():
    async def talk(rig):
        rig.volume("v1")
        making = asyncio.create_task(rig.snapshot("v1", "w1", readonly=False))
        await asyncio.sleep(1.5)
        assert await names(rig) == ["v1"]
        (between,) = rig.array.inventory.snapshots
        assert refused(await rig("GET", f"volumes/{between}"), "NON_EXISTENT_VOL")
        assert (await making).status == 201

    talking(talk)


def test_a_writable_copy_that_fails_leaves_nothing():
    async def talk(rig):
        rig.volume("v1")
        making = asyncio.create_task(rig.snapshot("v1", "w1", readonly=False))
        await asyncio.sleep(1.5)
        rig.volume("w1")
        assert (await making).status == 409
        assert await names(rig) == ["v1", "w1"]
        assert not rig.array.inventory.snapshots

    talking(talk)


@pytest.mark.parametrize(
    ("parameters", "symbol"),
    [
        ({}, "INV_INPUT_MISSING_REQUIRED"),
        ({"name": "s" * 32}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"name": "s!"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": "v1"}, "EXISTENT_VOL"),
        ({"name": "s0"}, "EXISTENT_VOL"),
        ({"name": "s", "readOnly": "true"}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "s", "readOnly": 1}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "s", "destVolume": "d"}, "INV_INPUT"),
        ({"name": "s", "expirationHours": 43801}, "INV_INPUT_TIME"),
        ({"name": "s", "expirationHours": "4"}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "s", "expirationHours": 2**31}, "INV_INPUT_EXCEEDS_RANGE"),
        ({"name": "s", "expirationHours": 1, "retentionHours": 2}, "INV_INPUT_RETAIN_GT_EXPIRE"),
        ({"name": "s", "id": 1}, "EXISTENT_ID"),
        ({"name": "s", "id": 77}, "UNSUP_OP"),
    ],
)
def test_a_copy_that_makes_no_sense_is_refused_and_not_made(parameters, symbol):
    async def talk(rig):
        rig.volume("v1")
        await rig.snapshot("v1", "s0")
        body = action("createSnapshot", parameters)
        assert refused(await rig("POST", "volumes/v1", body), symbol)
        assert await names(rig) == ["v1", "s0"]

    talking(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({"action": "createSnapshot"}, "INV_INPUT_MISSING_REQUIRED"),
        ({"parameters": {"name": "s"}}, "INV_INPUT_MISSING_REQUIRED"),
        ({"action": 4, "parameters": {}}, "INV_INPUT_WRONG_TYPE"),
        ({"action": "createSnapshot", "parameters": []}, "INV_INPUT_WRONG_TYPE"),
        ({"action": "destroy", "parameters": {}}, "INV_INPUT_BAD_ENUM_VALUE"),
        ({"action": "createSnapshot", "parameters": {"name": "s"}, "x": 1}, "INV_INPUT"),
    ],
)
def test_an_action_that_there_is_not_is_refused(body, symbol):
    async def talk(rig):
        rig.volume("v1")
        assert refused(await rig("POST", "volumes/v1", body), symbol)
        assert refused(await rig("POST", "volumes/v9", body), "NON_EXISTENT_VOL")

    talking(talk)


def test_limits_of_copies_are_the_arrays():
    async def talk(rig):
        rig.volume("v1")
        for number in range(2):
            assert (await rig.snapshot("v1", f"s{number}")).status == 201
        for readonly in (True, False):
            full = await rig.snapshot("v1", "s9", readonly=readonly)
            assert refused(full, "SNAPSHOT_LIMIT_REACHED")
        assert (await rig.snapshot("s0", "w0", readonly=False)).status == 201
        full = await rig.snapshot("s0", "w1", readonly=False)
        assert refused(full, "SNAPSHOT_LIMIT_REACHED")

    talking(talk, snapshots_per_volume_max=2, copies_per_snapshot_max=1)


def test_copies_expire_and_are_retained():
    async def talk(rig):
        rig.volume("v1")
        await rig.snapshot("v1", "s1", expirationHours=3, retentionHours=2)
        shown = await show(rig, "s1")
        assert shown["expirationTimeSec"] - shown["retentionTimeSec"] == HOUR
        assert refused(await rig("DELETE", "volumes/s1"), "RETAINED")
        shorter = await rig("PUT", "volumes/s1", {"retentionHours": 1})
        assert refused(shorter, "INV_INPUT_TIME")
        sooner = await rig("PUT", "volumes/s1", {"expirationHours": 1})
        assert refused(sooner, "INV_INPUT_RETAIN_GT_EXPIRE")
        await rig.fine("PUT", "volumes/s1", {"rmExpTime": True, "comment": "stays"})
        assert "expirationTimeSec" not in await show(rig, "s1")
        await rig.fine("PUT", "volumes/s1", {"expirationHours": 4})
        await asyncio.sleep(3 * HOUR)
        await rig.login()
        assert await names(rig) == ["v1", "s1"]
        await asyncio.sleep(1.1 * HOUR)
        await rig.login()
        assert await names(rig) == ["v1"]

    talking(talk)


def test_writable_copies_and_volumes_expire_as_well():
    async def talk(rig):
        rig.volume("v1")
        await make(rig, name="v2", expirationHours=1)
        await rig.snapshot("v1", "w1", readonly=False, expirationHours=1)
        await asyncio.sleep(1.1 * HOUR)
        await rig.login()
        assert await names(rig) == ["v1"]

    talking(talk)


def test_a_copy_that_was_given_up_is_stale():
    async def talk(rig):
        volume = rig.volume("v1")
        await rig.snapshot("v1", "s1")
        chunk = rig.array.parameters.chunk_bytes
        await asyncio.sleep(1.0)
        with rig.env.entered():
            for at in range(0, 2 * MIB, chunk):
                rig.array.core.site.volume_write(volume.lun, at, chunk)
        shown = await show(rig, "s1")
        assert (shown["state"], shown["failedStates"]) == (3, [8])
        for answer in (
            await rig.snapshot("s1", "w1", readonly=False),
            await rig("PUT", "volumes/s1", {"action": 4}),
        ):
            assert refused(answer, "VV_IN_STALE_STATE")
        await rig.fine("POST", "hosts", {"name": "h", "iSCSINames": [SERVER]})
        export = {"volumeName": "s1", "hostname": "h", "lun": 0}
        assert refused(await rig("POST", "vluns", export), "VV_IN_STALE_STATE")
        await rig.fine("DELETE", "volumes/s1")

    talking(talk, reserve=MIB)


# Promotion and physical copies. ----------------------------------------------------------------


async def ended(rig, answer):
    """Return how a task ended, once it has."""
    number = answer.body["taskid"]
    await completed(rig.array.tasks[number].ended)
    return (await rig.fine("GET", f"tasks/{number}")).body


def test_a_promotion_brings_a_volume_back():
    async def talk(rig):
        volume = rig.volume("v1")
        site = rig.array.core.site
        with rig.env.entered():
            site.volume_write(volume.lun, 0, MIB)
            before = rig.array.show(volume, 0, 256).copy()
        await rig.snapshot("v1", "s1")
        with rig.env.entered():
            site.volume_write(volume.lun, 0, MIB)
            assert (rig.array.show(volume, 0, 256) != before).any()
        promoted = await rig.fine("PUT", "volumes/s1", {"action": 4, "priority": 1})
        task = await ended(rig, promoted)
        assert (task["type"], task["status"], task["name"], task["priority"]) == (4, 1, "s1", 1)
        with rig.env.entered():
            assert (rig.array.show(volume, 0, 256) == before).all()
        await rig.fine("DELETE", "volumes/s1")

    talking(talk)


def test_promotions_are_refused_as_documented():
    async def talk(rig):
        rig.volume("v1")
        rig.volume("v2")
        await rig.snapshot("v1", "s1")
        await rig.snapshot("s1", "w1", readonly=False)
        await rig.fine("POST", "hosts", {"name": "h", "iSCSINames": [SERVER]})

        async def promote(name="s1", **more):
            return await rig("PUT", f"volumes/{name}", {"action": 4, **more})

        assert refused(await promote("v1"), "INV_OPERATION_VV_BASE_VOLUME")
        assert refused(await promote("w1"), "UNSUP_OP")
        other = await promote(target="v2")
        assert refused(other, "INV_OPERATION_PROMOTE_TARGET_NOT_BASE_VV")
        assert refused(await promote(target="v9"), "NON_EXISTENT_VOL")
        assert refused(await promote(priority=4), "INV_INPUT_BAD_ENUM_VALUE")
        for name, symbol in (
            ("v1", "INV_OPERATION_PARENT_VV_EXPORTED"),
            ("s1", "INV_OPERATION_VV_EXPORTED"),
        ):
            await rig.fine("POST", "vluns", {"volumeName": name, "hostname": "h", "lun": 0})
            assert refused(await promote(), symbol)
            if name == "v1":
                online = await rig.fine("PUT", "volumes/s1", {"action": 4, "online": True})
                assert (await ended(rig, online))["status"] == 1
            await rig.fine("DELETE", f"vluns/{name},0,h")
        stop = await rig("PUT", "volumes/s1", {"action": 5})
        assert refused(stop, "INV_OPERATION_VV_PROMOTE_IS_NOT_IN_PROGRESS")
        await rig.fine("PUT", "volumes/v1", {"action": 3, "sizeMiB": 256})
        assert refused(await promote(), "INV_OPERATION_PARENT_SIZE_HAS_INCREASED")

    talking(talk)


def copy(rig, source="v1", **parameters):
    return rig("POST", f"volumes/{source}", action("createPhysicalCopy", parameters))


def written(rig, *vs):
    with rig.env.entered():
        for volume in vs:
            rig.array.core.site.volume_write(volume.lun, 0, MIB)


def test_an_offline_copy_is_one_until_it_is_stopped_or_gone():
    async def talk(rig):
        source, target = rig.volume("v1"), rig.volume("v2")
        written(rig, source, target)
        begun = await copy(rig, destVolume="v2", priority=3)
        assert (begun.status, begun.location) == (201, "/api/v1/volumes/v2")
        shown = await show(rig, "v2")
        assert (shown["copyType"], shown["copyOf"]) == (2, "v1")
        await rig.fine("POST", "hosts", {"name": "h", "iSCSINames": [SERVER]})
        export = {"volumeName": "v2", "hostname": "h", "lun": 0}
        for answer, symbol in (
            (await rig("POST", "vluns", export), "INV_OPERATION_VLUN_PCOPY_TARGET_VV"),
            (await copy(rig, destVolume="v2"), "INV_OPERATION_VV_PCOPY_IN_PROGRESS"),
            (await rig("DELETE", "volumes/v2"), "INV_OPERATION_VV_IS_BUSY"),
            (await rig("DELETE", "volumes/v1"), "INV_OPERATION_VV_IS_BUSY"),
            (await rig.snapshot("v2", "s2"), "INV_OPERATION_VV_IS_BUSY"),
            (await rig("PUT", "volumes/v2", {"newName": "v3"}), "INV_OPERATION_VV_IS_BUSY"),
        ):
            assert refused(answer, symbol)
        task = await ended(rig, begun)
        assert (task["type"], task["status"], task["name"], task["priority"]) == (1, 1, "v2", 3)
        with rig.env.entered():
            assert (rig.array.show(source, 0, 64) == rig.array.show(target, 0, 64)).all()
        again = await rig.fine("PUT", "volumes/v2", {"action": 2})
        assert again.body["taskid"] == 2
        await rig.fine("PUT", "volumes/v2", {"action": 1})
        assert (await ended(rig, again))["status"] == 3
        assert (await show(rig, "v2"))["copyType"] == 1
        no_more = await rig("PUT", "volumes/v2", {"action": 2})
        assert refused(no_more, "INV_OPERATION_VV_NO_PARENT")
        assert refused(await rig("PUT", "volumes/v2", {"action": 1}), "NON_EXISTENT_VVCOPY")

    talking(talk)


def test_an_online_copy_is_a_volume_of_its_own():
    async def talk(rig):
        source = rig.volume("v1")
        written(rig, source)
        begun = await copy(rig, destVolume="v2", destCPG="CPG1", online=True, tpvv=True)
        assert begun.status == 201
        tasks = (await rig.fine("GET", "tasks")).body
        assert (tasks["total"], tasks["members"][0]["finishTime"]) == (1, "-")
        assert (await ended(rig, begun))["type"] == 18
        assert (await show(rig, "v2"))["copyType"] == 1
        await rig.fine("DELETE", "volumes/v1")
        cancel = await rig("PUT", "tasks/1", {"action": 1})
        assert refused(cancel, "INV_INPUT")

    talking(talk)


def test_a_task_is_cancelled():
    async def talk(rig):
        written(rig, rig.volume("v1"), rig.volume("v2"))
        begun = await copy(rig, destVolume="v2")
        await rig.fine("PUT", f"tasks/{begun.body['taskid']}", {"action": 1})
        assert (await ended(rig, begun))["status"] == 3
        assert (await show(rig, "v2"))["copyType"] == 1

    talking(talk)


@pytest.mark.parametrize(
    ("parameters", "symbol"),
    [
        ({}, "INV_INPUT_MISSING_REQUIRED"),
        ({"destVolume": "v1"}, "INV_OPERATION_VV_COPY_TO_SELF"),
        ({"destVolume": "v9"}, "NON_EXISTENT_VOL"),
        ({"destVolume": "s2"}, "INV_OPERATION_VV_NON_BASE_VOLUME"),
        ({"destVolume": "w2"}, "INV_OPERATION_VV_NON_BASE_VOLUME"),
        ({"destVolume": "v2"}, "HAS_CHILD"),
        ({"destVolume": "seen"}, "INV_OPERATION_VV_EXPORTED"),
        ({"destVolume": "small"}, "INV_OPERATION_VV_COPY_PARENT_TOO_BIG"),
        ({"destVolume": "v3", "destCPG": "CPG1"}, "INV_INPUT_PARAM_CONFLICT"),
        ({"destVolume": "v3", "tpvv": True}, "INV_INPUT_PARAM_CONFLICT"),
        ({"destVolume": "v3", "priority": 9}, "INV_INPUT_BAD_ENUM_VALUE"),
        ({"destVolume": "v3", "saveSnapshot": True}, "UNSUP_OP"),
        ({"destVolume": "v9", "online": True, "tpvv": True}, "INV_INPUT_MISSING_REQUIRED"),
        ({"destVolume": "v9", "online": True, "destCPG": "CPG1"}, "INV_INPUT_ONE_REQUIRED"),
        (
            {"destVolume": "v3", "online": True, "destCPG": "CPG1", "tpvv": True},
            "EXISTENT_VOL",
        ),
        (
            {"destVolume": "v9", "online": True, "destCPG": "none", "tpvv": True},
            "NON_EXISTENT_CPG",
        ),
        (
            {"destVolume": "v9", "online": True, "destCPG": "CPG1", "reduce": True},
            "UNLICENSED_FEATURE",
        ),
        (
            {"destVolume": "v9", "online": True, "destCPG": "CPG1", "tpvv": True, "priority": 1},
            "INV_INPUT_PARAM_CONFLICT",
        ),
    ],
)
def test_a_physical_copy_that_cannot_be_is_refused(parameters, symbol):
    async def talk(rig):
        for name in ("v1", "v2", "v3", "seen"):
            rig.volume(name, 512 * MIB)
        rig.volume("small")
        await rig.snapshot("v2", "s2")
        await rig.snapshot("s2", "w2", readonly=False)
        await perform(rig.env, rig.array.map_volume("seen", SERVER))
        assert refused(await copy(rig, **parameters), symbol)
        assert (await rig.fine("GET", "tasks")).body["total"] == 0
        assert "v9" not in await names(rig)

    talking(talk)


@pytest.mark.parametrize(
    ("number", "symbol"),
    [
        ("x", "INV_INPUT_WRONG_TYPE"),
        ("0", "INV_INPUT_BELOW_RANGE"),
        ("-3", "INV_INPUT_BELOW_RANGE"),
        ("99999999999", "INV_INPUT_EXCEEDS_RANGE"),
        ("9" * 400, "INV_INPUT_EXCEEDS_RANGE"),
        ("7", "NON_EXISTENT_TASK"),
    ],
)
def test_a_task_that_there_is_not_is_refused(number, symbol):
    async def talk(rig):
        assert refused(await rig("GET", f"tasks/{number}"), symbol)
        assert refused(await rig("PUT", f"tasks/{number}", {"action": 1}), symbol)
        assert refused(await rig("DELETE", f"tasks/{number}"), "UNSUP_OP")

    talking(talk)


# Requests that overtake each other. ------------------------------------------------------------


def test_who_comes_second_is_told_what_the_first_one_did():
    async def talk(rig):
        rig.volume("v1")
        await rig.fine("POST", "hosts", {"name": "h", "iSCSINames": [SERVER]})
        export = {"volumeName": "v1", "hostname": "h", "lun": 0}
        for ask, symbol in (
            (lambda: rig.snapshot("v1", "s1"), "EXISTENT_VOL"),
            (lambda: make(rig, name="v2"), "EXISTENT_VOL"),
            (lambda: rig("POST", "vluns", export), "EXISTENT_LUN"),
        ):
            first, second = await asyncio.gather(ask(), ask())
            assert (first.status, refused(second, symbol)) == (201, True)
        deleting = asyncio.create_task(rig("DELETE", "volumes/v2"))
        await asyncio.sleep(0.5)
        await rig.fine("POST", "volumesets", {"name": "set-1", "setmembers": ["v2"]})
        assert (await deleting).status == 200
        exporting = rig("POST", "vluns", export | {"volumeName": "s1", "lun": 1})
        exported, kept = await asyncio.gather(exporting, rig("DELETE", "volumes/s1"))
        assert (exported.status, refused(kept, "EXPORTED_VV")) == (201, True)

    talking(talk)
