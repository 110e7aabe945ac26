"""REST 1 of a FlashArray; and that it says the same of the same things as REST 2."""

from __future__ import annotations

import pytest

from arrayapi.pure_world import IQN, OTHER, build
from stuntdouble.units import GIB, MIB

CLASH = "Invalid combination of parameters specified."


@pytest.fixture
def world():
    return build()


def test_volumes_live_and_die(world):
    made = world.one("POST", "volume/v1", {"size": "2M"})
    assert made == {
        "name": "v1",
        "source": None,
        "serial": world.two("GET", "volumes")[0]["serial"],
        "size": 2 * MIB,
        "created": "2026-01-01T00:00:00Z",
    }
    assert world.one("GET", "volume") == [made]
    assert world.one("GET", "volume/v1", {}) == made
    assert world.one("GET", "volume", {"names": ["v1"]}) == [made]
    assert world.one("GET", "volume", names="v1") == [made]
    assert world.one("PUT", "volume/v1", {"name": "w"}) == {"name": "w"}
    assert world.one("DELETE", "volume/w") == {"name": "w"}
    assert world.one("GET", "volume") == []
    assert world.one("GET", "volume", {"pending": True})[0]["time_remaining"] == 86_400
    assert world.one("GET", "volume", pending_only="true")[0]["name"] == "w"
    assert world.refused_by_one("GET", "volume/w") == [("Volume does not exist.", "w")]
    assert world.one("PUT", "volume/w", {"action": "recover"}) == {"name": "w"}
    assert world.refused_by_one("DELETE", "volume/w", {"eradicate": True}) == [("Volume is not destroyed.", "w")]  # fmt: skip
    world.one("DELETE", "volume/w")
    assert "has been destroyed" in world.refused_by_one("DELETE", "volume/w")[0][0]
    assert world.one("DELETE", "volume/w", {"eradicate": True}) == {"name": "w"}
    assert world.refused_by_one("DELETE", "volume/w") == [("Volume does not exist.", "w")]
    assert world.two("GET", "volumes") == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [(MIB, MIB), ("2048S", MIB), ("1024K", MIB), ("1M", MIB), ("1m", MIB), ("1024k", MIB)],
)
def test_sizes_have_units(world, size, expected):
    assert world.one("POST", "volume/v", {"size": size})["size"] == expected


@pytest.mark.parametrize("size", ["", "M", "1.5G", "-1G", "1X", "1 G", "٣G", "9" * 30 + "P", True, None, [1]])  # fmt: skip
def test_what_is_no_size_is_refused(world, size):
    world.refused_by_one("POST", "volume/v", {"size": size})
    assert world.one("GET", "volume") == []


def test_growing_is_told_by_name_and_size(world):
    world.one("POST", "volume/v", {"size": "2M"})
    assert world.one("PUT", "volume/v", {"size": "4M", "truncate": False}) == {"name": "v", "size": 4 * MIB}  # fmt: skip
    said = world.refused_by_one("PUT", "volume/v", {"size": MIB, "truncate": True})
    assert said == [("Truncating a volume is not supported by this array.", "v")]
    assert world.refused_by_one("PUT", "volume/v", {"name": "w", "size": MIB})[0][0] == CLASH
    assert world.refused_by_one("PUT", "volume/v", {"container": "pod"})[0][1] == "container"
    assert world.refused_by_one("PUT", "volume/v", {"action": "explode"}) == [("Invalid action.", "explode")]  # fmt: skip


