"""REST 2 of a FlashArray: hosts, connections, tags, protection groups, and the array itself."""

from __future__ import annotations

import pytest

from arrayapi.pure_world import EPOCH, IQN, OTHER, TARGET, build
from stuntdouble.array import Chap
from stuntdouble.arrayapi.pure import ERADICATION_SECONDS
from stuntdouble.arrayapi.pure.lists import fields_of
from stuntdouble.units import MIB

CLASH = "Invalid combination of parameters specified."


@pytest.fixture
def world():
    return build()


# Hosts. ------------------------------------------------------------------------------------------


def test_a_host_is_made_found_and_forgotten(world):
    made = world.two("POST", "hosts", {"iqns": [IQN], "personality": "esxi"}, names="h1")[0]
    assert made["name"] == "h1"
    assert made["iqns"] == [IQN]
    assert made["personality"] == "esxi"
    assert made["chap"]["host_user"] is None
    assert made["connection_count"] == 0
    world.two("POST", "hosts", names="h2,h3")
    assert world.names("hosts") == ["h1", "h2", "h3"]
    assert world.two("GET", "hosts", filter=f"iqns='{IQN}'") == [made]
    assert world.names("hosts", filter=f"iqns=('{IQN}','x')") == ["h1"]
    assert world.names("hosts", names="H2") == ["h2"]
    world.two("DELETE", "hosts", names="h1,h3")
    assert world.names("hosts") == ["h2"]
    assert world.refused("DELETE", "hosts", names="h1") == [("Host does not exist.", "h1")]


