"""REST 2 of a FlashArray: volumes and snapshots, their names, states and refusals."""

from __future__ import annotations

import pytest

from arrayapi.pure_world import EPOCH, IQN, build
from stuntdouble.arrayapi.pure import ERADICATION_SECONDS, OUI, Estate
from stuntdouble.errors import Misuse
from stuntdouble.units import GIB, MIB

GONE = "Volume has been destroyed. It can be recovered by purevol recover and eradicated by purevol eradicate."
SNAPSHOT_GONE = GONE.replace("Volume", "Volume snapshot", 1)
CLASH = "Invalid combination of parameters specified."


@pytest.fixture
def world():
    return build()


# Volumes. ----------------------------------------------------------------------------------------


def test_a_new_volume_is_shown_as_it_is(world):
    world.wait(2.5)
    made = world.volume("v1", 2 * MIB)
    volume = world.array.inventory.volumes["v1"]
    assert made["name"] == "v1"
    assert made["provisioned"] == 2 * MIB
    assert made["created"] == round((EPOCH + 2.5) * 1000)
    assert made["destroyed"] is False
    assert made["time_remaining"] is None
    assert made["connection_count"] == 0
    assert made["source"] == {"name": None, "id": None}
    assert made["promotion_status"] == "promoted"
    assert made["id"] == volume.uuid
    assert OUI + made["serial"].lower() == volume.naa
    assert made["serial"] == volume.serial  # VPD page 80
    assert len(made["serial"]) == 24
    assert made["space"]["total_provisioned"] == made["space"]["unique"] == 2 * MIB
    assert world.two("GET", "volumes") == [made]
    assert world.two("GET", "volumes", names="V1") == [made]
    assert world.two("GET", "volumes", ids=made["id"]) == [made]


def test_an_array_of_another_vendors_identifiers_is_refused():
    with pytest.raises(Misuse, match=r"naa_prefix of array array-1: '6000' is another vendor's"):
        Estate(build(naa_prefix=OUI).array.__class__(*_parts()), EPOCH)


def _parts():
    world = build()
    core = world.array.core
    return core.engine, core.streams, core.journal


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("a1", True),
        ("1a", True),
        ("v_1", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("1", False),
        ("123", False),
        ("1-2", True),
        ("-a", False),
        ("a-", False),
        ("a.b", False),
        ("a b", False),
        ("ä", False),
        ("pod::v", False),
        ("group/v", False),
    ],
)
def test_names_of_volumes_follow_the_rule(world, name, good):
    if good:
        assert world.volume(name)["name"] == name
        return
    ((message, context),) = world.refused("POST", "volumes", {"provisioned": MIB}, names=name)
    assert message.startswith("Volume name must be between 1 and 63 characters")
    assert context == name


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "Volume size must be between"),
        (512, "Volume size must be between"),
        (MIB + 1, "Volume size must be a multiple of 512 bytes."),
        (4503599627370496 + 512, "Volume size must be between"),
    ],
)
def test_sizes_have_bounds(world, size, text):
    ((message, _),) = world.refused("POST", "volumes", {"provisioned": size}, names="v")
    assert message.startswith(text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"provisioned": "1"}, "Invalid value for 'provisioned': a non-negative integer is expected."),
        ({"provisioned": True}, "Invalid value for 'provisioned': a non-negative integer is expected."),
        ({"provisioned": -1}, "Invalid value for 'provisioned': a non-negative integer is expected."),
        ({"provisioned": 1.5}, "Invalid value for 'provisioned': a non-negative integer is expected."),
        ({"provisioned": MIB, "colour": 1}, "Unknown field 'colour'."),
        ({"provisioned": MIB, "qos": {"iops_limit": 5}}, "Limiting the I/O of a volume by 'iops_limit' is not supported by this array."),
        ({"provisioned": MIB, "pod": {"name": "p"}}, "The field 'pod' is not supported by this array."),
        ({"provisioned": MIB, "subtype": "protocol_endpoint"}, "A volume of subtype 'protocol_endpoint' is not supported by this array."),
        ({"provisioned": MIB, "source": {"name": "x"}}, CLASH),
        ({"source": {"name": "x", "id": "y"}}, CLASH),
        ({"source": {}}, CLASH),
        ({"source": {"name": 1}}, "Invalid value for 'name': a string is expected."),
        ({"source": {"id": "0"}}, "No such volume or snapshot."),
        ({"source": {"name": "nobody"}}, "No such volume or snapshot."),
        ({"provisioned": MIB, "destroyed": True}, CLASH),
        ({}, CLASH),
        ([], "Invalid body: an object is expected."),
        ("v", "Invalid body: an object is expected."),
        (b"{", "Invalid JSON:"),
        (b'{"provisioned":1048576,"provisioned":1048576}', "Invalid JSON:"),
        (b'{"provisioned":NaN}', "Invalid JSON:"),
        (b"\xff", "Invalid JSON:"),
    ],
)  # fmt: skip
def test_wrong_bodies_are_refused_by_name(world, body, message):
    ((said, _),) = world.refused("POST", "volumes", body, names="v")
    assert said.startswith(message)
    assert world.names("volumes") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "The query parameter 'names' is required."),
        ({"names": ""}, "Invalid value for 'names': a name is empty."),
        ({"names": "a,,b"}, "Invalid value for 'names': a name is empty."),
        ({"names": ["v"] * 1001}, "Invalid value for 'names': more than 1000 names."),
        ({"names": "v", "nmaes": "w"}, "Unknown query parameter 'nmaes'."),
        ({"names": "v", "overwrite": "yes"}, "Invalid value for 'overwrite': true or false is expected."),
        ({"names": "v", "overwrite": "true"}, CLASH),
        ({"names": "v", "add_to_protection_group_names": "g"}, "The query parameter 'add_to_protection_group_names' is not supported by this array."),
    ],
)  # fmt: skip
def test_wrong_queries_are_refused_by_name(world, query, message):
    said = world.refused("POST", "volumes", {"provisioned": MIB}, **query)
    assert said[0][0] == message