def test_snapshots_share_the_path_of_volumes(world):
    world.one("POST", "volume/v1", {"size": MIB})
    world.one("POST", "volume/v2", {"size": MIB})
    made = world.one("POST", "volume", {"snap": True, "source": ["v1", "v2"], "suffix": "s"})
    assert [(each["name"], each["source"]) for each in made] == [("v1.s", "v1"), ("v2.s", "v2")]
    assert world.one("GET", "volume", {"snap": True}) == made
    assert world.one("GET", "volume/v1", {"snap": True}) == made[:1]
    assert world.one("GET", "volume/v1.s") == made[0]
    assert world.one("GET", "volume", {"snap": True, "names": ["v2", "v1.s"]}) == made[::-1]
    copy = world.one("POST", "volume/c", {"source": "v1.s"})
    assert (copy["name"], copy["source"]) == ("c", "v1")
    said = world.refused_by_one("POST", "volume/c", {"source": "v1.s"})
    assert said == [("Volume already exists.", "c")]
    assert world.one("PUT", "volume/v1.s", {"name": "v1.t"}) == {"name": "v1.t"}
    assert world.one("DELETE", "volume/v1.t") == {"name": "v1.t"}
    assert world.one("PUT", "volume/v1.t", {"action": "recover"}) == {"name": "v1.t"}
    world.one("DELETE", "volume/v1.t")
    assert world.one("GET", "volume", {"snap": True, "pending_only": True})[0]["name"] == "v1.t"
    assert world.one("DELETE", "volume/v1.t", {"eradicate": True}) == {"name": "v1.t"}
    assert world.names("volume-snapshots") == ["v2.s"]
    assert world.refused_by_one("PUT", "volume/v2.s", {"size": GIB})[0][1] == "v2.s"
    assert world.refused_by_one("POST", "volume", {"source": ["v1"]}) == [(CLASH, "snap, source")]
    said = world.refused_by_one("POST", "volume", {"snap": True, "source": ["x"], "suffix": "s"})
    assert said == [("Volume does not exist.", "x")]


def test_numbers_may_come_in_the_query(world):
    assert world.one("POST", "volume/v1", None, size=str(MIB))["size"] == MIB
    world.one("POST", "host/h")
    assert world.one("POST", "host/h/volume/v1", None, lun="4")["lun"] == 4
    assert world.one("GET", "volume", None, space="true")[0]["volumes"] == MIB
    assert world.refused_by_one("GET", "volume", None, snap="maybe")[0][1] == "snap"
    world.one("POST", "volume", {"snap": True, "source": ["v1"], "suffix": "s"})
    assert world.one("GET", "volume", {"snap": True, "space": True})[0]["snapshots"] == 0
    assert world.refused_by_one("GET", "array", {"space": True, "controllers": True})[0][0] == CLASH
    assert world.refused_by_one("GET", "host/h/volume", {"private": True, "shared": True})[0][0] == CLASH  # fmt: skip
    assert world.refused_by_one("PUT", "volume/v1.s", {"action": "explode"})[0][1] == "v1.s"


def test_groups_have_their_refusals(world):
    world.one("POST", "volume/v1", {"size": MIB})
    world.one("POST", "pgroup/pg", {"vollist": ["v1"]})
    assert world.refused_by_one("POST", "pgroup/PG")[0][0] == "Protection group already exists."
    assert world.refused_by_one("POST", "pgroup", {"source": ["pg"]})[0][0] == CLASH
    assert world.refused_by_one("PUT", "pgroup/pg", {"action": "x"}) == [("Invalid action.", "x")]
    assert world.refused_by_one("PUT", "pgroup/pg", {})[0][0] == CLASH
    assert (
        world.refused_by_one("PUT", "pgroup/pg", {"vollist": [], "addvollist": []})[0][0] == CLASH
    )
    assert world.refused_by_one("PUT", "pgroup/pg", {"action": "recover"})[0][0].endswith("is not destroyed.")  # fmt: skip
    world.one("POST", "pgroup", {"snap": True, "source": ["pg"], "suffix": "s"})
    said = world.refused_by_one("PUT", "pgroup/pg.s", {"action": "recover"})
    assert said == [("Protection group snapshot is not destroyed.", "pg.s")]
    world.one("DELETE", "pgroup/pg.s")
    assert "has been destroyed" in world.refused_by_one("DELETE", "pgroup/pg.s")[0][0]
    world.one("DELETE", "pgroup/pg")
    assert "has been destroyed" in world.refused_by_one("DELETE", "pgroup/pg")[0][0]
    assert world.refused_by_one("GET", "pgroup/pg") == [("Protection group does not exist.", "pg")]
    assert world.one("GET", "pgroup/pg", {"pending": True})["name"] == "pg"


