"""REST 2 of a FlashArray: snapshots, copies, and what is in whose way."""

from __future__ import annotations

import pytest

from arrayapi.pure_world import EPOCH, IQN, build
from stuntdouble.arrayapi.pure import ERADICATION_SECONDS, OUI
from stuntdouble.units import KIB, MIB

GONE = "Volume has been destroyed. It can be recovered by purevol recover and eradicated by purevol eradicate."
SNAPSHOT_GONE = GONE.replace("Volume", "Volume snapshot", 1)
CLASH = "Invalid combination of parameters specified."


@pytest.fixture
def world():
    return build()


def test_a_snapshot_is_called_after_its_volume(world):
    world.volume("v1", 2 * MIB)
    world.wait(1)
    made = world.two("POST", "volume-snapshots", {"suffix": "Before-1"}, source_names="v1")[0]
    assert made["name"] == "v1.Before-1"
    assert made["suffix"] == "Before-1"
    assert made["source"]["name"] == "v1"
    assert made["provisioned"] == 2 * MIB
    assert made["created"] == round((EPOCH + 1) * 1000)
    assert OUI + made["serial"].lower() == world.array.inventory.snapshots["v1.Before-1"].naa
    assert world.two("GET", "volume-snapshots", names="V1.before-1") == [made]
    assert world.two("GET", "volume-snapshots", ids=made["id"]) == [made]
    assert world.two("GET", "volume-snapshots", source_names="v1") == [made]
    assert world.refused("POST", "volume-snapshots", {"suffix": "before-1"}, source_names="v1") == [
        ("Volume snapshot already exists.", "v1.before-1")
    ]
    own = world.two("POST", "volume-snapshots", source_names="v1")[0]
    assert own["suffix"].isdigit()


@pytest.mark.parametrize("suffix", ["", "1", "42", "a_b", "-a", "a-", "a.b", "a" * 64, "a b", "é"])
def test_suffixes_follow_the_rule(world, suffix):
    world.volume("v1")
    ((message, context),) = world.refused("POST", "volume-snapshots", {"suffix": suffix}, source_names="v1")  # fmt: skip
    assert context == suffix
    assert message == (
        "Snapshot suffix must be between 1 and 63 characters (alphanumeric and '-') in length and"
        " begin and end with a letter or number. The suffix must include at least one letter or '-'."
    )


def test_several_volumes_are_snapshotted_in_one_instant_or_not_at_all(world):
    world.volume("v1")
    world.volume("v2")
    made = world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v2,v1")
    assert [each["name"] for each in made] == ["v2.s", "v1.s"]
    assert made[0]["created"] == made[1]["created"]
    said = world.refused("POST", "volume-snapshots", {"suffix": "t"}, source_names="v1,x,y")
    assert said == [("Volume does not exist.", "x"), ("Volume does not exist.", "y")]
    world.volume("v3")
    said = world.refused("POST", "volume-snapshots", {"suffix": "s"}, source_names="v3,v1")
    assert said == [("Volume snapshot already exists.", "v1.s")]
    assert world.refused("POST", "volume-snapshots", {}, source_names="v1,V1")[0][0] == "A volume is named more than once."  # fmt: skip
    assert world.names("volume-snapshots") == ["v2.s", "v1.s"]


def test_snapshots_go_by_ids_of_their_own_and_of_their_volumes(world):
    one, two = world.volume("v1"), world.volume("v2")
    made = world.two("POST", "volume-snapshots", {"suffix": "s"}, source_ids=[one["id"], two["id"]])
    assert [each["name"] for each in made] == ["v1.s", "v2.s"]
    assert world.names("volume-snapshots", source_ids=two["id"]) == ["v2.s"]
    assert world.refused("GET", "volume-snapshots", source_ids="0") == [
        ("Volume does not exist.", "0")
    ]
    said = world.refused("GET", "volume-snapshots", source_ids="0", source_names="v1")
    assert said == [(CLASH, "source_names, source_ids")]
    assert world.refused("POST", "volume-snapshots", {})[0][0].endswith("is required.")
    body = {"suffix": "t", "destroyed": True}
    assert world.refused("POST", "volume-snapshots", body, source_names="v1") == [
        (CLASH, "destroyed")
    ]
    said = world.refused("POST", "volume-snapshots", {}, source_names="v1", on="array-2")
    assert said[0][1] == "on"
    world.two("POST", "volume-snapshots", {"suffix": "t"}, source_names="v1", replicate="false")
    body = {"destroyed": True}
    world.two("PATCH", "volume-snapshots", body, ids=made[0]["id"])
    assert world.names("volume-snapshots", pending_only=True) == ["v1.s"]
    assert world.refused("PATCH", "volume-snapshots", {}, names="v1.t") == [(CLASH, "")]
    copy = world.two("POST", "volumes", {"source": {"id": made[1]["id"]}}, names="c")[0]
    assert copy["source"]["name"] == "v2"
    world.two("DELETE", "volume-snapshots", ids=made[0]["id"])
    assert world.names("volume-snapshots") == ["v2.s", "v1.t"]
    assert world.refused("DELETE", "volume-snapshots")[0][0].endswith("is required.")


