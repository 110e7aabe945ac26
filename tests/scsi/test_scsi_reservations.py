"""Reservations: who may do what while others hold a unit, against a small model of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi.bench import ISID, ONE, TWO, Bench, complaint, pointer, sixteen, ten
from stuntdouble.scsi import DeviceServer, MemoryLuns, Nexus, pack_lun, reservations

KINDS = [1, 3, 5, 6, 7, 8]
READY, READ, WRITE = "00 00 0000 00 00", ten(0x28, 0, 1), ten(0x2A, 0, 1)
CONFLICT = "18"


def out(action: int, key: int, new: int = 0, kind: int = 0, flags: int = 0) -> tuple[bytes, bytes]:
    cdb = bytes((0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0))
    return cdb, key.to_bytes(8, "big") + new.to_bytes(8, "big") + bytes(
        (0, 0, 0, 0, flags, 0, 0, 0)
    )


REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, ABORT, IGNORE = range(7)


def keys(bench: Bench) -> tuple[int, list[int]]:
    """Return generation and keys."""
    data = bench.sent("5e 00 0000000000 ffff 00")
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    rest = data[8:]
    return int.from_bytes(data[:4], "big"), [
        int.from_bytes(rest[at : at + 8], "big") for at in range(0, len(rest), 8)
    ]


def held(bench: Bench) -> tuple[int, int] | None:
    """Return key and type of the reservation, or None."""
    data = bench.sent("5e 01 0000000000 ffff 00")[8:]
    assert len(data) in (0, 16)
    return (int.from_bytes(data[:8], "big"), data[13]) if data else None


def test_a_key_is_registered_changed_and_given_up(bench):
    assert keys(bench) == (0, [])
    assert bench.told(*out(REGISTER, 5, 7)) == CONFLICT  # not registered, so there is no key 5
    assert bench.told(*out(REGISTER, 0, 0)) == "00"
    assert keys(bench) == (0, [])
    assert bench.told(*out(REGISTER, 0, 7)) == "00"
    assert bench.told(*out(REGISTER, 0, 8)) == CONFLICT
    assert bench.told(*out(REGISTER, 7, 8)) == "00"
    assert bench.told(*out(IGNORE, 99, 9), nexus=bench.two) == "00"
    assert keys(bench) == (3, [8, 9])
    assert bench.told(*out(IGNORE, 0, 0)) == "00"
    assert keys(bench) == (4, [9])


def test_a_reservation_is_one_of_the_unit_not_of_the_lun(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(RESERVE, 7, kind=1))
    assert held(bench) == (7, 1)
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == CONFLICT


ACCESS = {
    # type: (others read, others write, registered read, registered write)
    1: (True, False, True, False),
    3: (False, False, False, False),
    5: (True, False, True, True),
    6: (False, False, True, True),
    7: (True, False, True, True),
    8: (False, False, True, True),
}
READS = [READ, sixteen(0x88, 0, 1), ten(0x2F, 0, 1), ten(0x34, 0, 1), sixteen(0x9E, 0, 64, 0x12)]
WRITES = [
    (WRITE, bytes(512)),
    (sixteen(0x89, 0, 1), bytes(1024)),
    (ten(0x41, 0, 1), bytes(512)),
    (bytes.fromhex("42 00 00000000 00 0000 00"), b""),
    (ten(0x35, 0, 1), b""),
    (bytes.fromhex("15 10 0000 00 00"), b""),
    (bytes.fromhex("1b 00 00 00 00 00"), b""),
]
ALWAYS = [
    READY,
    "12 00 00 0024 00",
    "25 00 00000000 0000 00 00",
    "9e 10 0000000000000000 00000020 00 00",
    "a0 00 00 000000 000000ff 00 00",
    "a3 0a 00000000 000000ff 00 00",
    "5e 00 0000000000 00ff 00",
    "03 00 0000 ff 00",
    "4d 00 40 00 00 0000 00ff 00",
    "1b 00 00 00 01 00",
    "1e 00 0000 00 00",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("registered", [False, True])
def test_who_may_do_what(bench, kind, registered):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(RESERVE, 7, kind=kind))
    if registered:
        bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    reads, writes = ACCESS[kind][2:] if registered else ACCESS[kind][:2]
    for cdb in READS:
        assert bench.told(cdb) == "00"
        assert bench.told(cdb, nexus=bench.two) == ("00" if reads else CONFLICT)
    for cdb, data in WRITES[:-1]:
        assert bench.told(cdb, data) == "00"
    for cdb, data in WRITES:
        assert bench.told(cdb, data, nexus=bench.two) == ("00" if writes else CONFLICT)
    bench.server.state(bench.unit.naa).stopped = False
    for cdb in ALWAYS:
        assert bench.told(cdb, nexus=bench.two) == "00"
    looks = "00" if reads or registered else CONFLICT
    assert bench.told("1a 00 3f 00 ff 00", nexus=bench.two) == looks
    assert bench.told("a3 0c 00 00 0000 0000ffff 00 00", nexus=bench.two) == looks


@pytest.mark.parametrize("kind", KINDS)
def test_what_becomes_of_a_reservation_when_its_holder_leaves(bench, kind):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(RESERVE, 7, kind=kind))
    bench.sent(*out(REGISTER, 7, 0))
    told = "06/2a/04" if kind in (5, 6) else "00"
    assert bench.told(READY, nexus=bench.two) == told
    assert held(bench) == ((0, kind) if kind in (7, 8) else None)
    bench.sent(*out(REGISTER, 8, 0), nexus=bench.two)
    assert held(bench) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_is_told_of_to_those_who_had_a_share(bench, kind):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(RESERVE, 7, kind=kind))
    bench.sent(*out(RESERVE, 7, kind=kind))  # once more is no conflict
    assert held(bench) == (0 if kind in (7, 8) else 7, kind)
    wrong = KINDS[KINDS.index(kind) - 1]
    assert bench.told(*out(RESERVE, 7, kind=wrong)) == CONFLICT
    assert bench.told(*out(RELEASE, 7, kind=wrong)) == "05/26/04"
    assert bench.told(*out(RELEASE, 6, kind=kind)) == CONFLICT
    bench.sent(*out(RELEASE, 7, kind=kind))
    assert held(bench) is None
    assert bench.told(READY, nexus=bench.two) == ("06/2a/04" if kind >= 5 else "00")
    assert bench.told(READY) == "00"


def test_clearing_is_told_of_to_all_others(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(RESERVE, 8, kind=3), nexus=bench.two)
    assert bench.told(*out(CLEAR, 8)) == CONFLICT
    bench.sent(*out(CLEAR, 7))
    assert keys(bench) == (3, [])
    assert held(bench) is None
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == "06/2a/03"
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == "00"


@pytest.mark.parametrize("action", [PREEMPT, ABORT])
def test_who_is_preempted_has_nothing_left(bench, action):
    aborted = []
    bench.server.on_abort = lambda nexus, naa: aborted.append((nexus, naa)) or 2
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(RESERVE, 8, kind=1), nexus=bench.two)
    assert bench.told(*out(action, 7, 99, kind=3)) == CONFLICT  # nobody has this key
    assert bench.told(*out(action, 7, 0, kind=3)) == "05/26/00"
    bench.sent(*out(action, 7, 8, kind=3))
    assert held(bench) == (7, 3)
    assert keys(bench)[1] == [7]
    hears = ["06/2a/05", "06/2f/00"] if action == ABORT else ["06/2a/05"]
    assert [bench.told(READY, nexus=bench.two) for _ in hears] == hears
    assert aborted == ([(bench.two, bench.unit.naa)] if action == ABORT else [])
    assert bench.told(READ, nexus=bench.two) == CONFLICT


def test_nothing_is_said_of_commands_that_were_not_there(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(ABORT, 7, 8, kind=1))
    assert [bench.told(READY, nexus=bench.two) for _ in range(2)] == ["06/2a/05", "00"]


def test_a_conflict_comes_before_what_is_told_of_it(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(PREEMPT, 7, 8, kind=1))
    bench.sent(*out(RESERVE, 7, kind=1))
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == CONFLICT
    assert bench.told(READ, nexus=bench.two) == "06/2a/05"


def test_a_reset_comes_before_a_conflict(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(RESERVE, 7, kind=3))
    bench.server.reset_target()
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == "06/29/03"
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == CONFLICT
    bench.server.capacity_changed(bench.unit.naa)
    assert bench.told(WRITE, bytes(512), nexus=bench.two) == CONFLICT
    assert bench.told(READY, nexus=bench.two) == "06/2a/09"


def test_all_others_are_preempted_with_no_key_where_all_hold(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(RESERVE, 8, kind=7), nexus=bench.two)
    bench.sent(*out(PREEMPT, 7, 0, kind=5))
    assert held(bench) == (7, 5)
    assert keys(bench)[1] == [7]


def test_another_type_is_told_of_to_those_who_stay(bench):
    three = Nexus(ONE, b"\x80other", 9)
    bench.connect(three)
    for key, nexus in ((7, bench.one), (8, bench.two), (9, three)):
        bench.sent(*out(REGISTER, 0, key), nexus=nexus)
    bench.sent(*out(RESERVE, 8, kind=5), nexus=bench.two)
    bench.sent(*out(PREEMPT, 7, 8, kind=6))
    assert bench.told(READY, nexus=bench.two) == "06/2a/05"
    assert bench.told(READY, nexus=three) == "06/2a/04"
    assert bench.told(READY) == "00"


def test_a_registration_outlasts_sessions_and_resets(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(RESERVE, 7, kind=3))
    bench.server.disconnect(bench.one)
    bench.server.reset_target()
    bench.server.luns_changed(ONE)
    again = Nexus(ONE, ISID, 44)
    bench.connect(again)
    assert bench.told(READ, nexus=again) == "00"
    other = Nexus(ONE, b"\x80other", 45)
    bench.connect(other)
    assert bench.told(READ, nexus=other) == CONFLICT
    assert held(bench_of(bench, other)) == (7, 3)


def bench_of(bench: Bench, nexus: Nexus) -> Bench:
    bench.one = nexus
    return bench


def test_registrations_have_a_limit(bench, monkeypatch):
    """They outlast the sessions that made them, each by a port of its own."""
    monkeypatch.setattr(reservations, "REGISTRATIONS_MAX", 3)
    ports = [Nexus(ONE, bytes([0x80, 0, 0, 0, 0, number]), 10 + number) for number in range(4)]
    for port in ports:
        bench.connect(port)
    for port in ports[:3]:
        assert bench.told(*out(REGISTER, 0, 7), nexus=port) == "00"
        bench.server.disconnect(port)
    assert bench.told(*out(REGISTER, 0, 7), nexus=ports[3]) == "05/55/04"
    bench.connect(ports[0])
    assert bench.told(*out(REGISTER, 7, 8), nexus=ports[0]) == "00", "keys may be changed"
    assert bench.told(*out(REGISTER, 8, 0), nexus=ports[0]) == "00"
    assert bench.told(*out(REGISTER, 0, 7), nexus=ports[3]) == "00"


def test_the_full_status_names_who_is_registered(bench):
    bench.sent(*out(REGISTER, 0, 7))
    bench.sent(*out(REGISTER, 0, 8), nexus=bench.two)
    bench.sent(*out(RESERVE, 8, kind=6), nexus=bench.two)
    data = bench.sent("5e 03 0000000000 ffff 00")
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    data, found = data[8:], []
    while data:
        size = int.from_bytes(data[20:24], "big")
        name = data[28 : 24 + size].rstrip(b"\0").decode()
        assert data[24] == 0x45
        assert int.from_bytes(data[26:28], "big") == size - 4
        assert size % 4 == 0
        assert data[18:20] == b"\0\1"
        found.append((int.from_bytes(data[:8], "big"), data[12] & 1, data[13], name))
        data = data[24 + size :]
    assert found == [
        (7, 0, 0, f"{ONE},i,0x{ISID.hex()}"),
        (8, 1, 6, f"{TWO},i,0x{ISID.hex()}"),
    ]


def test_nobody_holds_what_is_not_reserved(bench):
    bench.sent(*out(REGISTER, 0, 7))
    assert held(bench) is None
    assert bench.sent("5e 03 0000000000 ffff 00")[8 + 12 : 8 + 14] == b"\0\0"


def test_what_can_be_done_is_said(bench):
    assert bench.sent("5e 02 0000000000 00ff 00").hex() == "00080480ea010000"
    assert bench.sent(*out(REGISTER, 0, 7, flags=0x04)) == b""  # ALL_TG_PT: there is but one
    for flags, bit in ((0x01, 0), (0x08, 3), (0x02, None), (0x80, None)):  # APTPL, SPEC_I_PT
        answer = bench(*out(IGNORE, 0, 7, flags=flags))
        assert complaint(answer) == "05/26/00"
        assert pointer(answer) == (False, 20, bit)


def test_malformed_requests_are_refused(bench):
    bench.sent(*out(REGISTER, 0, 7))
    cdb, data = out(RESERVE, 7, kind=1)
    assert bench.told(cdb[:5] + (25).to_bytes(4, "big") + b"\0", data + b"x") == "05/1a/00"
    assert bench.told(cdb[:5] + (23).to_bytes(4, "big") + b"\0", data) == "05/1a/00"
    assert bench.told(cdb, data[:-1]) == "05/0e/03"
    for kind in (0, 2, 4, 9, 0x0F):
        assert bench.told(*out(RESERVE, 7, kind=kind)) == "05/24/00"
    assert bench.told(*out(RESERVE, 7, kind=0x11)) == "05/24/00"  # another scope
    assert held(bench) is None
    long = cdb[:5] + b"\xff\xff\xff\xff\0"
    assert bench.server.transfer(bench.one, pack_lun(1), long).length == 0


# RESERVE and RELEASE. --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reserve", "release"),
    [("16 00 0000 00 00", "17 00 0000 00 00"), ("56" + "00" * 9, "57" + "00" * 9)],
)
def test_the_old_reservation_keeps_others_out_and_ends_with_the_session(bench, reserve, release):
    assert bench.told(reserve) == "00"
    assert bench.told(reserve) == "00"
    assert bench.told(reserve, nexus=bench.two) == CONFLICT
    for cdb in (READY, READ, WRITE, "1a 00 3f 00 ff 00"):
        assert bench.told(cdb, bytes(512), nexus=bench.two) == CONFLICT
        assert bench.told(cdb, bytes(512)) == "00"
    assert bench.told("12 00 00 0024 00", nexus=bench.two) == "00"
    assert bench.told(release, nexus=bench.two) == "00"  # of no effect
    assert bench.told(READY, nexus=bench.two) == CONFLICT
    assert bench.told(release) == "00"
    assert bench.told(READY, nexus=bench.two) == "00"
    bench.sent(reserve)
    bench.server.disconnect(bench.one)
    assert bench.told(READY, nexus=bench.two) == "00"
    bench.connect(bench.one)
    bench.sent(reserve)
    bench.server.reset_unit(bench.two, pack_lun(300))
    assert bench.told(READY, nexus=bench.two) == "06/29/03"
    assert bench.told(READY, nexus=bench.two) == "00"


def test_old_and_new_reservations_exclude_each_other(bench):
    bench.sent("16 00 0000 00 00")
    assert bench.told(*out(REGISTER, 0, 7)) == CONFLICT
    assert bench.told("5e 00 0000000000 00ff 00") == CONFLICT
    bench.sent("17 00 0000 00 00")
    bench.sent(*out(REGISTER, 0, 7))
    assert bench.told("16 00 0000 00 00") == CONFLICT
    assert bench.told("17 00 0000 00 00") == CONFLICT


# A model. --------------------------------------------------------------------------------------


@dataclass
class Model:
    """Persistent reservations said once more, from the point of view of who is registered."""

    keys: dict[int, int] = field(default_factory=dict)
    holders: set[int] = field(default_factory=set)
    kind: int = 0

    def do(self, who: int, action: int, key: int, new: int, kind: int) -> str:
        mine = self.keys.get(who)
        if action in (REGISTER, IGNORE):
            if action == REGISTER and key != (mine or 0):
                return CONFLICT
            if new:
                self.keys[who] = new
                if self.kind >= 7:
                    self.holders.add(who)
            else:
                self.keys.pop(who, None)
                self.leave({who})
            return "00"
        if mine is None or key != mine:
            return CONFLICT
        if action == RESERVE:
            if self.kind and (who not in self.holders or kind != self.kind):
                return CONFLICT
            self.hold(who, kind)
        elif action == RELEASE and who in self.holders:
            if kind != self.kind:
                return "05/26/04"
            self.leave(set(self.holders))
        elif action == CLEAR:
            self.keys, self.holders, self.kind = {}, set(), 0
        elif action in (PREEMPT, ABORT):
            return self.preempt(who, new, kind)
        return "00"

    def preempt(self, who: int, victim: int, kind: int) -> str:
        shared = self.kind >= 7
        gone = {one for one, key in self.keys.items() if key == victim or (shared and not victim)}
        takes = (shared and not victim) or bool(not shared and self.holders & gone)
        if not victim and not takes:
            return "05/26/00"
        if not gone:
            return CONFLICT
        for one in gone - {who}:
            del self.keys[one]
        if takes:
            self.hold(who, kind)
        else:
            self.leave(gone - {who})
        return "00"

    def hold(self, who: int, kind: int) -> None:
        self.kind = kind
        self.holders = set(self.keys) if kind >= 7 else {who}

    def leave(self, gone: set[int]) -> None:
        if self.kind:
            self.holders -= gone
            self.kind = self.kind if self.holders else 0

    def may(self, who: int, *, write: bool) -> bool:
        if not self.kind or who in self.holders:
            return True
        if who in self.keys and self.kind >= 5:
            return True
        return not write and self.kind in (1, 5, 7)


WHO = [Nexus(ONE, ISID, 1), Nexus(TWO, ISID, 2), Nexus(ONE, b"\x80other", 3)]
STEP = st.tuples(
    st.integers(0, 2),
    st.sampled_from(
        [REGISTER, REGISTER, RESERVE, RESERVE, RELEASE, CLEAR, PREEMPT, ABORT, IGNORE, IGNORE]
    ),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(KINDS),
)


@given(st.lists(STEP, max_size=40))
def test_any_history_ends_as_the_model_says(history):
    bench = Bench()
    bench.luns = MemoryLuns({ONE: {1: bench.unit}, TWO: {300: bench.unit}})
    bench.server = DeviceServer(bench.luns, "iqn.2026-11.test:target")
    for nexus in WHO:
        bench.connect(nexus)
    model = Model()
    for who, action, key, new, kind in history:
        cdb, data = out(action, key, new, kind)
        for nexus in WHO:
            while bench.told(READY, nexus=nexus) != "00":
                pass
        assert bench.told(cdb, data, nexus=WHO[who]) == model.do(who, action, key, new, kind)
        for one, nexus in enumerate(WHO):
            while bench.told(READY, nexus=nexus) != "00":
                pass
            for command, write in ((READ, False), (WRITE, True)):
                expected = "00" if model.may(one, write=write) else CONFLICT
                assert bench.told(command, bytes(512), nexus=nexus) == expected
        assert sorted(keys(bench)[1]) == sorted(model.keys.values())
        now = held(bench)
        assert (now[1] if now else 0) == model.kind