def test_a_volume_may_be_demoted(world):
    world.one("POST", "volume/v", {"size": MIB})
    world.one("PUT", "volume/v", {"requested_promotion_state": "demoted"})
    assert world.two("GET", "volumes")[0]["promotion_status"] == "demoted"
    world.refused_by_one("PUT", "volume/v", {"requested_promotion_state": "sideways"})


def test_hosts_see_volumes(world):
    for name in ("v1", "v2"):
        world.one("POST", f"volume/{name}", {"size": MIB})
    made = world.one("POST", "host/h", {"iqnlist": [IQN]})
    assert made == {"name": "h", "hgroup": None, "iqn": [IQN], "wwn": [], "nqn": []}
    assert world.one("GET", "host") == [made]
    assert world.one("GET", "host/h") == made
    assert world.one("POST", "host/h/volume/v1", {}) == {"name": "h", "vol": "v1", "lun": 1}
    assert world.one("POST", "host/h/volume/v2", {"lun": 9})["lun"] == 9
    said = world.refused_by_one("POST", "host/h/volume/v1")
    assert said == [("Connection already exists.", "v1")]
    assert [each["lun"] for each in world.one("GET", "host/h/volume")] == [1, 9]
    assert len(world.one("GET", "host/h/volume", {"private": True})) == 2
    assert world.one("GET", "host/h/volume", {"shared": True}) == []
    assert world.one("GET", "volume/v1/host") == [
        {"name": "v1", "host": "h", "lun": 1, "size": MIB}
    ]
    assert world.one("GET", "volume/v1/hgroup") == []
    said = world.refused_by_one("DELETE", "host/h")
    assert said == [("Host cannot be deleted due to existing connections.", "h")]
    assert world.one("DELETE", "host/h/volume/v1") == {"name": "h", "vol": "v1"}
    said = world.refused_by_one("DELETE", "host/h/volume/v1")
    assert said == [("Volume is not connected to host h.", "v1")]
    world.one("DELETE", "host/h/volume/v2")
    assert world.one("DELETE", "host/h") == {"name": "h"}
    assert world.refused_by_one("GET", "host/h") == [("Host does not exist.", "h")]


def test_hosts_change(world):
    world.one("POST", "host/h", {"iqnlist": [IQN]})
    assert world.one("PUT", "host/h", {"addiqnlist": [OTHER]})["iqn"] == [IQN, OTHER]
    assert world.one("PUT", "host/h", {"remiqnlist": [IQN]})["iqn"] == [OTHER]
    assert world.one("PUT", "host/h", {"iqnlist": []})["iqn"] == []
    assert world.one("PUT", "host/h", {"personality": "esxi"})["personality"] == "esxi"
    assert world.one("GET", "host/h", {"personality": True}) == {"name": "h", "personality": "esxi"}
    secrets = {"host_user": "u", "host_password": "p" * 12}
    assert world.one("PUT", "host/h", secrets)["host_password"] == "****"
    assert world.one("GET", "host", {"chap": True})[0]["host_user"] == "u"
    assert world.one("PUT", "host/h", {"name": "g"}) == {"name": "g"}
    assert world.refused_by_one("PUT", "host/g", {"name": "x", "iqnlist": []})[0][0] == CLASH
    assert world.refused_by_one("PUT", "host/g", {})[0][0] == CLASH
    assert world.refused_by_one("PUT", "host/g", {"wwnlist": ["x"]})[0][1] == "wwnlist"