def test_a_snapshot_of_a_group_keeps_its_name(world):
    world.volume("v1")
    world.two("POST", "protection-groups", names="pg")
    world.two("POST", "protection-groups/volumes", group_names="pg", member_names="v1")
    world.two("POST", "protection-group-snapshots", {"suffix": "s"}, source_names="pg")
    said = world.refused("PATCH", "volume-snapshots", {"name": "pg.t.v1"}, names="pg.s.v1")
    assert said == [("A snapshot of a protection group cannot be renamed.", "pg.s.v1")]
    world.two("PATCH", "volumes", {"name": "w"}, names="v1")
    assert world.names("volume-snapshots") == ["pg.s.w"]


def test_a_suffix_can_only_be_had_once(world):
    world.volume("v1")
    for suffix in ("s", "t"):
        world.two("POST", "volume-snapshots", {"suffix": suffix}, source_names="v1")
    said = world.refused("PATCH", "volume-snapshots", {"name": "v1.t"}, names="v1.s")
    assert said == [("Volume snapshot already exists.", "v1.t")]
    world.two("PATCH", "volume-snapshots", {"name": "v1.S"}, names="v1.s")
    said = world.refused("PATCH", "volume-snapshots", {"destroyed": False}, names="v1.S")
    assert said == [("Volume snapshot is not destroyed.", "v1.S")]
    made = world.two("POST", "volume-snapshots", {"suffix": "u"}, source_names="v1")
    world.two("PATCH", "volume-snapshots", {"name": "v1.v"}, names="v1.u")
    again = world.two("POST", "volume-snapshots", {"suffix": "u"}, source_names="v1")
    assert again[0]["id"] != made[0]["id"]
    assert set(world.array.inventory.snapshots) == {"v1.S", "v1.t", "v1.v", "v1.u"}


def test_a_name_that_another_interface_has_given_is_in_nobodys_way(world):
    world.volume("v1", MIB)
    world.do(world.array.make_volume("v1.s", MIB, "pool-1"))
    assert world.names("volumes") == ["v1", "v1.s"]
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    assert world.names("volume-snapshots") == ["v1.s"]
    world.two("PATCH", "volumes", {"name": "w"}, names="v1")
    world.volume("v1", MIB)
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    assert world.names("volume-snapshots") == ["w.s", "v1.s"]