def test_of_several_names_those_that_fail_are_named_and_the_others_are_done(world):
    world.volume("there")
    said = world.refused("POST", "volumes", {"provisioned": MIB}, names="a,there,b.,c")
    assert said[0] == ("Volume already exists.", "there")
    assert said[1][1] == "b."
    assert world.names("volumes") == ["there", "a", "c"]


def test_looking_for_names_that_are_not_there_names_all_of_them(world):
    world.volume("there")
    said = world.refused("GET", "volumes", names="x,there,y")
    assert said == [("Volume does not exist.", "x"), ("Volume does not exist.", "y")]
    assert world.refused("GET", "volumes", ids="0") == [
        ("Resource with this ID does not exist.", "0")
    ]
    assert world.refused("GET", "volumes", names="there", ids="0") == [(CLASH, "names, ids")]


def test_a_name_is_one_whatever_its_case(world):
    world.volume("Vol")
    assert world.refused("POST", "volumes", {"provisioned": MIB}, names="vOL") == [
        ("Volume already exists.", "vOL")
    ]
    assert world.two("PATCH", "volumes", {"name": "VOL"}, names="vol")[0]["name"] == "VOL"


def test_a_volume_that_does_not_fit_is_refused(world):
    ((message, context),) = world.refused("POST", "volumes", {"provisioned": 10 * GIB}, names="v")
    assert message == "There is not enough space on the array."
    assert context == "v"


def test_renaming_takes_the_snapshots_along(world):
    world.volume("v1")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    assert world.two("PATCH", "volumes", {"name": "w"}, names="v1")[0]["name"] == "w"
    assert world.names("volume-snapshots") == ["w.s"]
    assert world.names("volume-snapshots", names="w.s") == ["w.s"]
    world.volume("v1")
    assert world.refused("PATCH", "volumes", {"name": "w"}, names="v1") == [
        ("Volume already exists.", "w")
    ]
    assert world.refused("PATCH", "volumes", {"name": "a.b"}, names="v1")[0][1] == "a.b"


def test_growing_and_what_is_not_growing(world):
    world.volume("v1", 2 * MIB)
    assert world.two("PATCH", "volumes", {"provisioned": 4 * MIB}, names="v1")[0]["provisioned"] == 4 * MIB  # fmt: skip
    assert world.two("PATCH", "volumes", {"provisioned": 4 * MIB}, names="v1")[0]["provisioned"] == 4 * MIB  # fmt: skip
    assert world.refused("PATCH", "volumes", {"provisioned": 2 * MIB}, names="v1") == [
        ("Implicit truncation not permitted.", "v1")
    ]
    said = world.refused("PATCH", "volumes", {"provisioned": 2 * MIB}, names="v1", truncate=True)
    assert said == [("Truncating a volume is not supported by this array.", "v1")]
    assert world.refused("PATCH", "volumes", {"destroyed": True}, names="v1", truncate=True) == [
        (CLASH, "truncate")
    ]


def test_a_change_is_one_change(world):
    world.volume("v1")
    for body in ({"name": "w", "destroyed": True}, {"name": "w", "provisioned": 8 * MIB}, {}):
        assert world.refused("PATCH", "volumes", body, names="v1")[0][0] == CLASH
    world.volume("v2")
    assert world.refused("PATCH", "volumes", {"name": "w"}, names="v1,v2")[0][0] == CLASH
    assert world.names("volumes") == ["v1", "v2"]


def test_only_limits_that_limit_nothing_are_taken(world):
    qos = {"bandwidth_limit": 549755813888, "iops_limit": 100000000}
    world.two("POST", "volumes", {"provisioned": MIB, "qos": qos}, names="v1")
    assert world.two("PATCH", "volumes", {"qos": qos}, names="v1")[0]["name"] == "v1"
    said = world.refused("PATCH", "volumes", {"qos": {"bandwidth_limit": 1 << 20}}, names="v1")
    assert said[0][1] == "qos"
    assert world.refused("PATCH", "volumes", {"qos": qos, "name": "w"}, names="v1")[0][0] == CLASH
    assert world.refused("PATCH", "volumes", {"qos": {"speed": 1}}, names="v1")[0][1] == "speed"


