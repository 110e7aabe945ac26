"""Unit attentions: who hears of what, in which order, and once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi.bench import ISID, ONE, TWO, Bench, ten
from stuntdouble.scsi import MemoryUnit, Nexus, pack_lun
from stuntdouble.scsi.paths import Path
from stuntdouble.scsi.state import UnitState

READY = "00 00 0000 00 00"
SECOND = "6000" + "0" * 27 + "2"


def hears(bench: Bench, nexus: Nexus, **where) -> list[str]:
    """Return what a unit tells a session until it has nothing left to tell."""
    found = []
    while (told := bench.told(READY, nexus=nexus, **where)) != "00":
        found.append(told)
    return found


def test_a_new_session_hears_of_a_power_on_from_each_unit(bench):
    bench.luns.by_initiator[ONE][2] = MemoryUnit(naa=SECOND)
    new = Nexus(ONE, ISID, 3)
    bench.server.connect(new)
    for lun in (1, 2, 0):
        assert hears(bench, new, lun=lun) == ["06/29/00"]
    assert hears(bench, bench.one) == []


def test_some_commands_pass_by_and_change_nothing(bench):
    bench.server.connect(bench.one)
    assert bench.sent("12 00 00 0024 00")
    assert bench.sent("a0 00 00 000000 000000ff 00 00")
    assert bench.told(ten(0x28, 0, 1)) == "06/29/00"
    assert bench.sent(ten(0x28, 0, 1)) == bytes(512)


def test_attentions_come_before_whatever_else_is_wrong(bench):
    bench.server.connect(bench.one)
    assert bench.told("ff" * 16) == "06/29/00"
    bench.server.connect(bench.one)
    assert bench.told(ten(0x28, 1 << 31, 1)) == "06/29/00"


def test_sense_can_be_asked_for_and_is_heard_by_that(bench):
    bench.server.connect(bench.one)
    assert complaint_of(bench.sent("03 00 0000 ff 00")) == "06/29/00"
    assert complaint_of(bench.sent("03 00 0000 ff 00")) == "00/00/00"
    assert bench.told(READY) == "00"
    assert bench.sent("03 01 0000 ff 00")[0] == 0x72


def complaint_of(data: bytes) -> str:
    return f"{data[2]:02x}/{data[12]:02x}/{data[13]:02x}"


def test_a_map_and_an_unmap_are_told_of_to_that_initiator_alone(bench):
    bench.luns.by_initiator[ONE][2] = MemoryUnit(naa=SECOND)
    bench.server.luns_changed(ONE)
    assert hears(bench, bench.one) == ["06/3f/0e"]
    assert hears(bench, bench.one, lun=2) == ["06/29/00"]
    assert hears(bench, bench.two) == []
    del bench.luns.by_initiator[ONE][2]
    bench.server.luns_changed(ONE)
    assert hears(bench, bench.one) == ["06/3f/0e"]


def test_who_has_asked_for_the_luns_need_not_be_told_that_they_have_changed(bench):
    bench.server.luns_changed(ONE)
    bench.sent("a0 00 00 000000 000000ff 00 00")
    assert hears(bench, bench.one) == []


def test_another_capacity_is_told_of_to_all(bench):
    bench.unit.grow(2 << 20)
    bench.server.capacity_changed(bench.unit.naa)
    for nexus in (bench.one, bench.two):
        assert hears(bench, nexus) == ["06/2a/09"]
    assert bench.sent(ten(0x28, 4095, 1)) == bytes(512)


def test_a_reset_is_told_of_first_and_keeps_what_was_to_be_told(bench):
    bench.server.capacity_changed(bench.unit.naa)
    assert bench.server.reset_unit(bench.one, pack_lun(1))
    for nexus in (bench.one, bench.two):
        assert hears(bench, nexus) == ["06/29/03", "06/2a/09"]
    assert not bench.server.reset_unit(bench.one, pack_lun(2))
    assert bench.server.reset_unit(bench.one, pack_lun(0))
    bench.server.reset_target()
    assert hears(bench, bench.two) == ["06/29/03"]


def test_anything_may_be_told_by_one_unit_or_all(bench):
    bench.luns.by_initiator[ONE][2] = MemoryUnit(naa=SECOND)
    assert hears(bench, bench.one, lun=2) == ["06/29/00"]
    bench.server.attention(ONE, 0x3F, 0x03, lun=2)
    assert hears(bench, bench.one) == []
    assert hears(bench, bench.one, lun=2) == ["06/3f/03"]
    bench.server.attention(ONE, 0x3F, 0x03)
    assert hears(bench, bench.one) == ["06/3f/03"]
    assert hears(bench, bench.one, lun=2) == ["06/3f/03"]
    bench.server.attention("iqn.2026-11.test:nobody", 0x3F, 0x03)
    bench.server.attention(ONE, 0x3F, 0x03, lun=77)
    assert hears(bench, bench.two) == []


def test_one_session_may_be_told_something_by_a_unit_that_it_sees(bench):
    new = Nexus(ONE, ISID, 3)
    bench.server.connect(new)
    bench.server.attend(new, pack_lun(1), (0x2A, 0x01))
    bench.server.attend(new, pack_lun(2), (0x2A, 0x01))
    assert hears(bench, new) == ["06/29/00", "06/2a/01"]
    assert hears(bench, bench.one) == []


def test_an_ended_session_is_told_nothing(bench):
    bench.server.disconnect(bench.two)
    bench.server.disconnect(bench.two)
    bench.server.luns_changed(TWO)
    bench.connect(bench.two)
    assert hears(bench, bench.two) == []


def test_units_that_are_gone_are_forgotten(bench):
    for number in range(100):
        naa = f"6000{number:028x}"
        bench.luns.by_initiator[ONE][7] = MemoryUnit(naa=naa)
        bench.server.luns_changed(ONE)
        assert bench.told(READY, lun=7) in ("06/29/00", "06/3f/0e")
        del bench.luns.by_initiator[ONE][7]
        bench.server.luns_changed(ONE)
    assert len(bench.server._states) <= 3
    assert len(bench.server._sessions[bench.one].paths) <= 2


@given(st.lists(st.tuples(st.sampled_from([0x29, 0x2A, 0x3F]), st.integers(0, 3)), max_size=30))
def test_each_thing_is_told_once_and_resets_first(codes):
    path = Path(Nexus(ONE, ISID, 1), UnitState("6"))
    for code in codes:
        path.attend(code)
    assert sorted(path.attentions) == sorted(set(codes))
    kinds = [asc == 0x29 for asc, _ in path.attentions]
    assert kinds == sorted(kinds, reverse=True)
    others = [code for code in path.attentions if code[0] != 0x29]
    assert others == [code for code in dict.fromkeys(codes) if code[0] != 0x29]


@pytest.mark.parametrize("code", [(0x3F, 0x0E), (0x2A, 0x09)])
def test_what_is_forgotten_is_not_told(code):
    path = Path(Nexus(ONE, ISID, 1), UnitState("6"))
    path.attend(code)
    path.forget(code)
    path.forget(code)
    assert path.attentions == []