def test_a_snapshot_that_was_given_up_cannot_be_had_back():
    world = build(exhaustion="invalidate")
    world.volume("v1", 32 * MIB)
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    for chunk in range(32 * MIB // (64 * KIB)):
        world.write("v1", chunk * 16)
    (item,) = world.two("GET", "volume-snapshots")
    assert item["destroyed"]
    assert item["time_remaining"] == 0
    said = world.refused("PATCH", "volume-snapshots", {"destroyed": False}, names="v1.s")
    assert said == [("The snapshot is no longer available.", "v1.s")]
    world.two("DELETE", "volume-snapshots", names="v1.s")
    assert world.names("volume-snapshots") == []


def test_overwriting_has_its_refusals(world):
    for name, size in (("v1", MIB), ("v2", MIB), ("big", 2 * MIB)):
        world.volume(name, size)
    world.write("v2", 5)
    before = world.tokens("v2")
    assert world.refused(
        "POST", "volumes", {"source": {"name": "v1"}}, names="v1", overwrite=True
    ) == [("A volume cannot be copied over itself.", "v1")]
    said = world.refused("POST", "volumes", {"source": {"name": "v1"}}, names="big", overwrite=True)
    assert said == [("Overwriting a volume of another size is not supported by this array.", "big")]
    world.two("POST", "volumes", {"source": {"name": "v2"}}, names="v1", overwrite=True)
    assert world.tokens("v1") == before
    assert world.two("GET", "volumes", names="v1")[0]["source"]["name"] == "v2"
    made = world.two("POST", "volumes", {"source": {"name": "v2"}}, names="new", overwrite=True)
    assert made[0]["name"] == "new"
    world.two("PATCH", "volumes", {"destroyed": True}, names="big")
    assert world.refused(
        "POST", "volumes", {"source": {"name": "v1"}}, names="big", overwrite=True
    ) == [(GONE, "big")]
    assert world.two("PATCH", "volumes", {"name": "v1"}, names="v1")[0]["name"] == "v1"


def test_what_another_interface_holds_goes_a_day_later(world):
    world.volume("v1", MIB)
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    world.array.hosts.create("h", (IQN,))
    world.do(world.array.map_to_host("v1", "h"))
    world.wait(ERADICATION_SECONDS + 1)
    assert world.two("GET", "volumes")[0]["time_remaining"] == 0
    world.do(world.array.unmap_from_host("v1", "h"))
    world.wait(ERADICATION_SECONDS)
    assert world.names("volumes") == []


def test_an_array_that_is_lost_eradicates_nothing(world):
    world.volume("v1", MIB)
    world.two("PATCH", "volumes", {"destroyed": True}, names="v1")
    world.array.lose()
    world.wait(2 * ERADICATION_SECONDS)
    assert "v1" in world.array.inventory.volumes


def test_a_volume_that_carries_a_datastore_cannot_be_destroyed(world):
    world.volume("v1", 8 * MIB)
    world.site.create_store([world.array.inventory.volumes["v1"].lun], 256, 256)
    assert world.refused("PATCH", "volumes", {"destroyed": True}, names="v1") == [
        ("Volume cannot be deleted due to existing connections.", "v1")
    ]


def test_a_snapshot_goes_by_its_own_steps(world):
    world.volume("v1")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    assert world.refused("DELETE", "volume-snapshots", names="v1.s") == [
        ("Volume snapshot is not destroyed.", "v1.s")
    ]
    renamed = world.two("PATCH", "volume-snapshots", {"name": "v1.t"}, names="v1.s")[0]
    assert renamed["name"] == "v1.t"
    assert world.refused("PATCH", "volume-snapshots", {"name": "w.t"}, names="v1.t") == [
        ("A snapshot cannot be moved to another volume.", "w.t")
    ]
    world.two("PATCH", "volume-snapshots", {"destroyed": True}, names="v1.t")
    assert world.two("GET", "volume-snapshots")[0]["time_remaining"] == 86_400_000
    assert world.refused("PATCH", "volume-snapshots", {"destroyed": True}, names="v1.t") == [
        (SNAPSHOT_GONE, "v1.t")
    ]
    world.two("PATCH", "volume-snapshots", {"destroyed": False}, names="v1.t")
    world.two("PATCH", "volume-snapshots", {"destroyed": True}, names="v1.t")
    world.two("DELETE", "volume-snapshots", names="v1.t")
    assert world.names("volume-snapshots") == []
    for method, body in (("PATCH", {"destroyed": True}), ("DELETE", None), ("GET", None)):
        assert world.refused(method, "volume-snapshots", body, names="v1.t") == [
            ("No such volume or snapshot.", "v1.t")
        ]


def test_a_copy_holds_what_the_snapshot_held_and_outlives_it(world):
    world.volume("v1", MIB)
    world.write("v1", 0, 8)
    before = world.tokens("v1")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    world.write("v1", 4, 8)
    copy = world.two("POST", "volumes", {"source": {"name": "v1.s"}}, names="c")[0]
    assert copy["source"] == {"name": "v1", "id": world.two("GET", "volumes", names="v1")[0]["id"]}
    assert copy["serial"] != world.two("GET", "volumes", names="v1")[0]["serial"]
    assert world.tokens("c") == before
    world.two("PATCH", "volume-snapshots", {"destroyed": True}, names="v1.s")
    world.two("DELETE", "volume-snapshots", names="v1.s")
    assert world.names("volume-snapshots") == []
    assert world.tokens("c") == before
    world.two("PATCH", "volumes", {"destroyed": True}, names="c")
    world.two("DELETE", "volumes", names="c")
    assert world.names("volumes") == ["v1"]


def test_a_volume_is_copied_as_it_is(world):
    made = world.volume("v1", MIB)
    world.write("v1", 3)
    before = world.tokens("v1")
    copy = world.two("POST", "volumes", {"source": {"id": made["id"]}}, names="c")[0]
    assert copy["source"]["name"] == "v1"
    world.write("v1", 3)
    assert world.tokens("c") == before
    assert world.names("volume-snapshots") == []
    assert world.refused("POST", "volumes", {"source": {"name": "v1"}}, names="c") == [
        ("Volume already exists.", "c")
    ]


def test_overwriting_needs_to_be_said_and_keeps_the_identity(world):
    made = world.volume("v1", MIB)
    world.write("v1", 0, 4)
    before = world.tokens("v1")
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    world.write("v1", 2, 4)
    assert world.tokens("v1") != before
    body = {"source": {"name": "v1.s"}}
    assert world.refused("POST", "volumes", body, names="v1") == [("Volume already exists.", "v1")]
    after = world.two("POST", "volumes", body, names="v1", overwrite=True)[0]
    assert after["serial"] == made["serial"]
    assert world.tokens("v1") == before


def test_space_is_told_of_each_volume(world):
    world.volume("v1", MIB)
    item = world.two("GET", "volumes/space")[0]
    assert item["name"] == "v1"
    assert item["space"]["unique"] == MIB
    world.two("POST", "volume-snapshots", {"suffix": "s"}, source_names="v1")
    world.write("v1", 0)
    assert world.two("GET", "volumes/space", names="v1")[0]["space"]["snapshots"] == 64 * KIB
    assert world.two("GET", "volume-snapshots")[0]["space"]["snapshots"] == 64 * KIB
