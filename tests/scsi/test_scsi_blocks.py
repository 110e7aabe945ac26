"""Reading and writing blocks: where a CDB points, how far it may, and what it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi.bench import BLOCK, Bench, complaint, information, pointer, sixteen, ten, twelve
from stuntdouble.scsi import MemoryUnit
from stuntdouble.scsi.blocks import fast_read
from stuntdouble.units import KIB

READS = {6: 0x08, 10: 0x28, 12: 0xA8, 16: 0x88}
WRITES = {6: 0x0A, 10: 0x2A, 12: 0xAA, 16: 0x8A}
BLOCKS = 2048  # of the disk in memory


def cdb(size: int, opcode: int, block: int, count: int, flags: int = 0) -> bytes:
    if size == 6:
        assert block < 1 << 21
        assert not flags
        return bytes((opcode,)) + block.to_bytes(3, "big") + bytes((count & 0xFF, 0))
    return {10: ten, 12: twelve, 16: sixteen}[size](opcode, block, count, flags)


def pattern(length: int, start: int = 1) -> bytes:
    return bytes((start + place // 7) % 251 for place in range(length))


@pytest.mark.parametrize("size", READS)
@pytest.mark.parametrize("block", [0, 7, BLOCKS - 3])
def test_what_is_written_in_one_form_is_read_in_all(bench, size, block):
    data = pattern(3 * BLOCK, size)
    assert bench.sent(cdb(size, WRITES[size], block, 3), data) == b""
    assert bytes(bench.unit.data[block * BLOCK :][: len(data)]) == data
    for other, opcode in READS.items():
        assert bench.sent(cdb(other, opcode, block, 3)) == data


@pytest.mark.parametrize("size", READS)
def test_the_end_is_exactly_where_it_is(bench, size):
    for opcode, data in ((READS[size], b""), (WRITES[size], bytes(2 * BLOCK))):
        assert bench(cdb(size, opcode, BLOCKS - 2, 2), data).status == 0
        assert bench.told(cdb(size, opcode, BLOCKS - 1, 2), data) == "05/21/00"
        assert bench.told(cdb(size, opcode, BLOCKS, 1), data) == "05/21/00"
        assert bench.told(cdb(size, opcode, (1 << 21) - 1, 1), data) == "05/21/00"
        if size != 6:
            assert bench(cdb(size, opcode, BLOCKS, 0)).status == 0  # right behind the last block
            assert bench.told(cdb(size, opcode, BLOCKS + 1, 0)) == "05/21/00"
            assert bench.told(cdb(size, opcode, (1 << 32) - 1, 1), data) == "05/21/00"


@pytest.mark.parametrize("block", [1 << 32, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("count", [0, 1, (1 << 32) - 1])
@pytest.mark.parametrize("opcode", [0x88, 0x8A, 0x8F, 0x8E, 0x89, 0x8B, 0x91, 0x90, 0x93])
def test_no_command_of_16_bytes_reaches_past_the_end(bench, opcode, block, count):
    before = bytes(bench.unit.data)
    assert (
        bench.told(sixteen(opcode, block, count & (0xFF if opcode == 0x89 else -1))) == "05/21/00"
    )
    assert bytes(bench.unit.data) == before


def test_a_count_of_zero_in_6_bytes_is_256(bench):
    data = pattern(256 * BLOCK)
    assert bench.sent(cdb(6, 0x0A, 5, 0), data) == b""
    assert bench.sent(cdb(6, 0x08, 5, 0)) == data
    assert bench.server.transfer(bench.one, bytes((0, 1)) + bytes(6), cdb(6, 0x0A, 5, 0)) == (
        bench.server.transfer(bench.one, bytes((0, 1)) + bytes(6), ten(0x2A, 5, 256))
    )


@pytest.mark.parametrize("flags", [0x08, 0x10, 0x18])
def test_what_a_cache_should_do_changes_nothing_else(bench, flags):
    data = pattern(BLOCK)
    for size in (10, 12, 16):
        assert bench.sent(cdb(size, WRITES[size], size, 1, flags), data) == b""
        assert bench.sent(cdb(size, READS[size], size, 1, flags)) == data


@pytest.mark.parametrize("protect", range(1, 8))
@pytest.mark.parametrize("size", [10, 12, 16])
def test_protection_is_refused_where_there_is_none(bench, size, protect):
    for opcode in (READS[size], WRITES[size]):
        answer = bench(cdb(size, opcode, 0, 1, protect << 5), bytes(BLOCK))
        assert complaint(answer) == "05/24/00"
        in_cdb, byte, bit = pointer(answer)
        assert (in_cdb, byte) == (True, 1)
        assert bit == (protect << 5).bit_length() - 1


@pytest.mark.parametrize(("opcode", "field"), [(0x88, 10), (0x8A, 10), (0x8F, 10), (0x8E, 10)])
def test_more_than_the_limit_is_refused_and_never_asked_for(opcode, field):
    bench = Bench(MemoryUnit(size_bytes=65_537 * BLOCK))
    flags = 0x02 if opcode == 0x8F else 0
    answer = bench(sixteen(opcode, 0, 65_537, flags))
    assert complaint(answer) == "05/24/00"
    assert pointer(answer)[1] == field
    lun = bytes((0, 1)) + bytes(6)
    assert bench.server.transfer(bench.one, lun, sixteen(opcode, 0, 65_537, flags)).length == 0
    assert (
        bench.server.transfer(bench.one, lun, sixteen(opcode, 0, 65_536, flags)).length == 32 << 20
    )


def test_data_that_is_too_short_is_refused_and_nothing_is_written(bench):
    before = bytes(bench.unit.data)
    for command in (ten(0x2A, 0, 2), sixteen(0x8A, 0, 2), ten(0x2E, 0, 2), sixteen(0x8B, 0, 2)):
        for length in (0, 200, BLOCK, 2 * BLOCK - 1):
            assert bench.told(command, b"x" * length) == "05/0e/03"
    assert bytes(bench.unit.data) == before


@pytest.mark.parametrize("length", [0, 1, 200, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK])
@pytest.mark.parametrize("command", [ten(0x2A, 1, 2), sixteen(0x8A, 1, 2, 8), ten(0x2E, 1, 2, 2)])
def test_who_announces_less_has_as_much_written(bench, command, length):
    bench.unit.write(0, b"a" * 4 * BLOCK)
    assert bench.sent(command, b"b" * length, announced=length) == b""
    wanted = b"a" * BLOCK + b"b" * length + b"a" * (3 * BLOCK - length)
    assert bytes(bench.unit.data[: 4 * BLOCK]) == wanted
    if length:
        assert bench.told(command, b"b" * (length - 1), announced=length) == "05/0e/03"


def test_data_that_is_too_long_is_not_looked_at(bench):
    bench.sent(ten(0x2A, 0, 1), b"x" * 3 * BLOCK, announced=3 * BLOCK)
    assert bytes(bench.unit.data[: 2 * BLOCK]) == b"x" * BLOCK + bytes(BLOCK)


def test_a_read_only_unit_can_be_read(bench):
    bench.unit.read_only = True
    before = bytes(bench.unit.data)
    assert bench.sent(ten(0x28, 0, 1)) == before[:BLOCK]
    unmapping = bytes.fromhex("0016 0010 00000000 0000000000000000 00000008 00000000")
    for command, data in (
        (ten(0x2A, 0, 1), b"x" * BLOCK),
        (sixteen(0x8A, 0, 1), b"x" * BLOCK),
        (ten(0x2E, 0, 1), b"x" * BLOCK),
        (sixteen(0x89, 0, 1), bytes(BLOCK) + b"x" * BLOCK),
        (sixteen(0x8B, 0, 1), b"x" * BLOCK),
        (ten(0x41, 0, 1), b"x" * BLOCK),
        (bytes.fromhex("42 00000000 00 0000 18 00"), unmapping),
    ):
        assert bench.told(command, data) == "07/27/00"
    assert bytes(bench.unit.data) == before
    assert bench.sent("1a 00 3f 00 ff 00")[2] & 0x80  # WP


@pytest.mark.parametrize("flags", [0, 0x08, 0x18])
def test_common_reads_take_the_short_way_and_no_others(bench, flags):
    bench.unit.write(3 * BLOCK, pattern(2 * BLOCK))
    for command in (ten(0x28, 3, 2, flags), sixteen(0x88, 3, 2, flags)):
        padded = command.ljust(16, b"\0")
        assert b"".join(fast_read(bench.unit, padded)) == pattern(2 * BLOCK)
    for command in (
        ten(0x28, 3, 0),
        ten(0x28, BLOCKS - 1, 2),
        ten(0x28, 3, 1, 0x20),
        ten(0x28, 3, 1, 0x01),
        ten(0x28, 3, 1)[:-1] + b"\x04",
        ten(0x28, 3, 1)[:6] + b"\x20" + ten(0x28, 3, 1)[7:],
        ten(0x2A, 3, 1),
        sixteen(0x88, 3, 0),
        sixteen(0x88, 1 << 63, 1),
        sixteen(0x88, 3, 1, 0x80),
        sixteen(0x88, 3, 1)[:-1] + b"\x04",
        sixteen(0x88, 3, 1)[:14] + b"\x20\0",
        twelve(0xA8, 3, 1),
    ):
        assert fast_read(bench.unit, command.ljust(16, b"\0")) is None


# Looking and writing at once. ------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [0x2F, 0xAF, 0x8F])
def test_verification_compares_what_it_is_asked_to(bench, opcode):
    shape = {0x2F: ten, 0xAF: twelve, 0x8F: sixteen}[opcode]
    data = pattern(4 * BLOCK)
    bench.unit.write(8 * BLOCK, data)
    assert bench.sent(shape(opcode, 8, 4)) == b""  # BYTCHK 00: nothing is compared
    assert bench.sent(shape(opcode, 8, 4, 0x02), data) == b""
    other = bytearray(data)
    other[700] ^= 1
    answer = bench(shape(opcode, 8, 4, 0x02), bytes(other))
    assert complaint(answer) == "0e/1d/00"
    assert information(answer) == 700
    assert bench.told(shape(opcode, 8, 4, 0x04), data) == "05/24/00"  # BYTCHK 10 is reserved


@pytest.mark.parametrize("flags", [0x00, 0x02])
def test_nothing_is_verified_at_the_end_and_not_beyond(bench, flags):
    for block in (0, BLOCKS):
        assert bench.sent(ten(0x2F, block, 0, flags)) == b""
        assert bench.sent(sixteen(0x8E, block, 0, flags)) == b""
    assert bench.told(ten(0x2F, BLOCKS + 1, 0, flags)) == "05/21/00"


def test_verification_compares_one_block_with_each(bench):
    block = pattern(BLOCK)
    bench.unit.write(0, block * 5)
    assert bench.sent(ten(0x2F, 0, 5, 0x06), block) == b""
    bench.unit.data[3 * BLOCK + 5] ^= 0x80
    answer = bench(ten(0x2F, 0, 5, 0x06), block)
    assert (complaint(answer), information(answer)) == ("0e/1d/00", 3 * BLOCK + 5)
    assert bench.told(ten(0x2F, 0, 5, 0x06), block[:-1]) == "05/0e/03"


@pytest.mark.parametrize(("opcode", "shape"), [(0x2E, ten), (0xAE, twelve), (0x8E, sixteen)])
def test_write_and_verify_writes(bench, opcode, shape):
    data = pattern(2 * BLOCK)
    for flags in (0x00, 0x02, 0x10):
        assert bench.sent(shape(opcode, 4, 2, flags), data) == b""
        assert bytes(bench.unit.data[4 * BLOCK : 6 * BLOCK]) == data
    assert bench.told(shape(opcode, 4, 2, 0x04), data) == "05/24/00"


def test_a_disk_that_does_not_keep_what_is_written_is_found_out(bench, monkeypatch):
    monkeypatch.setattr(bench.unit, "write", lambda offset, data: None)
    answer = bench(ten(0x2E, 0, 1, 0x02), b"\0" * 9 + b"x" + b"\0" * 502)
    assert (complaint(answer), information(answer)) == ("0e/1d/00", 9)


def test_compare_and_write_is_all_or_nothing(bench):
    old, new = pattern(BLOCK, 1), pattern(BLOCK, 9)
    bench.unit.write(2 * BLOCK, old)
    wrong = bytearray(old)
    wrong[0x123] ^= 4
    answer = bench(sixteen(0x89, 2, 1), bytes(wrong) + new)
    assert (complaint(answer), information(answer)) == ("0e/1d/00", 0x123)
    assert bytes(bench.unit.data[2 * BLOCK : 3 * BLOCK]) == old
    assert bench.sent(sixteen(0x89, 2, 1, 0x08), old + new) == b""
    assert bytes(bench.unit.data[2 * BLOCK : 3 * BLOCK]) == new
    assert bench.sent(sixteen(0x89, 2, 0)) == b""


def test_compare_and_write_refuses_what_does_not_fit(bench):
    answer = bench(sixteen(0x89, 0, 2), bytes(4 * BLOCK))
    assert (complaint(answer), pointer(answer)) == ("05/24/00", (True, 13, None))
    assert bench.told(sixteen(0x89, 0, 1), bytes(BLOCK)) == "05/0e/03"
    assert bench.told(sixteen(0x89, 0, 1), bytes(2 * BLOCK), announced=4 * BLOCK) == "05/24/00"
    assert bench.told(sixteen(0x89, 0, 0), b"", announced=512 * BLOCK) == "05/24/00"
    assert bench.told(sixteen(0x89, BLOCKS, 1), bytes(2 * BLOCK)) == "05/21/00"


def test_orwrite_sets_bits_and_clears_none(bench):
    old, bits = pattern(2 * BLOCK, 3), pattern(2 * BLOCK, 77)
    bench.unit.write(0, old)
    assert bench.sent(sixteen(0x8B, 0, 2), bits) == b""
    assert bytes(bench.unit.data[: 2 * BLOCK]) == bytes(
        a | b for a, b in zip(old, bits, strict=True)
    )


# A model. --------------------------------------------------------------------------------------

SMALL = 64  # blocks


@st.composite
def steps(draw):
    block = draw(st.integers(0, SMALL - 1))
    count = draw(st.integers(0, min(12, SMALL - block)))
    byte = draw(st.integers(0, 3))
    what = draw(st.sampled_from(["write", "verified", "same", "zero", "unmap", "swap", "or"]))
    return what, block, count, byte


@given(st.lists(steps(), max_size=25), st.sampled_from([0x28, 0xA8, 0x88]))
def test_reads_show_what_all_that_writes_has_left(history, opcode):
    bench = Bench(MemoryUnit(size_bytes=SMALL * BLOCK, unmap_granularity_bytes=2 * KIB))
    model = bytearray(SMALL * BLOCK)
    for what, block, count, byte in history:
        start, stop = block * BLOCK, (block + count) * BLOCK
        data = bytes((byte,)) * (stop - start)
        if what == "write":
            bench.sent(twelve(0xAA, block, count), data)
            model[start:stop] = data
        elif what == "verified":
            bench.sent(ten(0x2E, block, count, 0x02), data)
            model[start:stop] = data
        elif what == "same" and count:
            bench.sent(ten(0x41, block, count, 0x08), bytes((byte,)) * BLOCK)
            model[start:stop] = data
        elif what == "zero" and count:
            bench.sent(sixteen(0x93, block, count, 0x01))
            model[start:stop] = bytes(len(data))
        elif what == "unmap":
            listed = block.to_bytes(8, "big") + count.to_bytes(4, "big") + bytes(4)
            bench.sent("42 00 00000000 00 0018 00", bytes.fromhex("0016 0010 00000000") + listed)
            model[start:stop] = bytes(len(data))
        elif what == "swap" and count:
            guess = bytes((byte,)) * BLOCK
            answer = bench(sixteen(0x89, block, 1), guess + b"\x01" * BLOCK)
            if model[start : start + BLOCK] == guess:
                model[start : start + BLOCK] = b"\x01" * BLOCK
            else:
                assert complaint(answer) == "0e/1d/00"
        elif what == "or":
            bench.sent(sixteen(0x8B, block, count), data)
            model[start:stop] = bytes(old | byte for old in model[start:stop])
        shape = {0x28: ten, 0xA8: twelve, 0x88: sixteen}[opcode]
        assert bench.sent(shape(opcode, 0, SMALL)) == model
