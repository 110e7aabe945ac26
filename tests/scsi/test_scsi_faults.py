"""Faults on the data path: what each plan does, when it strikes, and that the unit stays as it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi.bench import BLOCK, ONE, TARGET, TWO, Bench, complaint, information, sixteen, ten
from stuntdouble.errors import Misuse
from stuntdouble.scsi import FaultKind, FaultPlan, FaultyDeviceServer, MemoryUnit
from stuntdouble.trace import Streams

READY, READ, WRITE = "00 00 0000 00 00", ten(0x28, 0, 4), ten(0x2A, 0, 4)
DATA = bytes(range(256)) * 8


@dataclass
class FaultyBench(Bench):
    slept: list[float] = field(default_factory=list)
    time: float = 0.0

    def make_server(self) -> FaultyDeviceServer:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

        return FaultyDeviceServer(self.luns, TARGET, Streams(7)["faults"], lambda: self.time, sleep)

    def plan(self, *tables: dict[str, object]) -> None:
        self.server.plan([FaultPlan.parse(table) for table in tables])


@pytest.fixture
def bench() -> FaultyBench:
    bench = FaultyBench()
    bench.sent(WRITE, DATA)
    return bench


REFUSALS = [
    ({"kind": "busy"}, "08"),
    ({"kind": "task-set-full"}, "28"),
    ({"kind": "not-ready"}, "02/04/00"),
    ({"kind": "not-ready", "ascq": 1}, "02/04/01"),
]


@pytest.mark.parametrize(("table", "told"), REFUSALS)
def test_a_refusal_refuses_reads_and_writes_and_nothing_else(bench, table, told):
    bench.plan(table)
    assert bench.told(READ) == told
    assert bench.told(WRITE, b"y" * 2048) == told
    assert bench.told(READY) == "00"
    assert bench.sent("12 00 00 0024 00")
    assert bench.unit.data[:2048] == DATA
    bench.plan()
    assert bench.sent(READ) == DATA


@pytest.mark.parametrize("commands", [["read"], ["write"], ["other"], ["read", "other"]])
def test_only_the_commands_that_are_named_are_hit(bench, commands):
    bench.plan({"kind": "busy", "commands": commands})
    for cdb, kind in (
        (READ, "read"),
        (WRITE, "write"),
        (READY, "other"),
        ("1a 00 3f 00 ff 00", "other"),
    ):
        assert bench.told(cdb, DATA) == ("08" if kind in commands else "00")
    compare = sixteen(0x89, 0, 1)  # reads and writes
    told = bench.told(compare, DATA[:BLOCK] * 2)
    assert told == ("08" if {"read", "write"} & set(commands) else "00")


def test_a_plan_is_for_an_initiator_a_lun_or_a_unit(bench):
    for table, hit in (
        ({"initiator_iqn": TWO}, bench.two),
        ({"lun": 1}, bench.one),
        ({"lun": 300, "naa": bench.unit.naa}, bench.two),
    ):
        bench.plan({"kind": "busy", **table})
        for nexus in (bench.one, bench.two):
            assert bench.told(READ, nexus=nexus) == ("08" if nexus == hit else "00")
    bench.plan({"kind": "busy", "naa": "6" + "f" * 31})
    assert bench.told(READ) == "00"


def test_a_plan_begins_later_and_ends(bench):
    bench.plan({"kind": "busy", "from_seconds": 10.0, "after": 2, "times": 2})
    assert [bench.told(READ) for _ in range(3)] == ["00"] * 3
    bench.time = 10.0
    assert [bench.told(READ) for _ in range(6)] == ["00", "00", "08", "08", "00", "00"]
    (armed,) = bench.server.faults
    assert (armed.seen, armed.fired) == (6, 2)


def test_chance_is_drawn_from_the_stream_that_is_given():
    def history() -> list[str]:
        bench = FaultyBench()
        bench.plan({"kind": "busy", "probability": 0.3})
        return [bench.told(READ) for _ in range(400)]

    first = history()
    assert first == history()
    assert 80 <= first.count("08") <= 160
    bench = FaultyBench()
    bench.plan({"kind": "busy", "probability": 0.0})
    assert [bench.told(READ) for _ in range(50)] == ["00"] * 50


def test_a_bad_block_is_found_by_whatever_reads_it(bench):
    bench.plan({"kind": "medium-error", "block": 10, "blocks": 3})
    for block, count, bad in (
        (0, 10, None),
        (13, 5, None),
        (0, 11, 10),
        (5, 20, 10),
        (12, 1, 12),
        (11, 9, 11),
    ):
        for cdb in (ten(0x28, block, count), sixteen(0x88, block, count), ten(0x2F, block, count)):
            answer = bench(cdb)
            assert complaint(answer) == ("00" if bad is None else "03/11/00")
            assert bad is None or information(answer) == bad
    assert bench.told(ten(0x2A, 10, 1), b"w" * BLOCK) == "00"
    assert bench.told(sixteen(0x89, 10, 1), b"w" * BLOCK * 2) == "03/11/00"
    assert bench.server.faults[0].seen == bench.server.faults[0].fired == 13


def test_a_full_pool_takes_no_writes(bench):
    bench.plan({"kind": "no-space"})
    for cdb in (WRITE, ten(0x2E, 0, 4), sixteen(0x89, 0, 1), ten(0x41, 0, 4), sixteen(0x8B, 0, 4)):
        assert bench.told(cdb, DATA) == "07/27/07"
    assert bench.told("42 00 00000000 00 0000 00") == "00"
    assert bench.told(ten(0x35, 0, 0)) == "00"
    assert bench.sent(READ) == DATA


def test_something_is_told_first(bench):
    bench.plan({"kind": "attention", "asc": 0x2A, "ascq": 9, "times": 1})
    assert bench.told(READ) == "06/2a/09"
    assert bench.sent(READ) == DATA
    assert bench.told(READ, nexus=bench.two) == "00"


def test_latency_passes_before_anything_else(bench):
    bench.plan(
        {"kind": "latency", "seconds": 0.25, "commands": ["read", "write"]},
        {"kind": "latency", "seconds": 1},
        {"kind": "busy", "after": 1},
    )
    assert bench.sent(READ) == DATA
    assert bench.told(WRITE, b"y" * 2048) == "08"
    assert bench.slept == [1.25, 1.25]
    assert bench.unit.data[:2048] == DATA


def test_a_session_may_end_while_its_command_is_late(bench):
    bench.plan({"kind": "latency", "seconds": 1})

    async def leave() -> int:
        answer = bench.server.execute(bench.one, bytes((0, 1)) + bytes(6), WRITE, b"y" * 2048)
        bench.server.disconnect(bench.one)
        return (await answer).status

    assert asyncio.run(leave()) == 0x40
    assert bench.unit.data[:2048] == DATA


def test_a_pulled_unit_is_gone_in_the_middle_of_a_read(bench):
    bench.plan({"kind": "pulled", "initiator_iqn": ONE, "after": 1})
    assert bench.sent(READ) == DATA
    answer = bench(READ)
    assert complaint(answer) == "05/25/00"
    assert b"".join(answer.parts) == DATA[:1024]
    assert bench.told(READ) == "05/25/00"
    assert bench.told(READY) == "05/25/00"
    assert bench.sent("12 00 00 0024 00")[0] == 0x7F
    assert len(bench.sent("a0 00 00 000000 000000ff 00 00", lun=0)) == 16
    assert bench.sent(READ, nexus=bench.two) == DATA
    bench.plan()
    bench.settle(bench.one)
    assert bench.sent(READ) == DATA


def test_a_unit_that_is_pulled_takes_no_write(bench):
    bench.plan({"kind": "pulled"})
    assert bench.told(WRITE, b"y" * 2048) == "05/25/00"
    assert bench.unit.data[:2048] == DATA
    assert bench.told(READY) == "05/25/00"


@given(st.integers(1, 40), st.sampled_from([READ, sixteen(0x88, 0, 4), ten(0x28, 0, 4, 0x08)]))
def test_corruption_is_silent_and_as_large_as_planned(count, cdb):
    bench = FaultyBench()
    bench.sent(WRITE, DATA)
    bench.plan({"kind": "corruption", "bytes": count})
    wrong = bench.sent(cdb)
    assert len(wrong) == len(DATA)
    assert sum(a != b for a, b in zip(wrong, DATA, strict=True)) == count
    assert bench.unit.data[:2048] == DATA


def test_no_more_is_corrupted_than_there_is():
    bench = FaultyBench(MemoryUnit(size_bytes=BLOCK))
    bench.plan({"kind": "corruption", "bytes": 1 << 20})
    assert 0 not in bench.sent(ten(0x28, 0, 1))
    assert bench.sent(ten(0x28, 0, 0)) == b""


def test_faults_strike_units_that_answer_later(bench, monkeypatch):
    plain = bench.unit.read

    async def later(offset, length):
        await asyncio.sleep(0)
        return plain(offset, length)

    monkeypatch.setattr(bench.unit, "read", later)
    bench.plan({"kind": "corruption"})
    assert bench.sent(READ) != DATA
    bench.plan({"kind": "latency", "seconds": 2}, {"kind": "pulled"})
    assert b"".join(bench(READ).parts) == DATA[:1024]


# Plans as tables. ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "fault.kind: None is none of latency, busy"),
        ({"kind": "slow"}, "fault.kind: 'slow' is none of"),
        ({"kind": "busy", "sekonds": 1}, "fault.sekonds: no such key for busy; known are"),
        ({"kind": "busy", "block": 1}, "fault.block: no such key for busy"),
        ({"kind": "latency"}, "fault.seconds: missing: latency needs it"),
        ({"kind": "medium-error"}, "fault.block: missing"),
        ({"kind": "attention", "ascq": 1}, "fault.asc: missing"),
        ({"kind": "latency", "seconds": -1}, "fault.seconds: -1 is no number from 0"),
        ({"kind": "latency", "seconds": True}, "fault.seconds: True is no number"),
        ({"kind": "latency", "seconds": "1"}, "fault.seconds: '1' is no number"),
        ({"kind": "latency", "seconds": float("nan")}, "fault.seconds: nan is no number"),
        ({"kind": "attention", "asc": 256}, "fault.asc: 256 is no whole number from 0 to 255"),
        ({"kind": "attention", "asc": 1.0}, "fault.asc: 1.0 is no whole number"),
        ({"kind": "attention", "asc": False}, "fault.asc: False is no whole number"),
        ({"kind": "busy", "times": 0}, "fault.times: 0 is no whole number from 1"),
        ({"kind": "busy", "probability": 1.5}, "fault.probability: 1.5 is no number from 0 to 1"),
        ({"kind": "busy", "lun": 16_384}, "fault.lun: 16384 is no whole number"),
        ({"kind": "busy", "naa": ""}, "fault.naa: '' is no name"),
        ({"kind": "busy", "commands": []}, "fault.commands: [] is no list of read, write, other"),
        ({"kind": "busy", "commands": "read"}, "fault.commands: 'read' is no list"),
        ({"kind": "busy", "commands": ["erase"]}, "fault.commands: 'erase' is none of"),
        (
            {"kind": "no-space", "commands": ["write", "read"]},
            "fault.commands: 'read' is not what no-space can hit: write",
        ),
        ({"kind": "medium-error", "block": 0, "commands": ["other"]}, "can hit: read, write"),
        ({"kind": ["busy"]}, "fault.kind: ['busy'] is none of"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_the_place(table, problem):
    with pytest.raises(Misuse) as caught:
        FaultPlan.parse(table)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_plan_comes_back_as_it_was_said(kind):
    needed = {"latency": {"seconds": 0.5}, "medium-error": {"block": 3}, "attention": {"asc": 1}}
    table = {"kind": kind.value, "lun": 3, "times": 2, **needed.get(kind.value, {})}
    plan = FaultPlan.parse(table, "faults[0]")
    assert FaultPlan.parse(plan.table()) == plan
    assert plan.table().items() >= table.items()