def test_groups_are_snapshotted(world):
    for name in ("v1", "v2"):
        world.one("POST", f"volume/{name}", {"size": MIB})
    made = world.one("POST", "pgroup/pg", {"vollist": ["v1"]})
    assert (made["name"], made["volumes"]) == ("pg", ["v1"])
    assert world.one("POST", "volume/v2/pgroup/pg") == {"name": "v2", "protection_group": "pg"}
    snapshot = world.one("POST", "pgroup", {"snap": True, "source": ["pg"], "suffix": "s"})
    assert snapshot == [{"name": "pg.s", "source": "pg", "created": "2026-01-01T00:00:00Z"}]
    assert [each["name"] for each in world.one("GET", "volume", {"snap": True})] == ["pg.s.v1", "pg.s.v2"]  # fmt: skip
    assert world.one("GET", "pgroup/pg", {"snap": True}) == snapshot
    assert world.one("PUT", "pgroup/pg", {"vollist": ["v2"]})["volumes"] == ["v2"]
    assert world.one("PUT", "pgroup/pg", {"addvollist": ["v1"], "remvollist": ["v2"]})["volumes"] == ["v1"]  # fmt: skip
    assert world.one("DELETE", "volume/v1/pgroup/pg")["name"] == "v1"
    world.one("DELETE", "pgroup/pg.s")
    assert world.one("GET", "pgroup", {"snap": True}) == []
    assert world.one("PUT", "pgroup/pg.s", {"action": "recover"}) == {"name": "pg.s"}
    world.one("DELETE", "pgroup/pg.s")
    assert world.one("DELETE", "pgroup/pg.s", {"eradicate": True}) == {"name": "pg.s"}
    assert world.one("DELETE", "pgroup/pg") == {"name": "pg"}
    assert world.one("GET", "pgroup") == []
    assert len(world.one("GET", "pgroup", {"pending_only": True})) == 1
    world.one("PUT", "pgroup/pg", {"action": "recover"})
    assert len(world.one("GET", "pgroup")) == 1
    world.one("DELETE", "pgroup/pg")
    world.one("DELETE", "pgroup/pg", {"eradicate": True})
    assert world.refused_by_one("GET", "pgroup/pg") == [("Protection group does not exist.", "pg")]
    assert world.refused_by_one("POST", "pgroup/q", {"vollist": ["v1", "V1"]})[0][1] == "vollist"
    assert world.refused_by_one("POST", "pgroup/q", {"hostlist": ["h"]})[0][1] == "hostlist"
    assert world.one("GET", "pgroup", {"pending": True}) == []


def test_the_array_tells_what_it_is(world):
    world.one("POST", "volume/v1", {"size": MIB})
    array = world.one("GET", "array")
    assert array["array_name"] == "array-1"
    assert array["id"] == world.two("GET", "arrays")[0]["id"]
    assert world.one("GET", "array", {"space": True})[0]["volumes"] == MIB
    assert [each["name"] for each in world.one("GET", "array", {"controllers": True})] == ["CT0", "CT1"]  # fmt: skip
    assert world.one("GET", "port")[0]["portal"] == "127.0.0.1:3260"
    assert world.one("GET", "network")[0]["address"] == "127.0.0.1"
    for path in ("hgroup", "pod", "vgroup"):
        assert world.one("GET", path) == []
    space = world.one("GET", "volume", {"space": True})
    assert (space[0]["volumes"], space[0]["snapshots"]) == (MIB, 0)


def test_what_is_not_emulated_says_so(world):
    for method, path, status in (
        ("GET", "drive", 404), ("GET", "volume/v/diff", 404), ("GET", "volume/", 404),
        ("PUT", "array", 405), ("POST", "hgroup", 405), ("POST", "hgroup/x", 404),
    ):  # fmt: skip
        ((message, _),) = world.refused_by_one(method, path, status=status)
        assert message.endswith("by this array.")
    world.one("POST", "volume/v1", {"size": MIB})
    assert world.refused_by_one("GET", "volume", {"action": "monitor"})[0][1] == "action"
    assert (
        world.refused_by_one("GET", "volume", {"nonsense": 1})[0][0] == "Unknown field 'nonsense'."
    )
    assert world.refused_by_one("GET", "volume", [])[0][0] == "Invalid body: an object is expected."
    assert world.refused_by_one("GET", "volume", b"{")[0][0].startswith("Invalid JSON")
