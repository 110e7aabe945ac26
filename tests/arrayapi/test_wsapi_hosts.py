"""Hosts: their names, initiators and secrets, and every refusal of a change to them."""

from __future__ import annotations

import pytest

from arrayapi.wsapi_rig import SERVER, refused, talking

OTHER = "iqn.2026-01.example:other"


async def host(rig, name="h1", *iqns):
    return await rig.fine("POST", "hosts", {"name": name, "iSCSINames": list(iqns)})


def test_a_host_is_made_and_told():
    async def talk(rig):
        descriptors = {"location": "rack 4", "os": "linux", "comment": ""}
        body = {"name": "h1", "iSCSINames": [SERVER], "persona": 8, "descriptors": descriptors}
        made = await rig.fine("POST", "hosts", body)
        assert (made.status, made.body, made.location) == (201, None, "/api/v1/hosts/h1")
        shown = (await rig.fine("GET", "hosts/h1")).body
        assert (shown["name"], shown["persona"], shown["FCPaths"]) == ("h1", 8, [])
        assert shown["descriptors"] == descriptors
        assert {path["name"] for path in shown["iSCSIPaths"]} == {SERVER}
        assert [path["portPos"]["node"] for path in shown["iSCSIPaths"]] == [0, 1]
        assert (shown["initiatorChapEnabled"], shown["targetChapEnabled"]) == (False, False)
        assert rig.array.hosts.by_iqn(SERVER).name == "h1"

    talking(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({}, "INV_INPUT_MISSING_REQUIRED"),
        ({"name": "h" * 32}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"name": ""}, "INV_INPUT_EMPTY_STR"),
        ({"name": "h!"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": "-h"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": 3}, "INV_INPUT_WRONG_TYPE"),
        ({"name": None}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "h", "surname": "x"}, "INV_INPUT"),
        ({"name": "h", "persona": 12}, "INV_INPUT_BAD_ENUM_VALUE"),
        ({"name": "h", "persona": "2"}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "h", "persona": True}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "h", "domain": "d"}, "NON_EXISTENT_DOMAIN"),
        ({"name": "h", "iSCSINames": SERVER}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "h", "iSCSINames": [3]}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "h", "iSCSINames": [""]}, "INV_INPUT_EMPTY_STR"),
        ({"name": "h", "iSCSINames": ["server"]}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"name": "h", "iSCSINames": [SERVER + "x" * 223]}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"name": "h", "iSCSINames": [SERVER, SERVER]}, "INV_INPUT_DUP_PATH"),
        ({"name": "h", "iSCSINames": [OTHER]}, "EXISTENT_PATH"),
        ({"name": "h", "iSCSINames": [SERVER] * 1025}, "INV_INPUT_TOO_MANY_WWN_OR_iSCSI"),
        ({"name": "h", "iSCSINames": [SERVER], "FCWWNs": []}, "INV_INPUT_PARAM_CONFLICT"),
        ({"name": "h", "FCWWNs": ["1000000000000001"]}, "UNSUP_OP"),
        ({"name": "taken"}, "EXISTENT_HOST"),
        ({"name": "h", "descriptors": {"colour": "red"}}, "INV_INPUT"),
        ({"name": "h", "descriptors": {"os": "x" * 256}}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"name": "h", "descriptors": "red"}, "INV_INPUT_WRONG_TYPE"),
        ({"name": "h", "descriptors": {"os": "a\nb"}}, "INV_INPUT_ILLEGAL_CHAR"),
    ],
)
def test_a_host_that_makes_no_sense_is_refused_and_not_made(body, symbol):
    async def talk(rig):
        await host(rig, "taken", OTHER)
        assert refused(await rig("POST", "hosts", body), symbol)
        assert (await rig.fine("GET", "hosts")).names == ["taken"]

    talking(talk)


def test_hosts_are_found_by_their_paths():
    async def talk(rig):
        await host(rig, "h1", SERVER)
        await host(rig, "h2", OTHER)
        await host(rig, "h3")

        async def found(query):
            return (await rig.fine("GET", "hosts", query=query)).names

        assert (await rig.fine("GET", "hosts")).names == ["h1", "h2", "h3"]
        assert await found(f"iSCSIPaths[name=={SERVER}]") == ["h1"]
        assert await found(f"iSCSIPaths[name=={SERVER} OR name=={OTHER}]") == ["h1", "h2"]
        assert await found(f"FCPaths[wwn==1] OR iSCSIPaths[name=={OTHER}]") == ["h2"]
        assert await found("FCPaths[wwn==1000000000000001]") == []
        for wrong in (
            "name EQ h1", "iSCSIPaths[wwn==1]", "iSCSIPaths[]", "FCPaths[wwn==1] AND FCPaths[wwn==2]",
            "FCPaths[wwn==1] OR", "FCPaths[wwn==1]]", "FCPaths[wwn==1",
        ):  # fmt: skip
            assert refused(await rig("GET", "hosts", query=wrong), "INV_INPUT")

    talking(talk)


