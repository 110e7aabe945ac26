"""Room given back, blocks repeated, caches, defects, starting and stopping."""

from __future__ import annotations

import pytest

from scsi.bench import BLOCK, Bench, complaint, pointer, sixteen, ten
from stuntdouble.scsi import MemoryUnit, Run

READY = "00 00 0000 00 00"


def unmap(bench: Bench, *ranges: tuple[int, int], cut: int = 0) -> str:
    rows = b"".join(
        block.to_bytes(8, "big") + count.to_bytes(4, "big") + bytes(4) for block, count in ranges
    )
    data = (len(rows) + 6).to_bytes(2, "big") + len(rows).to_bytes(2, "big") + bytes(4) + rows
    length = len(data) - cut
    return bench.told(bytes((0x42, 0, 0, 0, 0, 0, 0)) + length.to_bytes(2, "big") + b"\0", data)


def full(size: int = 64) -> Bench:
    bench = Bench(MemoryUnit(size_bytes=size * BLOCK))
    bench.unit.write(0, b"x" * size * BLOCK)
    return bench


def test_what_is_given_back_reads_as_zeros():
    bench = full()
    assert unmap(bench, (8, 8), (3, 1), (40, 0), (64, 0)) == "00"
    wanted = bytearray(b"x" * 64 * BLOCK)
    wanted[8 * BLOCK : 16 * BLOCK] = bytes(8 * BLOCK)
    wanted[3 * BLOCK : 4 * BLOCK] = bytes(BLOCK)
    assert bench.sent(ten(0x28, 0, 64)) == wanted
    assert unmap(bench) == "00"
    assert bench.told("42 00 00000000 00 0000 00") == "00"


def test_one_range_that_is_wrong_keeps_all():
    bench = full()
    assert unmap(bench, (0, 8), (60, 5)) == "05/21/00"
    assert unmap(bench, (0, 8), (1 << 63, 1)) == "05/21/00"
    assert unmap(bench, (0, 8), (8, 8), cut=1) == "05/1a/00"
    assert bench.told("42 00 00000000 00 0007 00", bytes(7)) == "05/1a/00"
    assert unmap(bench, *[(0, 1)] * 257) == "05/26/00"
    assert bench.unit.data == b"x" * 64 * BLOCK
    assert unmap(bench, *[(0, 1)] * 256) == "00"


def test_no_more_than_the_limit_is_given_back_at_a_time(monkeypatch):
    bench = full()
    monkeypatch.setattr(bench.unit, "size_bytes", 1 << 40)
    monkeypatch.setattr(bench.unit, "zero", lambda offset, length, unmap: None)
    assert unmap(bench, (0, 1 << 19), (1 << 20, 1 << 19)) == "00"
    assert unmap(bench, (0, 1 << 19), (1 << 20, (1 << 19) + 1)) == "05/26/00"


def status(bench: Bench, block: int, room: int = 4096) -> list[tuple[int, int, int]]:
    data = bench.sent(sixteen(0x9E, block, room, 0x12))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    rows = [data[at : at + 16] for at in range(8, len(data), 16)]
    assert all(row[13:] == bytes(3) for row in rows)
    return [
        (int.from_bytes(row[:8], "big"), int.from_bytes(row[8:12], "big"), row[12]) for row in rows
    ]


def test_it_is_told_what_is_allocated():
    bench = full()
    unmap(bench, (8, 16), (33, 3))
    assert status(bench, 0) == [(0, 8, 0), (8, 16, 1), (24, 40, 0)]
    assert status(bench, 10) == [(10, 14, 1), (24, 40, 0)]
    assert status(bench, 0, 24) == [(0, 8, 0)]
    assert status(bench, 0, 40) == [(0, 8, 0), (8, 16, 1)]
    assert bench.told(sixteen(0x9E, 64, 4096, 0x12)) == "05/21/00"
    assert bench.told(sixteen(0x9E, 1 << 63, 4096, 0x12)) == "05/21/00"


def test_a_run_that_32_bits_cannot_say_is_told_of_in_parts(monkeypatch):
    bench = full()
    size = ((1 << 33) + 5) * BLOCK
    monkeypatch.setattr(bench.unit, "size_bytes", size)
    monkeypatch.setattr(
        bench.unit, "allocated", lambda offset, length: [Run(offset, length, False)]
    )
    most = (1 << 32) - 1
    assert status(bench, 0) == [(0, most, 1), (most, most, 1), (2 * most, 7, 1)]


@pytest.mark.parametrize("shape", [ten, sixteen])
def test_a_block_is_repeated(shape):
    opcode = 0x41 if shape is ten else 0x93
    bench = full()
    block = bytes(range(256)) * 2
    assert bench.sent(shape(opcode, 5, 7), block) == b""
    assert bench.sent(ten(0x28, 4, 9)) == b"x" * BLOCK + block * 7 + b"x" * BLOCK
    assert bench.sent(shape(opcode, 5, 7, 0x08), block) == b""  # not zeros: not given back
    assert bench.sent(ten(0x28, 5, 7)) == block * 7
    for count in (0, 65_537):
        if count < 65_536 or shape is sixteen:
            answer = bench(shape(opcode, 0, count), block)
            assert complaint(answer) in ("05/24/00", "05/21/00")
    assert bench.told(shape(opcode, 0, 0), block) == "05/24/00"
    assert bench.told(shape(opcode, 60, 5), block) == "05/21/00"
    assert bench.told(shape(opcode, 0, 1, 0x10), block) == "05/24/00"  # ANCHOR
    assert bench.told(shape(opcode, 0, 1), block[:-1]) == "05/0e/03"
    assert bench.told(shape(opcode, 0, 1), block, announced=2 * BLOCK) == "05/0e/03"


