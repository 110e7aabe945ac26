"""PDUs of iSCSI: every kind there and back, framing in any pieces, digests, additional headers."""

from __future__ import annotations

import contextlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from stuntdouble.codecs import iscsi
from stuntdouble.errors import Misuse

U32 = st.integers(0, (1 << 32) - 1)
U24 = st.integers(0, (1 << 24) - 1)
U16 = st.integers(0, (1 << 16) - 1)
U8 = st.integers(0, 255)
LUN = st.binary(min_size=8, max_size=8)
NUMBERS = st.builds(iscsi.Numbers, U32, U32, U32)
YES_NO = st.booleans()

REQUESTS = st.one_of(
    st.builds(iscsi.ScsiCommand, LUN, U32, U32, U32, U32, st.binary(min_size=16, max_size=16), U8, YES_NO),
    st.builds(iscsi.NopOut, U32, U32, U32, U32, LUN, YES_NO),
    st.builds(iscsi.TaskRequest, st.integers(0, 127), LUN, U32, U32, U32, U32, U32, U32, YES_NO),
    st.builds(
        iscsi.LoginRequest, st.binary(min_size=6, max_size=6), U16, U32, U16, U32, U32,
        st.integers(0, 3), st.integers(0, 3), YES_NO, YES_NO, U8, U8,
    ),
    st.builds(iscsi.TextRequest, U32, U32, U32, U32, YES_NO, YES_NO, LUN, YES_NO),
    st.builds(iscsi.LogoutRequest, st.integers(0, 127), U32, U16, U32, U32, YES_NO),
    st.builds(iscsi.SnackRequest, st.integers(0, 15), LUN, U32, U32, U32, U32, U32),
    st.builds(iscsi.DataOut, LUN, U32, U32, U32, U32, U32, YES_NO),
)  # fmt: skip
REPLIES = st.one_of(
    st.builds(iscsi.ScsiResponse, U32, NUMBERS, U8, U8, U8, U32, U32, U32, U32),
    st.builds(iscsi.DataIn, LUN, U32, NUMBERS, U32, U32, U8, U8, U32, U32),
    st.builds(iscsi.NopIn, U32, U32, NUMBERS, LUN),
    st.builds(iscsi.TaskResponse, U8, U32, NUMBERS),
    st.builds(
        iscsi.LoginResponse, st.binary(min_size=6, max_size=6), U16, U32, NUMBERS, U16,
        st.integers(0, 3), st.integers(0, 3), YES_NO, YES_NO, U8, U8,
    ),
    st.builds(iscsi.TextResponse, U32, U32, NUMBERS, YES_NO, YES_NO, LUN),
    st.builds(iscsi.LogoutResponse, U8, U32, NUMBERS, U16, U16),
    st.builds(iscsi.R2t, LUN, U32, U32, NUMBERS, U32, U32, U32),
    st.builds(iscsi.AsyncMessage, U8, NUMBERS, U8, st.tuples(U16, U16, U16), LUN),
    st.builds(iscsi.Reject, U8, NUMBERS, U32),
)  # fmt: skip
WITHOUT_DATA = (
    iscsi.TaskRequest, iscsi.LogoutRequest, iscsi.SnackRequest, iscsi.TaskResponse,
    iscsi.LogoutResponse, iscsi.R2t,
)  # fmt: skip


@given(st.one_of(REQUESTS, REPLIES), U24)
def test_every_kind_of_pdu_there_and_back(pdu, length):
    length = 0 if isinstance(pdu, WITHOUT_DATA) else length
    header = pdu.pack() if isinstance(pdu, WITHOUT_DATA) else pdu.pack(length)
    assert len(header) == iscsi.HEADER_BYTES
    assert iscsi.segment_lengths(header) == (0, length)
    assert type(pdu).parse(header) == pdu
    assert iscsi.is_immediate(header) == bool(header[0] & 0x40)


def test_what_a_reader_of_the_standard_would_expect_byte_by_byte():
    command = iscsi.ScsiCommand(
        b"\0\1" + bytes(6), 0x11223344, 4096, 7, 9, b"\x28" + bytes(15), 0x80 | 0x40 | 1
    )
    assert command.pack(5, 2).hex() == (
        "01c10000" "02000005" "0001000000000000" "11223344" "00001000" "00000007" "00000009"
        "28" + "00" * 15
    )  # fmt: skip
    answer = iscsi.DataIn(bytes(8), 3, iscsi.Numbers(1, 2, 3), 4, 5, 0x81, 0, 6)
    assert answer.pack(0x10203).hex() == (
        "25810000" "00010203" "0000000000000000" "00000003" "ffffffff" "00000001" "00000002"
        "00000003" "00000004" "00000005" "00000006"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "wire"),
    [  # RFC 7143, appendix A.4
        (bytes(32), "aa36918a"),
        (b"\xff" * 32, "43aba862"),
        (bytes(range(32)), "4e79dd46"),
        (bytes(reversed(range(32))), "5cdb3f11"),
    ],
)
def test_digests_of_the_standards_examples(data, wire):
    assert iscsi.digest([data]).hex() == wire
    assert iscsi.digest([data[:5], data[5:]]).hex() == wire