def test_initiators_come_and_go():
    async def talk(rig):
        await host(rig, "h1", SERVER)
        await host(rig, "h2")

        async def change(name, **body):
            return await rig("PUT", f"hosts/{name}", body)

        assert (await change("h1", pathOperation=1, iSCSINames=[OTHER])).status == 200
        assert rig.array.hosts.get("h1").iqns == (SERVER, OTHER)
        assert refused(await change("h2", pathOperation=1, iSCSINames=[OTHER]), "EXISTENT_PATH")
        assert (await change("h1", pathOperation=2, iSCSINames=[SERVER])).status == 200
        assert refused(
            await change("h1", pathOperation=2, iSCSINames=[SERVER]), "NON_EXISTENT_PATH"
        )
        assert (await change("h2", pathOperation=1, iSCSINames=[SERVER])).status == 200
        assert rig.array.hosts.by_iqn(SERVER).name == "h2"

    talking(talk)


@pytest.mark.parametrize(
    ("body", "symbol"),
    [
        ({}, "INV_INPUT_ONE_REQUIRED"),
        ({"iSCSINames": [OTHER]}, "INV_INPUT_ONE_REQUIRED"),
        ({"pathOperation": 1}, "INV_INPUT_ONE_REQUIRED"),
        ({"pathOperation": 1, "iSCSINames": []}, "INV_INPUT_ONE_REQUIRED"),
        ({"pathOperation": 3, "iSCSINames": [OTHER]}, "INV_INPUT_BAD_ENUM_VALUE"),
        ({"forcePathRemoval": True}, "INV_INPUT_ONE_REQUIRED"),
        (
            {"pathOperation": 1, "iSCSINames": [OTHER], "forcePathRemoval": True},
            "INV_INPUT_PARAM_CONFLICT",
        ),
        ({"pathOperation": 1, "iSCSINames": [OTHER], "FCWWNs": ["1"]}, "INV_INPUT_PARAM_CONFLICT"),
        ({"pathOperation": 1, "FCWWNs": ["1"]}, "UNSUP_OP"),
        ({"newName": "h2"}, "EXISTENT_HOST"),
        ({"newName": "h" * 32}, "INV_INPUT_EXCEEDS_LENGTH"),
        ({"newName": "h\u00e9"}, "INV_INPUT_ILLEGAL_CHAR"),
        ({"persona": 0}, "INV_INPUT_BAD_ENUM_VALUE"),
        ({"chapSecret": "x" * 12}, "INV_INPUT_ONE_REQUIRED"),
        ({"chapRemoveTargetOnly": True}, "INV_INPUT_ONE_REQUIRED"),
        ({"chapOperation": 1, "chapSecret": "x" * 12}, "INV_INPUT_MISSING_REQUIRED"),
        ({"chapOperation": 1, "chapOperationMode": 1}, "INV_INPUT_MISSING_REQUIRED"),
        (
            {"chapOperation": 1, "chapOperationMode": 3, "chapSecret": "x" * 12},
            "INV_INPUT_BAD_ENUM_VALUE",
        ),
        (
            {"chapOperation": 1, "chapOperationMode": 1, "chapSecret": "x" * 11},
            "INV_INPUT_BAD_LENGTH",
        ),
        (
            {"chapOperation": 1, "chapOperationMode": 1, "chapSecret": "x" * 17},
            "INV_INPUT_BAD_LENGTH",
        ),
        (
            {
                "chapOperation": 1, "chapOperationMode": 1, "chapSecret": "ab" * 8,
                "chapSecretHex": True,
            },
            "INV_INPUT_BAD_LENGTH",
        ),
        (
            {
                "chapOperation": 1, "chapOperationMode": 1, "chapSecret": "xy" * 16,
                "chapSecretHex": True,
            },
            "INV_INPUT_WRONG_TYPE",
        ),
        (
            {
                "chapOperation": 1, "chapOperationMode": 1, "chapSecret": "fe" * 16,
                "chapSecretHex": True,
            },
            "UNSUP_OP",
        ),
        (
            {"chapOperation": 1, "chapOperationMode": 2, "chapSecret": "x" * 12},
            "NO_INITIATOR_CHAP",
        ),
        (
            {
                "chapOperation": 1, "chapOperationMode": 1, "chapSecret": "x" * 12,
                "chapRemoveTargetOnly": True,
            },
            "INV_INPUT_PARAM_CONFLICT",
        ),
        ({"chapOperation": 2}, "NON_EXISTENT_CHAP"),
        ({"chapOperation": 2, "chapSecret": "x" * 12}, "INV_INPUT_PARAM_CONFLICT"),
        ({"chapOperation": 2, "chapRemoveTargetOnly": True}, "NON_EXISTENT_CHAP"),
    ],
)  # fmt: skip
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(body, symbol):
    async def talk(rig):
        await host(rig, "h1", SERVER)
        await host(rig, "h2")
        before = (await rig.fine("GET", "hosts")).body
        assert refused(await rig("PUT", "hosts/h1", body), symbol)
        assert (await rig.fine("GET", "hosts")).body == before
        assert refused(await rig("PUT", "hosts/h3", {"newName": "h4"}), "NON_EXISTENT_HOST")

    talking(talk)


