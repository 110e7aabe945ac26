"""What a transport is told to move before a command is carried out."""

from __future__ import annotations

import pytest

from scsi.bench import Bench, sixteen, ten, twelve
from stuntdouble.scsi import Direction, MemoryUnit, Transfer, pack_lun

OUT, IN, NONE = Direction.OUT, Direction.IN, Direction.NONE


@pytest.mark.parametrize(
    ("cdb", "direction", "length"),
    [
        (bytes(6), NONE, 0),
        (bytes.fromhex("120000123400"), IN, 0x1234),
        (bytes.fromhex("03000000fe00"), IN, 0xFE),
        (bytes.fromhex("a0 00 00 000000 00012345 00 00"), IN, 0x12345),
        (ten(0x25, 0, 0), IN, 8),
        (sixteen(0x9E, 0, 99, 0x10), IN, 99),
        (sixteen(0x9E, 0, 99, 0x12), IN, 99),
        (ten(0x28, 9, 3), IN, 3 * 4096),
        (twelve(0xAA, 9, 3), OUT, 3 * 4096),
        (sixteen(0x8A, 9, 0), OUT, 0),
        (ten(0x2E, 9, 3), OUT, 3 * 4096),
        (ten(0x2F, 9, 3), NONE, 0),
        (ten(0x2F, 9, 3, 0x02), OUT, 3 * 4096),
        (ten(0x2F, 9, 3, 0x06), OUT, 4096),
        (sixteen(0x8F, 9, 8192, 0x02), OUT, 32 << 20),
        (sixteen(0x8F, 9, 8193, 0x02), NONE, 0),
        (sixteen(0x8A, 9, 8192), OUT, 32 << 20),
        (sixteen(0x8A, 9, 8193), OUT, 0),
        (sixteen(0x89, 9, 1), OUT, 2 * 4096),
        (sixteen(0x89, 9, 2), OUT, 0),
        (sixteen(0x8B, 9, 3), OUT, 3 * 4096),
        (ten(0x41, 9, 3), OUT, 4096),
        (sixteen(0x93, 9, 3), OUT, 4096),
        (sixteen(0x93, 9, 3, 0x01), OUT, 0),
        (bytes.fromhex("42 00 00000000 00 0123 00"), OUT, 0x123),
        (ten(0x35, 0, 3), NONE, 0),
        (bytes.fromhex("1a00000042 00"), IN, 0x42),
        (bytes.fromhex("5a 00 00 00 000000 0142 00"), IN, 0x142),
        (bytes.fromhex("15 10 0000 42 00"), OUT, 0x42),
        (bytes.fromhex("55 10 0000000000 0142 00"), OUT, 0x142),
        (bytes.fromhex("5e 01 0000000000 0142 00"), IN, 0x142),
        (bytes.fromhex("5f 01 01 0000 00000018 00"), OUT, 24),
        (bytes.fromhex("5f 01 01 0000 00000019 00"), OUT, 0),
        (bytes.fromhex("a3 0a 00000000 00000142 00 00"), IN, 0x142),
        (bytes.fromhex("4d 00 40 00 00 0000 0142 00"), IN, 0x142),
        (ten(0x37, 0, 0x142), IN, 0x142),
        (bytes.fromhex("b7 00 00000000 00000142 00 00"), IN, 0x142),
        (bytes.fromhex("ff" * 16), NONE, 0),
        (b"", NONE, 0),
    ],
)
def test_it_is_what_the_cdb_says(cdb, direction, length):
    bench = Bench(MemoryUnit(block_bytes=4096))
    assert bench.server.transfer(bench.one, pack_lun(1), cdb) == Transfer(direction, length)


def test_without_a_unit_blocks_are_of_the_usual_size(bench):
    assert bench.server.transfer(bench.one, pack_lun(7), ten(0x2A, 0, 3)).length == 3 * 512
