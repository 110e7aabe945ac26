"""What volumes and snapshots are called, and by which identifiers they are known."""

from __future__ import annotations

import pytest

from stuntdouble.array import Parameters
from stuntdouble.errors import InvalidState, Misuse


@pytest.mark.parametrize("prefix", ["6000", "624a9370", "60002ac0", "60", "6" + "0" * 15])
def test_identifiers_begin_as_the_vendors_do(build, prefix):
    rack = build(naa_prefix=prefix)
    volume = rack.volume("v1")
    (snapshot,) = rack.snapshot(volume)
    for naa in (volume.naa, snapshot.naa):
        assert len(naa) == 32
        assert naa.startswith(prefix)
        assert int(naa, 16)
    assert volume.naa != snapshot.naa


def test_only_the_prefix_of_an_identifier_depends_on_the_vendor(build):
    plain, vendors = build().volume("v1"), build(naa_prefix="60ff").volume("v1")
    assert plain.naa[4:] == vendors.naa[4:]


@pytest.mark.parametrize("prefix", ["", "6", "600", "5000", "624A9370", "6x", "6" * 17, "naa.6"])
def test_what_is_no_prefix_of_an_identifier_is_refused(prefix):
    with pytest.raises(Misuse, match="naa_prefix"):
        Parameters(naa_prefix=prefix)


def test_the_members_of_a_group_may_have_names_of_their_own(build):
    rack = build()
    naas = tuple(rack.volume(name).naa for name in ("v1", "v2"))
    made = rack.do(rack.array.create_snapshots(naas, ("one", "two")))
    assert [(each.name, each.volume.name) for each in made] == [("one", "v1"), ("two", "v2")]
    for names in (("three",), ("three", "three"), ("three", "four", "five")):
        with pytest.raises(Misuse, match="give 2 volumes a name each"):
            rack.do(rack.array.create_snapshots(naas, names))
    with pytest.raises(InvalidState, match="two is there already"):
        rack.do(rack.array.create_snapshots(naas, ("three", "two")))
    assert sorted(rack.array.inventory.snapshots) == ["one", "two"]