def test_a_demoted_volume_takes_no_writes(world):
    world.volume("v1")
    body = {"requested_promotion_state": "demoted"}
    assert world.two("PATCH", "volumes", body, names="v1")[0]["promotion_status"] == "demoted"
    assert world.array.inventory.volumes["v1"].read_only
    body = {"requested_promotion_state": "promoted"}
    assert world.two("PATCH", "volumes", body, names="v1")[0]["promotion_status"] == "promoted"
    assert not world.array.inventory.volumes["v1"].read_only
    body = {"requested_promotion_state": "up"}
    assert world.refused("PATCH", "volumes", body, names="v1")[0][0] == "Invalid requested promotion state."  # fmt: skip


# Being destroyed. --------------------------------------------------------------------------------


def test_what_is_destroyed_stays_listed_and_keeps_its_name(world):
    world.volume("v1")
    destroyed = world.two("PATCH", "volumes", {"destroyed": True}, names="v1")[0]
    assert destroyed["destroyed"] is True
    assert destroyed["time_remaining"] == 86_400_000
    world.wait(3600.25)
    assert world.two("GET", "volumes")[0]["time_remaining"] == 82_799_750
    assert world.names("volumes", destroyed=False) == []
    assert world.names("volumes", destroyed=True) == ["v1"]
    assert world.names("volumes", pending_only=True) == ["v1"]
    assert world.names("volumes", pending=False) == []
    assert world.refused("POST", "volumes", {"provisioned": MIB}, names="v1") == [(GONE, "v1")]
    for body in ({"destroyed": True}, {"name": "w"}, {"provisioned": 8 * MIB}):
        assert world.refused("PATCH", "volumes", body, names="v1") == [(GONE, "v1")]
    assert world.refused("POST", "volume-snapshots", {}, source_names="v1") == [(GONE, "v1")]
    assert world.refused("POST", "volumes", {"source": {"name": "v1"}}, names="w") == [(GONE, "v1")]


def test_only_what_is_destroyed_can_be_recovered_or_eradicated(world):
    world.volume("v1")
    assert world.refused("DELETE", "volumes", names="v1") == [("Volume is not destroyed.", "v1")]
    assert world.refused("PATCH", "volumes", {"destroyed": False}, names="v1") == [
        ("Volume is not destroyed.", "v1")
    ]
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    assert world.two("PATCH", "volumes", {"destroyed": False}, names="v1")[0]["destroyed"] is False
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    reply = world.ask("DELETE", "2.26/volumes", names="v1")
    assert (reply.status, reply.body) == (200, None)
    assert world.names("volumes") == []
    assert world.refused("DELETE", "volumes", names="v1") == [("Volume does not exist.", "v1")]


def test_a_day_later_it_is_gone_by_itself(world):
    free = world.array.pools["pool-1"].free_bytes
    world.volume("v1")
    world.volume("v2")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1,v2")
    world.wait(ERADICATION_SECONDS / 2)
    world.two("PATCH", "volumes", {"destroyed": False}, names="v2")
    world.wait(10)
    world.two("PATCH", "volumes", {"destroyed": True}, names="v2")
    world.wait(ERADICATION_SECONDS / 2)
    assert world.names("volumes") == ["v2"]  # its day began anew
    assert world.names("volume-snapshots") == []
    world.wait(ERADICATION_SECONDS)
    assert world.names("volumes") == []
    assert world.array.pools["pool-1"].free_bytes == free


def test_a_volume_takes_its_snapshots_with_it_and_back(world):
    world.volume("v1")
    for suffix in ("a", "b"):
        world.two("POST", "volume-snapshots", {"suffix": suffix}, source_names="v1")
    world.two("PATCH", "volume-snapshots", {"destroyed": True}, names="v1.a")
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    assert world.names("volume-snapshots", destroyed=True) == ["v1.a", "v1.b"]
    assert world.refused("PATCH", "volume-snapshots", {"destroyed": False}, names="v1.b") == [(GONE, "v1")]  # fmt: skip
    assert world.refused("POST", "volumes", {"source": {"name": "v1.b"}}, names="w") == [
        (SNAPSHOT_GONE, "v1.b")
    ]
    world.two("PATCH", "volumes", {"destroyed": False}, names="v1")
    assert world.names("volume-snapshots", destroyed=True) == ["v1.a"]
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    world.two("DELETE", "volumes", names="v1")
    assert world.names("volume-snapshots") == []
    assert world.array.inventory.snapshots == {}


def test_what_is_connected_cannot_be_destroyed(world):
    world.volume("v1")
    world.two("POST", "hosts", {"iqns": [IQN]}, names="h")
    world.two("POST", "connections", host_names="h", volume_names="v1")
    assert world.refused("PATCH", "volumes", {"destroyed": True}, names="v1") == [
        ("Volume cannot be deleted due to existing connections.", "v1")
    ]
    world.two("DELETE", "connections", host_names="h", volume_names="v1")
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
