"""Sets of volumes, and copies of all their volumes in one instant."""

from __future__ import annotations

import pytest

from arrayapi.wsapi_rig import action, refused, talking


async def group(rig, *members, name="set-1"):
    return await rig("POST", "volumesets", {"name": name, "setmembers": list(members)})


async def three(rig):
    for name in ("v1", "v2", "v3"):
        rig.volume(name)


def snapshot(rig, name, of="set-1", **more):
    parameters = {"name": name, "readOnly": True, **more}
    return rig("POST", f"volumesets/{of}", action("createSnapshot", parameters))


async def names(rig):
    return (await rig.fine("GET", "volumes")).names


def test_a_set_is_made_changed_and_forgotten():
    async def talk(rig):
        await three(rig)
        made = await rig("POST", "volumesets", {"name": "set-1", "comment": "c"})
        assert (made.status, made.location) == (201, "/api/v1/volumesets/set-1")
        assert (await rig.fine("GET", "volumesets/set-1")).body == {
            "id": 1, "name": "set-1", "comment": "c",
        }  # fmt: skip

        async def change(**body):
            return await rig("PUT", "volumesets/set-1", body)

        assert (await change(action=1, setmembers=["v1", "v2"])).status == 200
        assert refused(await change(action=1, setmembers=["v3", "v2"]), "MEMBER_IN_SET")
        assert (await rig.fine("GET", "volumesets/set-1")).body["setmembers"] == ["v1", "v2"]
        assert refused(await change(action=2, setmembers=["v3"]), "MEMBER_NOT_IN_SET")
        await rig.fine("PUT", "volumes/v2", {"newName": "v9"})
        assert (await change(action=2, setmembers=["v1"])).status == 200
        assert (await change(newName="set-2", comment="d")).location == "/api/v1/volumesets/set-2"
        shown = (await rig.fine("GET", "volumesets")).body["members"]
        assert shown == [{"id": 1, "name": "set-2", "comment": "d", "setmembers": ["v9"]}]
        assert refused(await rig("DELETE", "volumesets/set-1"), "NON_EXISTENT_SET")
        assert refused(await rig("DELETE", "volumes/v9"), "IN_USE")
        await rig.fine("DELETE", "volumesets/set-2")
        await rig.fine("DELETE", "volumes/v9")

    talking(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({}, "INV_INPUT_MISSING_REQUIRED"),
        ({"name": "s" * 28}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"name": "s/1"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": "taken"}, "EXISTENT_SET"),
        ({"name": "s", "domain": "d"}, "NON_EXISTENT_DOMAIN"),
        ({"name": "s", "setmembers": "v1"}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "s", "setmembers": ["v9"]}, "NON_EXISTENT_VOL"),
        ({"name": "s", "setmembers": ["v1", "v1"]}, "INV_INPUT_DUP_NAME"),
        ({"name": "s", "setmembers": ["v*"]}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": "s", "setmembers": ["v1"] * 1001}, "INV_INPUT_EXCEEDS_RANGE"),
        ({"name": "s", "members": []}, "INV_INPUT"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(body, symbol):
    async def talk(rig):
        await three(rig)
        await group(rig, name="taken")
        assert refused(await rig("POST", "volumesets", body), symbol)
        assert (await rig.fine("GET", "volumesets")).names == ["taken"]

    talking(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({}, "INV_INPUT_ONE_REQUIRED"),
        ({"setmembers": ["v2"]}, "INV_INPUT_ONE_REQUIRED"),
        ({"action": 1}, "INV_INPUT_ONE_REQUIRED"),
        ({"action": 1, "setmembers": []}, "INV_INPUT_ONE_REQUIRED"),
        ({"action": 5, "setmembers": ["v2"]}, "INV_INPUT_BAD_ENUM_VALUE"),
        ({"action": 3}, "UNSUP_OP"),
        ({"action": 1, "setmembers": ["v9"]}, "NON_EXISTENT_VOL"),
        ({"newName": "other"}, "EXISTENT_SET"),
        ({"newName": "x", "action": 1, "setmembers": ["v2"]}, "INV_INPUT_PARAM_CONFLICT"),
        ({"flashCachePolicy": 1}, "UNSUP_OP"),
        ({"flashCachePolicy": 3}, "INV_INPUT_BAD_ENUM_VALUE"),
    ],
)
def test_a_change_of_a_set_that_makes_no_sense_is_refused(body, symbol):
    async def talk(rig):
        await three(rig)
        await group(rig, "v1")
        await group(rig, name="other")
        before = (await rig.fine("GET", "volumesets")).body
        assert refused(await rig("PUT", "volumesets/set-1", body), symbol)
        assert (await rig.fine("GET", "volumesets")).body == before
        assert refused(await rig("PUT", "volumesets/none", body), "NON_EXISTENT_SET")

    talking(talk)


def test_a_group_is_copied_in_one_instant_by_a_pattern():
    async def talk(rig):
        await three(rig)
        await group(rig, "v3", "v1")
        made = await snapshot(rig, "job.@count@", comment="c", expirationHours=4)
        assert (made.status, made.location) == (201, "/api/v1/volumesets/set-1")
        found = [(await rig.fine("GET", f"volumes/job.{n}")).body for n in (0, 1)]
        assert [each["copyOf"] for each in found] == ["v3", "v1"]
        assert [each["comment"] for each in found] == ["c", "c"]
        assert len({each["expirationTimeSec"] for each in found}) == 1
        assert len({s.created for s in rig.array.inventory.snapshots.values()}) == 1
        await snapshot(rig, "@vvname@-@vvset@")
        await snapshot(rig, "@vvid@.w", readOnly=False)
        v1, v3 = rig.array.volume("v1"), rig.array.volume("v3")
        new = {"v3-set-1", "v1-set-1", f"{v1.id}.w", f"{v3.id}.w"}
        assert new <= set(await names(rig))
        assert rig.array.volume(f"{v1.id}.w").read_only is False
        assert (await rig.fine("GET", f"volumes/{v1.id}.w")).body["copyOf"] == "v1"

    talking(talk)


def test_a_set_of_one_needs_no_pattern():
    async def talk(rig):
        await three(rig)
        await group(rig, "v1")
        assert (await snapshot(rig, "s1")).status == 201
        assert (await rig.fine("GET", "volumes/s1")).body["copyOf"] == "v1"

    talking(talk)


def test_a_set_of_snapshots_is_made_writable():
    async def talk(rig):
        await three(rig)
        await group(rig, "v1", "v2")
        await snapshot(rig, "s@count@")
        await group(rig, "s0", "s1", name="set-2")
        assert (await snapshot(rig, "w@count@", "set-2", readOnly=False)).status == 201
        assert (await rig.fine("GET", "volumes/w1")).body["copyOf"] == "s1"
        again = await snapshot(rig, "x@count@", "set-2")
        assert refused(again, "INV_OPERATION_VV_READONLY_TO_READONLY_SNAP")
        await group(rig, "v3", "s0", name="set-3")
        mixed = await snapshot(rig, "x@count@", "set-3", readOnly=False)
        assert refused(mixed, "INV_INPUT")
        await group(rig, "v1", "s0", name="set-4")
        same = await snapshot(rig, "x@count@", "set-4", readOnly=False)
        assert refused(same, "INV_OPERATION_VV_SNAP_PARENT_SAME_BASE")

    talking(talk)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("fixed", "INVALID_INPUT_VV_PATTERN"),
        ("a@colour@", "INVALID_INPUT_VV_PATTERN"),
        ("a@count@@", "INVALID_INPUT_VV_PATTERN"),
        ("@vvset@", "INV_INPUT_DUP_NAME"),
        ("v@count@1", "EXISTENT_VOL"),
        ("a" * 30 + "@vvname@", "INV_INPUT_EXCEEDS_LENGTH"),
        ("a b@count@", "INV_INPUT_ILLEGAL_CHAR"),
        ("a" * 256, "INV_INPUT_EXCEEDS_LENGTH"),
        ("", "INV_INPUT_EMPTY_STR"),
        (3, "INV_INPUT_WRONG_TYPE"),
    ],
)
def test_a_pattern_that_makes_no_names_is_refused(name, symbol):
    async def talk(rig):
        await three(rig)
        rig.volume("v01")
        await group(rig, "v1", "v2")
        assert refused(await snapshot(rig, name), symbol)
        assert await names(rig) == ["v1", "v2", "v3", "v01"]

    talking(talk)


def test_sets_that_are_empty_or_unknown_are_not_copied():
    async def talk(rig):
        await three(rig)
        await group(rig)
        assert refused(await snapshot(rig, "s"), "EMPTY_SET")
        assert refused(await snapshot(rig, "s", "none"), "NON_EXISTENT_SET")
        physical = action("createPhysicalCopy", {"destVolume": "set:x"})
        assert refused(await rig("POST", "volumesets/set-1", physical), "UNSUP_OP")
        other = await rig("POST", "volumesets/set-1", action("destroy", {}))
        assert refused(other, "INV_INPUT_BAD_ENUM_VALUE")

    talking(talk)


def test_what_somebody_else_deletes_is_in_no_set_any_more():
    async def talk(rig):
        await three(rig)
        await group(rig, "v1", "v2")
        process = rig.array.delete_volume("v2")
        rig.env.process(process)
        await rig.snapshot("v1", "later")
        assert (await rig.fine("GET", "volumesets/set-1")).body["setmembers"] == ["v1"]

    talking(talk)