def test_secrets_of_both_sides_are_kept_and_taken_away():
    async def talk(rig):
        await host(rig, "h1", SERVER)

        async def change(**body):
            return await rig("PUT", "hosts/h1", body)

        secret = {"chapOperation": 1, "chapOperationMode": 1, "chapSecret": "initiator123"}
        assert (await change(**secret, chapName="joe")).status == 200
        chap = rig.array.hosts.get("h1").chap
        assert (chap.user, chap.secret, chap.mutual_secret) == ("joe", "initiator123", "")
        other = secret | {"chapOperationMode": 2}
        assert refused(await change(**other), "NON_UNIQUE_CHAP_SECRET")
        other["chapSecret"] = "0x" + "61" * 16
        assert (await change(**other, chapSecretHex=True)).status == 200
        chap = rig.array.hosts.get("h1").chap
        assert (chap.mutual_user, chap.mutual_secret) == ("h1", "a" * 16)
        shown = await rig.fine("GET", "hosts/h1")
        assert shown.body["targetChapEnabled"]
        assert shown.body["initiatorChapName"] == "joe"
        assert "initiator123" not in str(shown)
        assert (await change(chapOperation=2, chapRemoveTargetOnly=True)).status == 200
        assert rig.array.hosts.get("h1").chap.mutual_secret == ""
        assert (await change(chapOperation=2)).status == 200
        assert rig.array.hosts.get("h1").chap is None

    talking(talk)


def test_a_host_is_renamed_with_all_that_it_has():
    async def talk(rig):
        rig.volume()
        await host(rig, "h1", SERVER)
        await rig.fine("POST", "vluns", {"volumeName": "v1", "hostname": "h1", "lun": 3})
        changed = await rig.fine("PUT", "hosts/h1", {"newName": "h2", "descriptors": {"os": "x"}})
        assert changed.location == "/api/v1/hosts/h2"
        assert refused(await rig("GET", "hosts/h1"), "NON_EXISTENT_HOST")
        assert (await rig.fine("GET", "vluns/v1,3,h2")).body["hostname"] == "h2"

    talking(talk)


def test_what_a_host_sees_keeps_it_and_its_paths():
    async def talk(rig):
        rig.volume()
        await host(rig, "h1", SERVER)
        await rig.fine("POST", "vluns", {"volumeName": "v1", "hostname": "h1", "lun": 3})
        assert refused(await rig("DELETE", "hosts/h1"), "EXPORTED_VLUN")
        removal = {"pathOperation": 2, "iSCSINames": [SERVER]}
        assert refused(await rig("PUT", "hosts/h1", removal), "EXPORTED_VLUN")
        assert refused(await rig("PUT", "hosts/h1", {"persona": 8}), "EXPORTED_VLUN")
        await rig.fine("PUT", "hosts/h1", {"persona": 2})
        await rig.fine("PUT", "hosts/h1", removal | {"forcePathRemoval": True})
        assert rig.array.luns(SERVER) == {}
        await rig.fine("DELETE", "vluns/v1,3,h1")
        gone = await rig.fine("DELETE", "hosts/h1")
        assert (gone.status, gone.body) == (200, None)
        assert refused(await rig("DELETE", "hosts/h1"), "NON_EXISTENT_HOST")
        assert refused(await rig("GET", "hosts/h!"), "INV_INPUT_ILLEGAL_CHAR")

    talking(talk)


def test_host_sets_hold_their_hosts():
    async def talk(rig):
        await host(rig, "h1", SERVER)
        await host(rig, "h2")
        made = await rig.fine("POST", "hostsets", {"name": "s1", "setmembers": ["h1"]})
        assert made.location == "/api/v1/hostsets/s1"
        assert refused(await rig("DELETE", "hosts/h1"), "HOST_IN_SET")
        missing = {"name": "s2", "setmembers": ["h3"]}
        assert refused(await rig("POST", "hostsets", missing), "NON_EXISTENT_HOST")
        await rig.fine("PUT", "hosts/h1", {"newName": "h9"})
        assert (await rig.fine("GET", "hostsets/s1")).body["setmembers"] == ["h9"]
        assert refused(await rig("POST", "hostsets/s1", {}), "UNSUP_OP")
        await rig.fine("DELETE", "hostsets/s1")
        await rig.fine("DELETE", "hosts/h9")
        assert (await rig.fine("GET", "hosts")).names == ["h2"]

    talking(talk)