@pytest.mark.parametrize(
    ("names", "body", "message", "context"),
    [
        ("h", {"iqns": [IQN]}, "The specified IQN is already in use.", IQN),
        ("h", {"iqns": ["nonsense"]}, "Invalid IQN.", "nonsense"),
        ("h", {"iqns": [OTHER, OTHER]}, "The specified IQN is already in use.", OTHER),
        ("h", {"iqns": "x"}, "Invalid value for 'iqns': a list of strings is expected.", "iqns"),
        ("H1", {}, "Host already exists.", "H1"),
        ("h_1", {}, "Host name must be between 1 and 63 characters (alphanumeric and '-') in length and begin and end with a letter or number. The name must include at least one letter or '-'.", "h_1"),
        ("h", {"wwns": ["50:0"]}, "The field 'wwns' is not supported by this array.", "wwns"),
        ("h", {"personality": "amiga"}, "Invalid host personality.", "amiga"),
        ("h", {"vlan": "7"}, "A VLAN of a host is not supported by this array.", "vlan"),
        ("h,i", {"iqns": [OTHER]}, CLASH, "names, iqns, chap"),
        ("h", {"chap": {"host_user": "u"}}, CLASH, "host_user, host_password"),
        ("h", {"chap": {"host_user": "u", "host_password": "short"}}, "CHAP password must be between 12 and 255 characters.", "h"),
        ("h", {"chap": {"target_user": "u", "target_password": "x" * 12}}, CLASH, "target_user without host_user"),
        ("h", {"chap": {"secret": "x"}}, "Unknown field 'secret'.", "secret"),
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_is_refused_and_not_there(world, names, body, message, context):
    world.two("POST", "hosts", {"iqns": [IQN]}, names="h1")
    assert world.refused("POST", "hosts", body, names=names) == [(message, context)]
    assert world.names("hosts") == ["h1"]


def test_a_host_is_changed_as_a_whole_or_not_at_all(world):
    world.two("POST", "hosts", {"iqns": [IQN]}, names="h1")
    world.two("POST", "hosts", names="h2")
    body = {"name": "h3", "add_iqns": [OTHER], "remove_iqns": [IQN], "personality": "aix"}
    changed = world.two("PATCH", "hosts", body, names="h1")[0]
    assert (changed["name"], changed["iqns"], changed["personality"]) == ("h3", [OTHER], "aix")
    body = {"personality": "vms", "iqns": [IQN], "name": "h2"}
    assert world.refused("PATCH", "hosts", body, names="h3") == [("Host already exists.", "h2")]
    assert world.two("GET", "hosts", names="h3") == [changed]
    body = {"personality": "", "iqns": []}
    assert world.two("PATCH", "hosts", body, names="h3")[0]["personality"] is None
    for body, said in (
        ({"iqns": [], "add_iqns": []}, (CLASH, "iqns, add_iqns, remove_iqns")),
        ({"remove_iqns": [IQN]}, ("IQN does not exist.", IQN)),
        ({"name": "no_good"}, None),
    ):
        found = world.refused("PATCH", "hosts", body, names="h3")
        assert said is None or found == [said]
    assert world.refused("PATCH", "hosts", {"name": "x"}, names="h2,h3") == [(CLASH, "names, name")]
    world.two("PATCH", "hosts", {"add_iqns": [IQN]}, names="h2")
    assert world.refused("PATCH", "hosts", {"add_iqns": [IQN]}, names="h2") == [
        ("The specified IQN is already in use.", IQN)
    ]


def test_secrets_are_kept_and_not_told(world):
    world.two("POST", "hosts", {"chap": {"host_user": "u", "host_password": "p" * 12}}, names="h")
    assert world.array.hosts.get("h").chap == Chap("u", "p" * 12)
    body = {"chap": {"target_user": "t", "target_password": "q" * 12}}
    shown = world.two("PATCH", "hosts", body, names="h")[0]["chap"]
    assert shown == {"host_user": "u", "host_password": "****", "target_user": "t", "target_password": "****"}  # fmt: skip
    assert world.array.hosts.get("h").chap == Chap("u", "p" * 12, "t", "q" * 12)
    body = {
        "chap": {"host_user": "", "host_password": "", "target_user": "", "target_password": ""}
    }
    world.two("PATCH", "hosts", body, names="h")
    assert world.array.hosts.get("h").chap is None


# Connections. ------------------------------------------------------------------------------------


@pytest.fixture
def connected(world):
    for name in ("v1", "v2", "v3"):
        world.volume(name, MIB)
    for name, iqn in (("h1", IQN), ("h2", OTHER)):
        world.two("POST", "hosts", {"iqns": [iqn]}, names=name)
    return world


def test_luns_count_from_one_for_each_host(connected):
    world = connected
    assert world.two("POST", "connections", host_names="h1", volume_names="v1")[0]["lun"] == 1
    assert world.two("POST", "connections", {"lun": 7}, host_names="h1", volume_names="v2")[0]["lun"] == 7  # fmt: skip
    made = world.two("POST", "connections", [{}], host_names="h2", volume_names="v1,v3")
    assert [each["lun"] for each in made] == [1, 2]
    assert made[0]["host"] == {"name": "h2"}
    assert made[0]["volume"]["name"] == "v1"
    seen = world.array.luns(IQN)
    assert {lun: volume.name for lun, volume in seen.items()} == {1: "v1", 7: "v2"}
    assert len(world.two("GET", "connections")) == 4
    found = world.two("GET", "connections", volume_names="v1")
    assert [each["host"]["name"] for each in found] == ["h1", "h2"]
    found = world.two("GET", "connections", host_names="h2", volume_names="v3,v2")
    assert [each["volume"]["name"] for each in found] == ["v3"]
    assert world.two("GET", "volumes", names="v1")[0]["connection_count"] == 2
    assert world.two("GET", "hosts", names="h2")[0]["connection_count"] == 2
    world.two("DELETE", "connections", host_names="h1,h2", volume_names="v1")
    assert world.two("POST", "connections", host_names="h2", volume_names="v2")[0]["lun"] == 1


def test_connections_that_cannot_be_are_refused(connected):
    world = connected
    world.two("POST", "connections", {"lun": 5}, host_names="h1", volume_names="v1")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")

    def said(body=None, host="h1", volume="v2"):
        return world.refused("POST", "connections", body, host_names=host, volume_names=volume)

    assert said(volume="v1") == [("Connection already exists.", "v1")]
    assert said({"lun": 5}) == [("The LUN is already in use.", "v2")]
    assert said({"lun": 0}) == [("LUN must be between 1 and 255.", "v2")]
    assert said({"lun": 5000}) == [("LUN must be between 1 and 255.", "v2")]
    assert said({"lun": "1"})[0][0].startswith("Invalid value for 'lun'")
    assert said([{}, {}]) == [(CLASH, "body")]
    assert said(host="nobody") == [("Host does not exist.", "nobody")]
    assert said(volume="nothing") == [("Volume does not exist.", "nothing")]
    assert said(volume="v1.s") == [("Snapshots cannot be connected to hosts.", "v1.s")]
    assert said(volume="v1,v2,v3", body={"lun": 9}) == [
        ("Connection already exists.", "v1"),
        ("The LUN is already in use.", "v3"),
    ]
    said = world.refused("DELETE", "connections", host_names="h2", volume_names="v1")
    assert said == [("Connection does not exist.", "v1")]
    assert world.refused("DELETE", "hosts", names="h1") == [
        ("Host cannot be deleted due to existing connections.", "h1")
    ]
    assert world.refused("POST", "connections", host_names="h1")[0][1] == "volume_names"
    assert world.refused("POST", "connections", volume_names="v1")[0][1] == "host_names"
    said = world.refused("GET", "connections", host_names="x,h1", volume_names="v1")
    assert said == [("Host does not exist.", "x")]
    said = world.refused("POST", "connections", host_group_names="g", volume_names="v1")
    assert said == [("Connecting host groups is not supported by this array.", "host_group_names")]


def test_two_connections_at_once_get_two_luns():
    world = build(map_seconds=1.0)
    world.volume("v1", MIB)
    world.volume("v2", MIB)
    world.two("POST", "hosts", names="h")
    luns = []

    def connect(name):
        made = yield from world.pure._operations.hosts.connect("h", name, None)
        luns.append(made.lun)

    both = [world.env.process(connect(name)) for name in ("v1", "v2")]
    world.env.run(until=both[0] & both[1])
    assert sorted(luns) == [1, 2]


# Tags. -------------------------------------------------------------------------------------------


def test_tags_are_kept_with_volumes(world):
    world.volume("v1")
    world.volume("v2")
    body = [
        {"key": "k", "value": "1"},
        {"key": "k", "value": "2", "namespace": "n", "copyable": False},
    ]
    world.two("PUT", "volumes/tags/batch", body, resource_names="v1,v2")
    body = [{"key": "k", "value": "3", "resource": {"name": "v2"}}]
    assert world.two("PUT", "volumes/tags/batch", body)[0]["resource"]["name"] == "v2"
    found = world.two("GET", "volumes/tags")
    assert [(each["resource"]["name"], each["value"]) for each in found] == [
        ("v1", "1"),
        ("v2", "3"),
    ]
    found = world.two("GET", "volumes/tags", resource_names="v2", namespaces="n,default")
    assert [(each["namespace"], each["value"], each["copyable"]) for each in found] == [("default", "3", True), ("n", "2", False)]  # fmt: skip
    world.two("DELETE", "volumes/tags", resource_names="v2", keys="k", namespaces="n")
    assert world.two("GET", "volumes/tags", resource_names="v2", namespaces="n") == []
    said = world.refused("DELETE", "volumes/tags", resource_names="v1,v2", keys="k", namespaces="n")
    assert said == [("Tag does not exist.", "k")]
    assert len(world.two("GET", "volumes/tags", namespaces="n")) == 1
    for wrong in ([], {}, [{"key": "k"}], [{"key": "", "value": "x"}], [{"key": "k" * 65, "value": ""}], [3]):  # fmt: skip
        world.refused("PUT", "volumes/tags/batch", wrong, resource_names="v1")
    many = [{"key": f"k{n}", "value": "x"} for n in range(129)]
    assert "at most 128 tags" in world.refused("PUT", "volumes/tags/batch", many, resource_names="v1")[0][0]  # fmt: skip
    assert world.refused("PUT", "volumes/tags/batch", many)[0][0] == CLASH
    assert world.refused("DELETE", "volumes/tags", keys="k")[0][1] == "resource_names"


# Protection groups. ------------------------------------------------------------------------------


def test_a_group_is_snapshotted_in_one_instant(world):
    for name in ("v1", "v2", "v3"):
        world.volume(name, MIB)
    assert world.two("POST", "protection-groups", names="pg")[0]["volume_count"] == 0
    said = world.refused("POST", "protection-group-snapshots", source_names="pg")
    assert said == [("Protection group has no volumes.", "pg")]
    world.two("POST", "protection-groups/volumes", group_names="pg", member_names="v1,v2")
    assert world.refused(
        "POST", "protection-groups/volumes", group_names="pg", member_names="v1"
    ) == [("Protection group already includes the volume.", "v1")]
    made = world.two("POST", "protection-group-snapshots", {"suffix": "s"}, source_names="pg")[0]
    assert made["name"] == "pg.s"
    assert made["source"]["name"] == "pg"
    assert world.names("volume-snapshots") == ["pg.s.v1", "pg.s.v2"]
    assert world.two("GET", "volume-snapshots")[0]["suffix"] == "s"
    assert world.names("protection-group-snapshots", source_names="pg") == ["pg.s"]
    world.two("POST", "volumes", {"source": {"name": "pg.s.v2"}}, names="copy")
    members = world.two("GET", "protection-groups/volumes", member_names="v2")
    assert members[0]["group"] == {"name": "pg"}
    world.two("DELETE", "protection-groups/volumes", group_names="pg", member_names="v2")
    said = world.refused("DELETE", "protection-groups/volumes", group_names="pg", member_names="v3")
    assert said == [("Member could not be found.", "v3")]
    world.two("PATCH", "protection-group-snapshots", {"destroyed": True}, names="pg.s")
    assert world.names("volume-snapshots", destroyed=True) == ["pg.s.v1", "pg.s.v2"]
    world.two("PATCH", "protection-group-snapshots", {"destroyed": False}, names="PG.s")
    said = world.refused("DELETE", "protection-group-snapshots", names="pg.s")
    assert said == [("Protection group snapshot is not destroyed.", "pg.s")]
    world.two("PATCH", "protection-group-snapshots", {"destroyed": True}, names="pg.s")
    world.two("DELETE", "protection-group-snapshots", names="pg.s")
    assert world.names("volume-snapshots") == []
    assert world.refused("GET", "protection-group-snapshots", names="pg.s") == [
        ("Protection group snapshot does not exist.", "pg.s")
    ]


def test_a_group_takes_its_snapshots_with_it_and_goes_by_itself(world):
    world.volume("v1", MIB)
    for name in ("pg1", "pg2"):
        world.two("POST", "protection-groups", names=name)
        world.two("POST", "protection-groups/volumes", group_names=name, member_names="v1")
        world.two("POST", "protection-group-snapshots", {"suffix": "s"}, source_names=name)
    assert world.refused("DELETE", "protection-groups", names="pg1") == [
        ("Protection group is not destroyed.", "pg1")
    ]
    world.two("PATCH", "protection-groups", {"destroyed": True}, names="pg1,pg2")
    assert world.names("protection-group-snapshots", destroyed=False) == []
    world.two("PATCH", "protection-groups", {"destroyed": False}, names="pg1")
    assert world.names("protection-group-snapshots", destroyed=False) == ["pg1.s"]
    world.wait(ERADICATION_SECONDS + 1)
    assert world.names("protection-groups") == ["pg1"]
    assert world.names("volume-snapshots") == ["pg1.s.v1"]
    world.two("PATCH", "protection-groups", {"destroyed": True}, names="pg1")
    world.two("DELETE", "protection-groups", names="pg1")
    assert world.names("volume-snapshots") == []
    assert world.names("volumes") == ["v1"]
    assert world.refused("PATCH", "protection-groups", {"destroyed": True}, names="pg1") == [
        ("Protection group does not exist.", "pg1")
    ]
    said = world.refused("POST", "protection-groups", {"snapshot_schedule": {"enabled": True}}, names="x")  # fmt: skip
    assert said == [("The field 'snapshot_schedule' is not supported by this array.", "snapshot_schedule")]  # fmt: skip


# Lists. ------------------------------------------------------------------------------------------


def test_lists_are_sorted_and_cut_into_pages(world):
    for name, size in (("b", 1), ("a", 2), ("d", 1), ("c", 3)):
        world.volume(name, size * MIB)
    assert world.names("volumes") == ["b", "a", "d", "c"]
    assert world.names("volumes", sort="name") == ["a", "b", "c", "d"]
    assert world.names("volumes", sort="name-") == ["d", "c", "b", "a"]
    assert world.names("volumes", sort="provisioned-,name") == ["c", "a", "b", "d"]
    assert world.names("volumes", sort="space.unique,name-") == ["d", "b", "a", "c"]
    assert world.names("volumes", sort="name", limit=2) == ["a", "b"]
    assert world.names("volumes", sort="name", limit=2, offset=1) == ["b", "c"]
    assert world.names("volumes", filter="provisioned>1048576", sort="name") == ["a", "c"]
    assert world.refused("GET", "volumes", sort="colour") == [("Invalid sort: unknown field 'colour'.", "colour")]  # fmt: skip
    assert world.refused("GET", "volumes", limit="-1")[0][1] == "limit"
    assert world.refused("GET", "volumes", limit="9" * 30)[0][1] == "limit"
    for token in ("nonsense", "bnVsbA==", "WzEsMl0=", "ä"):
        assert world.refused("GET", "volumes", limit=1, continuation_token=token) == [
            ("Invalid continuation token.", "continuation_token")
        ]


def test_a_page_continues_after_its_last_item_whatever_is_deleted_meanwhile(world):
    for name in "abcdef":
        world.volume(name, MIB)
    seen, query = [], {}
    while True:
        reply = world.ask("GET", "2.26/volumes", limit=2, **query)
        seen += [item["name"] for item in reply.body["items"]]
        assert reply.body["more_items_remaining"] is bool(reply.body["continuation_token"])
        assert dict(reply.headers).get("x-next-token") == reply.body["continuation_token"]
        if not reply.body["more_items_remaining"]:
            break
        query = {"continuation_token": reply.body["continuation_token"]}
        gone = seen[0] if len(seen) == 2 else "b"
        if gone in world.names("volumes"):
            world.two("PATCH", "volumes", {"destroyed": True}, names=gone)
            world.two("DELETE", "volumes", names=gone)
    assert seen == list("abcdef")


def test_totals_are_told_when_they_are_asked_for(world):
    for name in "abc":
        world.volume(name, MIB)
    body = world.ask("GET", "2.26/volumes", limit=1).body
    assert body["total_item_count"] is None
    assert (
        world.ask("GET", "2.26/volumes", limit=1, total_item_count=True).body["total_item_count"]
        == 3
    )
    body = world.ask("GET", "2.26/volumes", limit=0).body
    assert (body["items"], body["total_item_count"]) == ([], 3)
    body = world.ask("GET", "2.26/volumes", total_only=True).body
    assert body["items"] == []
    assert body["total"][0]["provisioned"] == 3 * MIB
    assert "name" not in body["total"][0]


RESOURCES = [
    "volumes", "volumes/space", "volumes/tags", "volume-snapshots", "hosts", "connections",
    "protection-groups", "protection-groups/volumes", "protection-group-snapshots", "ports",
    "network-interfaces",
]  # fmt: skip


@pytest.mark.parametrize("resource", RESOURCES)
def test_an_empty_list_has_the_fields_of_a_full_one(resource):
    """Or a filter would be refused for as long as there is nothing to filter."""
    empty, full = build(), build()
    empty.pure.estate.ports = tuple
    full.volume("v1", MIB)
    full.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    full.two("POST", "hosts", names="h")
    full.two("POST", "connections", host_names="h", volume_names="v1")
    full.two("PUT", "volumes/tags/batch", [{"key": "k", "value": "x"}], resource_names="v1")
    full.two("POST", "protection-groups", names="pg")
    full.two("POST", "protection-groups/volumes", group_names="pg", member_names="v1")
    full.two("POST", "protection-group-snapshots", source_names="pg")
    fields = fields_of(full.two("GET", resource)[0])
    assert len(fields) > 2
    for field in fields:
        assert empty.two("GET", resource, filter=f"{field}='x' or not({field})", sort=field) == []
    assert empty.refused("GET", resource, filter="nonsense")
    assert full.refused("GET", resource, filter="nonsense")


# The array itself. -------------------------------------------------------------------------------


def test_the_array_tells_what_it_is(world):
    world.volume("v1", MIB)
    array = world.two("GET", "arrays")[0]
    assert array["name"] == "array-1"
    assert array["space"]["total_provisioned"] == MIB
    pool = world.array.pools["pool-1"]
    assert array["capacity"] == pool.area_bytes + pool.reserve_bytes
    world.wait(5)
    space = world.two("GET", "arrays/space")[0]
    assert space["time"] == round((EPOCH + 5) * 1000)
    assert space["id"] == array["id"]
    assert world.refused("GET", "arrays/space", start_time=1)[0][1] == "start_time"
    assert world.names("controllers") == ["CT0", "CT1"]
    first = {
        "name": "CT0.ETH4",
        "failover": None,
        "iqn": TARGET,
        "nqn": None,
        "portal": "127.0.0.1:3260",
        "wwn": None,
    }
    assert world.two("GET", "ports", names="CT0.ETH4") == [first]
    assert [each["eth"]["address"] for each in world.two("GET", "network-interfaces")] == [
        "127.0.0.1",
        "::1",
    ]
    assert world.names("ports", names="ct1.eth4") == ["CT1.ETH4"]
    assert world.refused("GET", "ports", names="CT9.ETH9") == [("Port does not exist.", "CT9.ETH9")]


@pytest.mark.parametrize("resource", ["pods", "volume-groups", "host-groups", "container-default-protections"])  # fmt: skip
def test_what_there_is_none_of_is_listed_as_nothing(world, resource):
    assert world.two("GET", resource) == []
    assert world.two("GET", resource, filter="name='x'") == []
    assert world.refused("GET", resource, names="x")[0][0].endswith("does not exist.")
    if resource != "container-default-protections":
        assert "is not supported by this array." in world.refused("POST", resource, {}, names="x")[0][0]  # fmt: skip


def test_what_is_not_emulated_says_so(world):
    assert world.refused("GET", "arrays/performance", status=404) == [
        ("This resource is not supported by this array.", "arrays/performance")
    ]
    assert world.refused("DELETE", "arrays", status=405)[0][0].startswith("The method DELETE")
    assert world.ask("GET", "2.99/volumes").status == 404
    assert world.ask("GET", "1.99/volume").status == 450
    assert world.ask("GET", "").status == 404
    assert world.ask("POST", "api_version").status == 405
    versions = world.ask("GET", "api_version").body["version"]
    assert versions[-1] == "2.26"
    assert {"1.0", "1.19", "2.25"} <= set(versions)


def test_a_lost_array_answers_503(world):
    world.volume("v1")
    world.array.lose()
    assert world.refused("GET", "volumes", status=503)[0][0] == "The array is not available."
    assert world.refused_by_one("GET", "volume", status=503)[0][0] == "The array is not available."
    assert world.refused("POST", "volumes", {"provisioned": MIB}, status=503, names="x")