def test_long_repetitions_are_written_in_parts():
    bench = Bench(MemoryUnit(size_bytes=4 << 20))
    block = bytes(range(256)) * 2
    bench.sent(ten(0x41, 1, 8190), block)
    assert bench.unit.data == bytes(BLOCK) + block * 8190 + bytes(BLOCK)


def test_more_repetitions_than_the_limit_are_refused(monkeypatch):
    bench = full()
    monkeypatch.setattr(bench.unit, "size_bytes", 1 << 40)
    answer = bench(sixteen(0x93, 0, 65_537), bytes(BLOCK))
    assert (complaint(answer), pointer(answer)) == ("05/24/00", (True, 10, None))


def test_zeros_need_not_be_sent():
    bench = full()
    assert (
        bench.server.transfer(bench.one, bytes((0, 1)) + bytes(6), sixteen(0x93, 0, 8, 1)).length
        == 0
    )
    assert bench.sent(sixteen(0x93, 8, 8, 0x01)) == b""
    assert status(bench, 0)[0] == (0, 64, 0)
    assert bench.sent(sixteen(0x93, 8, 8, 0x09)) == b""
    assert status(bench, 0) == [(0, 8, 0), (8, 8, 1), (16, 48, 0)]
    assert bench.sent(ten(0x41, 16, 8, 0x08), bytes(BLOCK)) == b""
    assert status(bench, 0)[1] == (8, 16, 1)
    assert bench.sent(ten(0x28, 7, 18)) == b"x" * BLOCK + bytes(16 * BLOCK) + b"x" * BLOCK


# Caches, defects, diagnostics. -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("opcode", "shape"), [(0x35, ten), (0x91, sixteen), (0x34, ten), (0x90, sixteen)]
)
def test_ranges_of_caches_lie_on_the_unit(opcode, shape):
    bench = full()
    for block, count in ((0, 0), (0, 64), (63, 1), (64, 0), (10, 0)):
        assert bench.sent(shape(opcode, block, count)) == b""
        assert bench.sent(shape(opcode, block, count, 0x02)) == b""  # IMMED
    for block, count in ((65, 0), (64, 1), (60, 5), ((1 << 32) - 1, 0)):
        assert bench.told(shape(opcode, block, count)) == "05/21/00"


@pytest.mark.parametrize(
    "cdb",
    [
        ten(0x35, 0, 0),
        sixteen(0x91, 0, 0),
        ten(0x2A, 0, 1, 8),
        sixteen(0x8A, 0, 1, 8),
        ten(0x2E, 0, 1),
        sixteen(0x8B, 0, 1, 8),
    ],
)
def test_what_has_to_be_on_stable_storage_is_flushed(cdb, monkeypatch):
    bench, calls = full(), []
    monkeypatch.setattr(bench.unit, "flush", lambda: calls.append("flush"))
    bench.sent(cdb, bytes(BLOCK))
    assert calls == ["flush"]
    bench.sent(ten(0x2A, 0, 1), bytes(BLOCK))
    assert calls == ["flush"]


@pytest.mark.parametrize("lists", [0x00, 0x08, 0x10, 0x18])
@pytest.mark.parametrize("form", [0, 3, 4, 5])
def test_there_are_no_defects(bench, lists, form):
    assert bench.sent(f"37 00 {lists | form:02x} 00000000 00ff 00") == bytes(
        (0, lists | form, 0, 0)
    )
    assert bench.sent(f"b7 {lists | form:02x} 00000000 000000ff 00 00") == bytes(
        (0, lists | form)
    ) + bytes(6)


def test_a_self_test_finds_nothing(bench):
    assert bench.told("1d 04 0000 00 00") == "00"
    assert bench.told("1d 00 0000 00 00") == "00"
    assert bench.told("1d 24 0000 00 00") == "05/24/00"
    assert bench.told("1d 10 0000 04 00", bytes(4)) == "05/24/00"


# Starting and stopping. ------------------------------------------------------------------------


def test_a_stopped_unit_is_not_ready_for_anybody(bench):
    assert bench.told("1b 00 00 00 00 00") == "00"
    for nexus in (bench.one, bench.two):
        for cdb in (READY, ten(0x28, 0, 1), ten(0x35, 0, 0)):
            assert bench.told(cdb, nexus=nexus) == "02/04/02"
    for cdb in (
        "12 00 00 0024 00",
        "a0 00 00 000000 000000ff 00 00",
        "1a 00 3f 00 ff 00",
        "5e 00 0000000000 00ff 00",
        "a3 0c 00 00 0000 000000ff 00 00",
    ):
        assert bench.sent(cdb)
    assert bench.sent("03 00 0000 ff 00")[2] == 0x02
    assert bench.told("1b 01 00 00 01 00", nexus=bench.two) == "00"
    assert bench.sent(ten(0x28, 0, 1)) == bytes(BLOCK)


def test_a_reset_starts_a_unit(bench):
    bench.told("1b 00 00 00 00 00")
    bench.server.reset_target()
    assert bench.told(READY) == "06/29/03"
    assert bench.told(READY) == "00"


def test_power_conditions_change_nothing_and_nothing_is_ejected(bench):
    for power in range(16):
        expected = "00" if power in (0, 1, 2, 3, 7, 0xA, 0xB) else "05/24/00"
        assert bench.told(bytes((0x1B, 1, 0, 0, power << 4 | 1, 0))) == expected
        assert bench.told(READY) == "00"
    assert bench.told("1b 00 00 00 02 00") == "05/24/00"
    assert bench.told("1b 00 00 00 03 00") == "05/24/00"
    for prevent in range(4):
        assert bench.told(f"1e 00 0000 {prevent:02x} 00") == "00"
