"""What a SCSI initiator says and hears, against the layouts of the standards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.codecs import scsi
from stuntdouble.codecs.scsi import Capacity, Designator, Inquiry, Key, Sense
from stuntdouble.errors import Misuse


def test_cdbs_are_those_of_the_standards():
    assert scsi.test_unit_ready() == bytes(6)
    assert scsi.inquiry() == bytes.fromhex("12000000fc00")
    assert scsi.inquiry(0x83, 0x1234) == bytes.fromhex("120183123400")
    assert scsi.report_luns(16) == bytes.fromhex("a00000000000 00000010 0000")
    assert scsi.read_capacity() == bytes.fromhex("9e10 0000000000000000 00000020 0000")
    assert scsi.read(0x0102030405060708, 0x0A0B) == bytes.fromhex(
        "8800 0102030405060708 00000a0b 0000"
    )
    assert scsi.write(9, 1) == bytes.fromhex("8a00 0000000000000009 00000001 0000")
    assert scsi.synchronize_cache() == b"\x91" + bytes(15)


@given(st.integers(0, scsi.LUN_MAX))
def test_a_lun_survives_its_field(lun):
    field = scsi.pack_lun(lun)
    assert len(field) == 8
    assert scsi.parse_lun(field) == lun
    assert scsi.parse_lun(bytes([0x40 | lun >> 8, lun & 0xFF]) + bytes(6)) == lun


def test_luns_of_other_kinds_are_told_apart():
    assert scsi.pack_lun(255) == bytes.fromhex("00ff000000000000")
    assert scsi.pack_lun(256) == bytes.fromhex("4100000000000000")
    assert scsi.parse_lun(bytes.fromhex("d201000500000000")) == 0x010005
    for wrong in ("0100", "0105000000000000", "0001000100000000", "c101000000000000"):
        with pytest.raises(Misuse, match="LUN"):
            scsi.parse_lun(bytes.fromhex(wrong))
    for number in (-1, 16384):
        with pytest.raises(Misuse, match="use 0 to 16383"):
            scsi.pack_lun(number)


@given(st.lists(st.integers(0, scsi.LUN_MAX), unique=True))
def test_a_list_of_luns_is_read_back_without_the_well_known(luns):
    fields = [scsi.pack_lun(lun) for lun in luns]
    data = scsi.pack_report_luns([*fields, bytes.fromhex("c101000000000000")])
    assert scsi.parse_report_luns(data + bytes(3)) == tuple(fields)
    with pytest.raises(Misuse, match="REPORT LUNS"):
        scsi.parse_report_luns(data[:-1])


def test_a_broken_list_of_luns_is_refused():
    for wrong in ("", "00000008", "000000090000000000000000", "00000007 00000000 00000000000000"):
        with pytest.raises(Misuse, match="REPORT LUNS"):
            scsi.parse_report_luns(bytes.fromhex(wrong))


def test_standard_inquiry_data():
    data = bytes.fromhex("00000602 5b000002") + b"VENDOR  PRODUCT         0001" + bytes(60)
    assert Inquiry.parse(data) == Inquiry(0, 0, "VENDOR", "PRODUCT", "0001")
    assert Inquiry.parse(data).is_disk
    assert not Inquiry.parse(b"\x7f" + data[1:]).is_disk
    assert not Inquiry.parse(b"\x0c" + data[1:]).is_disk
    with pytest.raises(Misuse, match="35 bytes"):
        Inquiry.parse(data[:35])


NAA6 = bytes.fromhex("6000002a0000000000000000000000ab")
NAA5 = bytes.fromhex("5000002a00000001")


def page(number: int, body: bytes) -> bytes:
    return bytes([0, number]) + len(body).to_bytes(2, "big") + body


def test_identification_finds_the_units_own_naa():
    parts = [
        bytes([0x02, 0x01, 0, 8]) + b"VENDOR  ",  # T10 vendor name
        bytes([0x01, 0x93, 0, 8]) + NAA5,  # of the port
        bytes([0x01, 0x03, 0, 8]) + NAA5,
        bytes([0x01, 0x03, 0, 16]) + NAA6,
    ]
    found = scsi.parse_identification(page(0x83, b"".join(parts)) + b"rest")
    assert found[0] == Designator(1, 0, 2, b"VENDOR  ")
    assert found[1] == Designator(3, 1, 1, NAA5)
    assert scsi.naa_of(found) == NAA6.hex()
    assert scsi.naa_of(found[:3]) == NAA5.hex()
    assert scsi.naa_of(found[:2]) == ""
    assert scsi.parse_identification(page(0x83, b"")) == ()


def test_pages_that_are_cut_off_or_others_are_refused():
    whole = page(0x83, bytes([1, 3, 0, 16]) + NAA6)
    for wrong in (b"", whole[:-1], page(0x80, NAA6)):
        with pytest.raises(Misuse, match="INQUIRY"):
            scsi.parse_identification(wrong)
    assert scsi.page_bytes(whole[:4]) == len(whole)
    with pytest.raises(Misuse, match="no head of a page"):
        scsi.page_bytes(whole[:3])
    for body in (bytes([1, 3, 0]), bytes([1, 3, 0, 16]) + NAA6[:-1]):
        with pytest.raises(Misuse, match="cut off"):
            scsi.parse_identification(page(0x83, body))


def test_serial_and_block_limits():
    assert scsi.parse_serial(page(0x80, b"  ABC\0")) == "ABC"
    body = bytes.fromhex("0000 0008 00008000 00000800") + bytes(48)
    limits = scsi.BlockLimits.parse(page(0xB0, body))
    assert (limits.granularity, limits.most, limits.optimal) == (8, 0x8000, 0x800)
    with pytest.raises(Misuse, match="b0h"):
        scsi.BlockLimits.parse(page(0xB0, body[:11]))


@given(st.integers(1, 1 << 60), st.sampled_from([512, 4096]))
def test_a_capacity_survives_its_data(blocks, block_bytes):
    capacity = Capacity(blocks, block_bytes)
    assert len(capacity.pack()) == 32
    assert Capacity.parse(capacity.pack()) == capacity
    assert capacity.size_bytes == blocks * block_bytes


def test_capacities_of_no_use_are_refused():
    with pytest.raises(Misuse, match="11 bytes"):
        Capacity.parse(bytes(11))
    for block in (0, 256, 520):
        with pytest.raises(Misuse, match=f"blocks of {block}"):
            Capacity.parse(bytes(8) + block.to_bytes(4, "big") + bytes(20))


@given(
    st.builds(
        Sense,
        st.integers(0, 15),
        st.integers(0, 255),
        st.integers(0, 255),
        st.none() | st.integers(0, (1 << 32) - 1),
        st.booleans(),
    )
)
def test_sense_survives_both_formats(sense):
    assert len(sense.pack()) == 18
    assert Sense.parse(sense.pack()) == sense
    assert Sense.parse(sense.pack(descriptor=True)) == sense


def test_sense_as_the_standard_draws_it():
    fixed = Sense.parse(bytes.fromhex("f00003 00000064 0a 00000000 1100 00000000"))
    assert fixed == Sense(Key.MEDIUM_ERROR, 0x11, 0, 100)
    assert str(fixed) == "03/11/00"
    assert Sense.parse(bytes.fromhex("700006")) == Sense(6, 0, 0)
    others = "72032601 00000014 0206 0000c0000000 000a 8000 0000000100000000"
    assert Sense.parse(bytes.fromhex(others)) == Sense(3, 0x26, 1, 1 << 32)
    invalid = "72031100 0000000c 000a 0000 0000000000000001"
    assert Sense.parse(bytes.fromhex(invalid)).information is None
    assert Sense.parse(bytes.fromhex("72031100 0000000c 000a 80")).information is None
    with pytest.raises(Misuse, match="descriptor format"):
        Sense(3, 0x11, 0, 1 << 32).pack()
    for wrong in ("", "00", "7f0000", "7203"):
        with pytest.raises(Misuse, match="neither fixed nor descriptor"):
            Sense.parse(bytes.fromhex(wrong))
