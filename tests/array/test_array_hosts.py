"""Hosts and masking by host: who sees what, mapped snapshots, identities, and who is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.array import Chap
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    LimitReached,
    LunInUse,
    MediumError,
    Misuse,
    NotFound,
    Unreachable,
)

A, B, C = (f"iqn.2026-01.example:{letter}" for letter in "abc")


@pytest.fixture
def told(rack) -> list[str]:
    """The hosts that were told about, by name."""
    names: list[str] = []
    rack.array.on_luns_changed.append(lambda host: names.append(host.name))
    return names


def test_every_initiator_of_a_host_sees_the_same(rack, told) -> None:
    host = rack.array.hosts.create("esx", (A, B))
    volume = rack.volume()
    mapping = rack.do(rack.array.map_to_host("v1", "esx"))
    assert (mapping.volume, mapping.naa, mapping.host, mapping.lun) == (
        "v1", volume.naa, "esx", 0,
    )  # fmt: skip
    assert rack.array.luns(A) == rack.array.luns(B) == {0: volume}
    assert rack.array.luns(C) == {}
    assert [m.initiator_iqn for m in rack.array.mappings()] == [A, B]
    assert rack.array.masking.to_hosts() == (mapping,)
    assert told == ["esx"]
    rack.do(rack.array.unmap_volume("v1", B))  # one initiator stands for its host
    assert rack.array.luns(A) == {}
    assert told == ["esx", "esx"]
    assert host.iqns == (A, B)


def test_an_initiator_without_a_host_gets_one(rack) -> None:
    rack.array.hosts.create("host-1")
    volume = rack.volume()
    rack.do(rack.array.map_volume("v1", A, 9))
    found = rack.array.hosts.by_iqn(A)
    assert found.name == "host-2"
    assert found.iqns == (A,)
    assert rack.array.masking.luns_of(found) == {9: volume}
    rack.do(rack.array.unmap_volume("v1", B))  # asks, and makes none
    assert rack.array.hosts.by_iqn(B) is None


def test_what_is_refused_makes_no_host(rack) -> None:
    rack.volume()
    for wrong, error in (("nothing", NotFound), ("v1", Misuse)):
        with pytest.raises(error):
            rack.do(rack.array.map_volume(wrong, A, -1))
    assert rack.array.hosts.all() == ()


def test_hosts_are_found_renamed_and_deleted(rack, told) -> None:
    hosts = rack.array.hosts
    first, second = hosts.create("one", (A,)), hosts.create("two")
    assert (first.number, second.number) == (0, 1)
    assert hosts.all() == (first, second)
    assert hosts.rename("one", "uno") is first
    assert hosts.all() == (first, second)
    assert hosts.get("uno") is hosts.by_iqn(A) is first
    with pytest.raises(NotFound, match="one"):
        hosts.get("one")
    with pytest.raises(InvalidState, match="two"):
        hosts.rename("uno", "two")
    assert hosts.rename("two", "two") is second
    rack.volume()
    rack.do(rack.array.map_to_host("v1", "uno"))
    with pytest.raises(InvalidState, match="mapped"):
        hosts.delete("uno")
    rack.do(rack.array.unmap_from_host("v1", "uno"))
    hosts.delete("uno")
    assert hosts.by_iqn(A) is None
    assert hosts.create("three", (A,)).number == 2
    assert told == ["uno", "uno"]
    with pytest.raises(NotFound):
        hosts.delete("uno")


def test_an_initiator_has_one_host(rack) -> None:
    hosts = rack.array.hosts
    hosts.create("one", (A, B))
    with pytest.raises(InvalidState, match="host one"):
        hosts.create("two", (B,))
    with pytest.raises(InvalidState, match="there already"):
        hosts.create("one", (C,))
    two = hosts.create("two", (C,))
    with pytest.raises(InvalidState, match="host one"):
        hosts.set_iqns("two", (C, A))
    for wrong in ((A, A), ("iscsi",), ("iqn.2026-13.example:a",), ("iqn.2026-01.e:" + "ä" * 120,)):
        with pytest.raises(Misuse):
            hosts.set_iqns("one", wrong)
    assert hosts.get("one").iqns == (A, B)
    assert two.iqns == (C,)
    for name in ("", "-x", "a b", "x" * 32):
        with pytest.raises(Misuse):
            hosts.create(name)


def test_an_initiator_that_is_taken_out_sees_nothing(rack, told) -> None:
    hosts = rack.array.hosts
    hosts.create("one", (A,))
    volume = rack.volume()
    rack.do(rack.array.map_to_host("v1", "one"))
    hosts.set_iqns("one", (B,))
    hosts.set_iqns("one", (B,))  # nothing new
    assert told == ["one", "one"]
    assert rack.array.luns(A) == {}
    assert rack.array.luns(B) == {0: volume}
    with pytest.raises(AccessDenied):
        rack.array.lun_for(A, volume.naa)
    hosts.create("two", (A,))
    assert rack.array.luns(A) == {}


def test_secrets_are_kept_and_not_shown(rack) -> None:
    host = rack.array.hosts.create("one", (A,))
    secrets = Chap("me", "secret-of-mine", "you", "secret-of-yours")
    rack.array.hosts.set_chap("one", secrets)
    assert host.chap is secrets
    assert "secret-of" not in repr(host) + str(list(rack.journal))
    rack.array.hosts.set_chap("one", None)
    assert host.chap is None


@given(lun=st.integers(0, 16383))
@settings(max_examples=20)
def test_any_lun_number_of_flat_space_can_be_had(build, lun: int) -> None:
    rack = build(lun_max=16383)
    rack.array.hosts.create("one", (A,))
    rack.volume(), rack.volume("v2")
    assert rack.do(rack.array.map_to_host("v1", "one", lun)).lun == lun
    with pytest.raises(LunInUse, match=f"LUN {lun} is already mapped to one"):
        rack.do(rack.array.map_to_host("v2", "one", lun))
    with pytest.raises(Misuse):
        rack.do(rack.array.map_to_host("v2", "one", 16384))
    assert rack.do(rack.array.map_to_host("v2", "one")).lun == (1 if lun == 0 else 0)


def test_what_a_map_refuses(build) -> None:
    rack = build(lun_max=0)
    rack.array.hosts.create("one", (A,))
    rack.volume(), rack.volume("v2")
    rack.do(rack.array.map_to_host("v1", "one"))
    with pytest.raises(LimitReached, match="one"):
        rack.do(rack.array.map_to_host("v2", "one"))
    with pytest.raises(InvalidState, match="mapped to one already"):
        rack.do(rack.array.map_to_host("v1", "one"))
    for ask in (
        rack.array.map_to_host("v1", "nobody"),
        rack.array.unmap_from_host("v1", "nobody"),
        rack.array.map_to_host("v9", "one"),
    ):
        with pytest.raises(NotFound):
            rack.do(ask)
    rack.do(rack.array.unmap_from_host("v9", "one"))  # not there is no error


# Snapshots that are mapped themselves. -----------------------------------------------------


def test_a_mapped_snapshot_shows_its_moment(rack, told) -> None:
    rack.array.hosts.create("one", (A,))
    rack.array.hosts.create("two", (B,))
    volume = rack.volume()
    [snapshot] = rack.snapshot(volume)
    then = volume.lun.tokens(0, 64).tolist()
    known = snapshot.naa, snapshot.id, snapshot.uuid
    rack.write(volume, 0, 32)
    first = rack.do(rack.array.map_to_host("s", "one", 3))
    second = rack.do(rack.array.map_to_host("s", "two"))
    assert first.naa == second.naa == snapshot.naa
    view = rack.array.luns(A)[3]
    assert view is rack.array.luns(B)[0]
    assert (view.name, view.read_only) == ("s", True)
    assert (view.naa, view.id, view.uuid) == known
    assert view.lun.tokens(0, 64).tolist() == then != volume.lun.tokens(0, 64).tolist()
    assert rack.array.show(view, 0, 4).tobytes() == snapshot.image.lun.render(0, 4).tobytes()
    assert rack.array.lun_for(A, snapshot.naa) is view.lun
    with pytest.raises(InvalidState, match="mapped"):
        rack.do(rack.array.delete_snapshot("s"))
    rack.do(rack.array.unmap_from_host("s", "one"))
    assert snapshot.view is view
    rack.do(rack.array.unmap_volume("s", B))
    assert snapshot.view is None
    assert told == ["one", "two", "one", "two"]
    with pytest.raises(AccessDenied):
        rack.array.lun_for(A, snapshot.naa)
    rack.do(rack.array.delete_snapshot("s"))
    assert view.lun.number not in rack.site.luns


def test_a_mapped_snapshot_is_no_volume(rack) -> None:
    rack.array.hosts.create("one", (A,))
    volume = rack.volume()
    [snapshot] = rack.snapshot(volume)
    rack.do(rack.array.map_to_host("s", "one"))
    assert set(rack.array.inventory.volumes) == {"v1"}
    for ask in (
        lambda: rack.array.volume("s"),
        lambda: rack.array.by_naa(snapshot.naa),
        lambda: rack.do(rack.array.create_snapshots((snapshot.naa,), "t")),
    ):
        with pytest.raises(NotFound):
            ask()
    rack.do(rack.array.delete_volume("s"))  # no volume of that name
    assert rack.array.luns(A)[0].origin is snapshot


def test_a_snapshot_that_was_given_up_shows_nothing(build) -> None:
    rack = build(reserve=64 * 1024)
    rack.array.hosts.create("one", (A,))
    volume = rack.volume()
    [snapshot] = rack.snapshot(volume)
    rack.do(rack.array.map_to_host("s", "one"))
    view = snapshot.view
    rack.write(volume, 0, 16)
    rack.write(volume, 16, 16)
    assert not snapshot.valid
    with pytest.raises(MediumError):
        rack.array.show(view, 0, 1)
    with pytest.raises(MediumError):
        rack.array.lun_for(A, snapshot.naa)
    rack.array.hosts.create("two", (B,))
    with pytest.raises(InvalidState, match="no longer valid"):
        rack.do(rack.array.map_to_host("s", "two"))
    rack.do(rack.array.unmap_from_host("s", "one"))
    rack.do(rack.array.delete_snapshot("s"))


def test_identities_are_unique_and_last(rack) -> None:
    volume = rack.volume()
    [snapshot] = rack.snapshot(volume)
    copy = rack.do(rack.array.promote("s", "c"))
    things = [volume, snapshot, copy]
    for what in ("naa", "id", "uuid"):
        assert len({getattr(each, what) for each in things}) == 3
    assert [each.created for each in things] == [0.0, snapshot.created, rack.env.now]
    assert all(each.naa.startswith("6000") and len(each.naa) == 32 for each in things)
    was = copy.naa, copy.id, copy.uuid
    rack.do(rack.array.delete_volume("c"))
    again = rack.do(rack.array.promote("s", "c"))
    assert not set(was) & {again.naa, again.id, again.uuid}
    volume.notes["comment"] = "mine"
    assert rack.array.volume("v1").notes == {"comment": "mine"}


def test_a_lost_array_has_no_hosts_to_ask(rack) -> None:
    rack.array.hosts.create("one", (A,))
    rack.array.lose()
    for ask in (
        lambda: rack.array.hosts.create("two"),
        lambda: rack.array.hosts.get("one"),
        rack.array.hosts.all,
        lambda: rack.array.luns(A),
        lambda: rack.do(rack.array.map_to_host("v1", "one")),
        lambda: rack.do(rack.array.unmap_from_host("v1", "one")),
    ):
        with pytest.raises(Unreachable):
            ask()