PAYLOAD = st.binary(max_size=300)


@given(
    st.lists(st.tuples(PAYLOAD, st.sampled_from([b"", bytes(4), bytes(40)])), max_size=6),
    YES_NO,
    YES_NO,
    st.integers(1, 400),
)
def test_pdus_come_out_of_a_stream_however_it_is_cut(sent, header_digest, data_digest, step):
    digests = iscsi.Digests(header_digest, data_digest)
    stream = b""
    for data, ahs in sent:
        command = iscsi.ScsiCommand(bytes(8), len(data), 0, 0, 0, bytes(16))
        header = command.pack(len(data), len(ahs) // 4)
        half = len(data) // 2
        stream += b"".join(iscsi.pack_pdu(header, [data[:half], data[half:]], digests, ahs))
    framer = iscsi.Framer(4096, digests)
    found = []
    for at in range(0, len(stream), step):
        framer.feed(stream[at : at + step])
        while (pdu := framer.next()) is not None:
            assert pdu.intact
            assert iscsi.ScsiCommand.parse(pdu.header).itt == len(pdu.data)
            found.append((bytes(pdu.data), bytes(pdu.ahs)))
    assert found == sent
    assert len(framer) == 0


def test_a_long_pdu_finds_room_and_a_longer_one_is_refused():
    data = bytes(range(256)) * 4096
    framer = iscsi.Framer(len(data))
    header = iscsi.DataOut(bytes(8), 1, 2, 3, 0, 0, True).pack(len(data))
    framer.feed(header + data + header)
    pdu = framer.next()
    assert pdu is not None
    assert bytes(pdu.data) == data
    assert framer.next() is None
    framer.feed(bytes(100))
    framer = iscsi.Framer(len(data) - 1)
    framer.feed(header)
    with pytest.raises(iscsi.BrokenFraming):
        framer.next()


def test_memory_of_a_framer_does_not_grow_with_what_passes_through_it():
    framer = iscsi.Framer(1 << 20)
    header = iscsi.DataOut(bytes(8), 1, 2, 3, 0, 0, True).pack(1000)
    for _ in range(2000):
        framer.feed(header + bytes(1000))
        assert framer.next() is not None
    assert framer.holds_bytes <= 128 << 10


@given(st.integers(0, 51), st.integers(1, 255))
def test_a_wrong_bit_of_a_header_breaks_the_framing(at, flip):
    digests = iscsi.Digests(header=True)
    wire = bytearray(b"".join(iscsi.pack_pdu(iscsi.NopOut().pack(), (), digests)))
    wire[at] ^= flip
    framer = iscsi.Framer(1 << 24, digests)
    framer.feed(wire + bytes(64 << 10))
    if at in (4, 5, 6, 7):  # the length is another: more is waited for, or the digest is elsewhere
        with contextlib.suppress(iscsi.BrokenFraming):
            assert framer.next() is None
        return
    with pytest.raises(iscsi.BrokenFraming):
        framer.next()


@given(st.binary(min_size=1, max_size=64), st.data())
def test_a_wrong_bit_of_data_is_told(data, draw):
    digests = iscsi.Digests(data=True)
    parts = iscsi.pack_pdu(iscsi.NopOut().pack(len(data)), [data], digests)
    wire = bytearray(b"".join(parts))
    at = draw.draw(st.integers(48, len(wire) - 1))
    wire[at] ^= 1 << draw.draw(st.integers(0, 7))
    framer = iscsi.Framer(1 << 20, digests)
    framer.feed(wire)
    pdu = framer.next()
    assert pdu is not None
    assert not pdu.intact


@given(st.binary(min_size=16, max_size=260), st.none() | U32)
def test_long_commands_and_bidirectional_ones(cdb, length):
    ahs = iscsi.cdb_ahs(cdb)
    if length is not None:
        ahs += iscsi.read_length_ahs(length)
    assert len(ahs) % 4 == 0
    rest, found = iscsi.command_extras(ahs)
    assert cdb[:16] + rest == cdb
    assert found == length


@pytest.mark.parametrize(
    "ahs",
    [
        b"\0",
        b"\0\5\1\0",
        iscsi.pack_ahs(iscsi.AhsType.READ_LENGTH, bytes(4)),
        iscsi.read_length_ahs(1) * 2,
        b"\0\1\x3f\0",
        b"\0\0\1\0",
    ],
)
def test_malformed_additional_headers_are_refused(ahs):
    with pytest.raises(Misuse):
        iscsi.command_extras(ahs)


@given(st.binary(max_size=64))
def test_no_additional_header_raises_anything_else(ahs):
    with contextlib.suppress(Misuse):
        iscsi.command_extras(ahs)


@given(U32, st.integers(1, (1 << 31) - 1))
def test_sequence_numbers_wrap(number, step):
    later = iscsi.serial_add(number, step)
    assert iscsi.serial_less(number, later)
    assert not iscsi.serial_less(later, number)
    assert not iscsi.serial_less(number, number)
