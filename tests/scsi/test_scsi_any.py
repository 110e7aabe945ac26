"""Rules that hold for every command: whatever comes gets an answer; what is sent fits; bits count."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scsi.bench import Bench, complaint, pointer
from stuntdouble.scsi import Answer, Direction, MemoryUnit, Status, pack_lun
from stuntdouble.scsi.command import Command
from stuntdouble.scsi.table import CONTROLLER, DISK


def fill(command: Command, rest: bytes) -> bytes:
    """Return a CDB that has only bits in it that the command looks at."""
    mask = command.mask
    cdb = bytes(byte & bits for byte, bits in zip(rest.ljust(len(mask), b"\0"), mask, strict=False))
    action = b"" if command.action is None else bytes((cdb[1] & 0xE0 | command.action,))
    return bytes((command.opcode,)) + (action or cdb[1:2]) + cdb[2:]


LUNS = st.one_of(
    st.sampled_from([pack_lun(0), pack_lun(1), pack_lun(2), pack_lun(300), bytes(8)]),
    st.binary(max_size=10),
)
OPCODES = sorted({command.opcode for command in DISK.commands})
CDBS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda opcode, rest: bytes((opcode,)) + rest, st.sampled_from(OPCODES), st.binary()),
    st.builds(
        fill,
        st.sampled_from(DISK.commands),
        st.binary(max_size=16),
    ),
)


@given(st.lists(st.tuples(LUNS, CDBS, st.binary(max_size=600)), max_size=20), st.booleans())
@example([(pack_lun(1), b"", b"")], True)
@example([(b"", bytes(6), b"")], False)
def test_whatever_comes_gets_an_answer(commands, thin):
    bench = Bench(MemoryUnit(size_bytes=64 * 512, thin=thin))
    for lun, cdb, data in commands:
        transfer = bench.server.transfer(bench.one, lun, cdb)
        assert transfer.length >= 0
        assert (transfer.direction is Direction.NONE) <= (transfer.length == 0)
        answer = bench(cdb, data, lun=lun)
        assert answer.status in list(Status)
        assert bool(answer.sense) == (answer.status == Status.CHECK_CONDITION)
        assert sum(map(len, answer.parts)) == answer.length
        if answer.length:
            assert answer.status == Status.GOOD
            assert transfer.direction is Direction.IN
            assert answer.length <= transfer.length


@given(CDBS, st.integers(0, 1 << 40))
def test_no_command_asks_for_more_than_the_limit(cdb, size):
    bench = Bench(MemoryUnit(size_bytes=512))
    transfer = bench.server.transfer(bench.one, pack_lun(1), cdb)
    if transfer.direction is Direction.OUT:
        assert transfer.length <= 32 << 20


# Each command. ---------------------------------------------------------------------------------

named = pytest.mark.parametrize("command", DISK.commands, ids=lambda one: one.name)


def sound(command: Command) -> bytes:
    """Return a CDB that nothing is wrong with, as far as reserved bits go."""
    return fill(command, b"")


@named
def test_a_bit_that_has_to_be_zero_is_pointed_at(command):
    mask = command.mask
    for place in range(8, len(mask) * 8):
        byte, bit = place // 8, 7 - place % 8
        is_action = command.action is not None and byte == 1 and bit < 5
        if mask[byte] >> bit & 1 or is_action:
            continue
        cdb = bytearray(sound(command))
        cdb[byte] |= 1 << bit
        answer = Bench()(bytes(cdb))
        assert complaint(answer) == "05/24/00", (byte, bit)
        assert pointer(answer) == (True, byte, bit)


@named
def test_nobody_may_ask_for_auto_contingent_allegiance(command):
    cdb = bytearray(sound(command))
    cdb[-1] |= 0x04
    assert Bench().told(bytes(cdb)) == "05/24/00"


MEDIUM = (
    "READ(", "WRITE", "VERIFY", "COMPARE AND WRITE", "ORWRITE", "UNMAP", "GET LBA STATUS",
    "SYNCHRONIZE CACHE", "PRE-FETCH", "READ DEFECT DATA", "TEST UNIT READY",
)  # fmt: skip


@named
def test_a_stopped_unit_does_what_needs_no_medium(command):
    bench = Bench()
    bench.server.state(bench.unit.naa).stopped = True
    told = bench.told(sound(command), bytes(1024))
    assert (told == "02/04/02") == command.name.startswith(MEDIUM)


def test_lengths_of_commands_are_those_of_their_groups():
    for command in DISK.commands:
        assert len(command.mask) == {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}[command.opcode >> 5]


def test_each_command_is_listed_once():
    listed = [(command.opcode, command.action) for command in DISK.commands]
    assert len(set(listed)) == len(listed)
    assert set(CONTROLLER.commands) < set(DISK.commands)


READING = [
    "12 00 00 {:04x} 00",
    *(f"12 01 {page:02x} {{:04x}} 00" for page in (0x00, 0x80, 0x83, 0x86, 0x87, 0xB0, 0xB1, 0xB2)),
    "9e 10 0000000000000000 {:08x} 00 00",
    "9e 12 0000000000000000 {:08x} 00 00",
    "1a 00 3f ff {:02x} 00",
    "5a 00 3f ff 000000 {:04x} 00",
    "5a 10 08 00 000000 {:04x} 00",
    "5e 00 0000000000 {:04x} 00",
    "5e 01 0000000000 {:04x} 00",
    "5e 02 0000000000 {:04x} 00",
    "5e 03 0000000000 {:04x} 00",
    "a3 0c 00 00 0000 {:08x} 00 00",
    "a3 0c 80 00 0000 {:08x} 00 00",
    "a3 0c 81 28 0000 {:08x} 00 00",
    "a3 0a 00 00 0000 {:08x} 00 00",
    "a3 2a 00 00 0000 {:08x} 00 00",
    "4d 00 00 00 00 0000 {:04x} 00",
    "4d 00 0d 00 00 0000 {:04x} 00",
    "4d 00 2f 00 00 0000 {:04x} 00",
    "37 00 18 00000000 {:04x} 00",
    "b7 18 00000000 {:08x} 00 00",
    "03 00 0000 {:02x} 00",
    "03 01 0000 {:02x} 00",
]


@pytest.mark.parametrize("cdb", READING)
def test_what_there_is_no_room_for_is_cut_off(cdb):
    bench = Bench()
    bench.sent("5f 06 00 0000 00000018 00", bytes(8) + b"K" * 8 + bytes(8))
    bench.sent("5f 01 01 0000 00000018 00", b"K" * 8 + bytes(16))
    whole = bench.sent(cdb.format(255))
    assert whole
    for room in (*range(min(len(whole), 60)), len(whole) - 1, len(whole)):
        assert bench.sent(cdb.format(room)) == whole[:room]


def test_an_answer_says_how_long_it_is():
    answer = Answer(0, (b"ab", memoryview(b"cde")))
    assert answer.length == 5
