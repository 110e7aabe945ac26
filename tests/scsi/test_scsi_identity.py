"""Who a unit says it is: INQUIRY, vital product data, LUNs, capacity, what it can do."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scsi.bench import ONE, TARGET, Bench, complaint, pointer, sixteen
from stuntdouble.scsi import LUN_MAX, MemoryUnit, pack_lun, unpack_lun

NAA = "6000" + "0" * 27 + "1"


def page(bench: Bench, code: int, **where) -> bytes:
    data = bench.sent(f"12 01 {code:02x} 0fff 00", **where)
    assert data[1] == code
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    return data[4:]


def designators(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return (code set and protocol, kind, body) of each designator of a page 83h."""
    found = []
    while data:
        assert data[2] == 0
        found.append((data[0], data[1], data[4 : 4 + data[3]]))
        data = data[4 + data[3] :]
    return found


def test_a_disk_says_what_it_is(bench):
    data = bench.sent("12 00 00 00ff 00")
    assert data[0] == 0x00
    assert data[2:4] == b"\x06\x12"
    assert data[4] == len(data) - 5
    assert data[5:8].hex() == "100002"  # ALUA implied; commands are queued
    assert data[8:36] == b"STUNTDBLMEMORY UNIT     0001"
    assert data[58:66].hex() == "00a0096004600" + "4c0"
    assert bench.told("12 00 83 00ff 00") == "05/24/00"  # a page code without EVPD


def test_names_that_are_too_long_or_no_ascii_fit_all_the_same():
    unit = MemoryUnit(vendor="Füllhorn GmbH", product="x" * 40, revision="1", serial="é")
    data = Bench(unit).sent("12 00 00 00ff 00")
    assert data[8:36] == b"F?llhorn" + b"x" * 16 + b"1   "
    assert page(Bench(unit), 0x80) == b"?"


def test_a_disk_is_known_by_its_identifier(bench):
    assert page(bench, 0x80) == b"0000000000000001"
    found = designators(page(bench, 0x83))
    assert found[0] == (0x01, 0x03, bytes.fromhex(NAA))
    assert found[1] == (0x02, 0x01, b"STUNTDBLMEMORY UNIT     0000000000000001")
    assert (0x51, 0x94, b"\0\0\0\1") in found  # relative target port
    assert (0x51, 0x95, b"\0\0\0\1") in found  # target port group
    names = [(first, kind, body.rstrip(b"\0").decode()) for first, kind, body in found[4:]]
    assert names == [(0x53, 0x98, f"{TARGET},t,0x0001"), (0x53, 0xA8, TARGET)]
    assert all(len(body) % 4 == 0 and body.endswith(b"\0") for _, _, body in found[4:])


def test_every_page_that_is_listed_is_there_and_no_other(bench):
    for lun in (1, 0):
        listed = list(page(bench, 0x00, lun=lun))
        assert listed == sorted(listed)
        for code in range(256):
            if code in listed:
                page(bench, code, lun=lun)
            else:
                answer = bench(f"12 01 {code:02x} 0fff 00", lun=lun)
                assert (complaint(answer), pointer(answer)[1]) == ("05/24/00", 2)


@pytest.mark.parametrize("thin", [True, False])
def test_limits_and_provisioning_agree_with_each_other(thin):
    bench = Bench(MemoryUnit(thin=thin, unmap_granularity_bytes=16_384))
    limits, provisioning = page(bench, 0xB0), page(bench, 0xB2)
    assert len(limits) == 60
    assert limits[0] == 1  # WSNZ
    assert limits[1] == 1  # COMPARE AND WRITE
    assert int.from_bytes(limits[4:8], "big") == 65_536
    counts = [int.from_bytes(limits[at : at + 4], "big") for at in (16, 20, 24, 28)]
    assert counts == ([1 << 20, 256, 32, 1 << 31] if thin else [0] * 4)
    assert provisioning.hex() == ("00e40200" if thin else "00000000")
    long = bench.sent(sixteen(0x9E, 0, 32, 0x10))
    assert long[14] & 0xC0 == (0xC0 if thin else 0)  # LBPME, LBPRZ
    assert page(bench, 0xB1)[:2] == b"\0\1"  # does not rotate


@pytest.mark.parametrize(("block", "most"), [(512, 65_536), (4096, 8192)])
def test_no_more_than_so_many_bytes_are_moved_at_a_time(block, most):
    bench = Bench(MemoryUnit(size_bytes=33 << 20, block_bytes=block, unmap_granularity_bytes=4096))
    limits = page(bench, 0xB0)
    assert [int.from_bytes(limits[at : at + 4], "big") for at in (4, 8)] == [most, most]
    assert int.from_bytes(limits[32:40], "big") == most
    assert int.from_bytes(limits[2:4], "big") == 4096 // block
    for opcode in (0x88, 0x8A, 0x8E, 0x8F, 0x8B, 0x93):
        assert bench.told(sixteen(opcode, 0, most + 1), bytes(block)) == "05/24/00"
    assert len(bench.sent(sixteen(0x88, 0, most))) == 32 << 20
    assert bench.told(sixteen(0x93, 0, most), bytes(block)) == "00"


@pytest.mark.parametrize(
    ("size", "block", "physical", "exponent"), [(1 << 20, 512, 4096, 3), (1 << 20, 4096, 4096, 0)]
)
def test_capacity(size, block, physical, exponent):
    bench = Bench(MemoryUnit(size_bytes=size, block_bytes=block, physical_block_bytes=physical))
    last = size // block - 1
    assert bench.sent("25 00 00000000 0000 00 00") == last.to_bytes(4, "big") + block.to_bytes(
        4, "big"
    )
    long = bench.sent(sixteen(0x9E, 0, 32, 0x10))
    assert long[:12] == last.to_bytes(8, "big") + block.to_bytes(4, "big")
    assert (long[12], long[13]) == (0, exponent)
    assert len(long) == 32
    assert bench.told("25 00 00000001 0000 00 00") == "05/24/00"
    assert bench.told(sixteen(0x9E, 1, 32, 0x10)) == "05/24/00"


def test_a_capacity_that_32_bits_cannot_say(bench, monkeypatch):
    for blocks in (1 << 32, (1 << 32) + 1, 1 << 43):
        monkeypatch.setattr(bench.unit, "size_bytes", blocks * 512)
        assert bench.sent("25 00 00000000 0000 00 00") == b"\xff" * 4 + b"\0\0\2\0"
        assert bench.sent(sixteen(0x9E, 0, 32, 0x10))[:8] == (blocks - 1).to_bytes(8, "big")
    monkeypatch.setattr(bench.unit, "size_bytes", ((1 << 32) - 1) * 512)
    assert bench.sent("25 00 00000000 0000 00 00") == b"\xff\xff\xff\xfe" + b"\0\0\2\0"


# LUNs. -----------------------------------------------------------------------------------------


@given(st.integers(0, LUN_MAX))
@example(255)
@example(256)
@example(LUN_MAX)
def test_an_address_says_its_number(lun):
    address = pack_lun(lun)
    assert unpack_lun(address) == lun
    assert unpack_lun((0x4000 | lun).to_bytes(2, "big") + bytes(6)) == lun
    assert address[0] >> 6 == (0 if lun < 256 else 1)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "0001",
        "0101000000000000",
        "0001000100000000",
        "8001000000000000",
        "c101000000000000",
        "000100000000000000",
        "d200000100000000",
    ],
)
def test_other_addresses_address_nothing(bench, address):
    assert unpack_lun(bytes.fromhex(address)) is None
    assert bench.told("00 00 0000 00 00", lun=bytes.fromhex(address)) == "05/25/00"
    assert bench.sent("12 00 00 0024 00", lun=bytes.fromhex(address))[0] == 0x7F


def listed(bench: Bench, kind: int = 0, **where) -> list[int]:
    data = bench.sent(f"a0 00 {kind:02x} 000000 0000ffff 00 00", **where)
    assert int.from_bytes(data[:4], "big") == len(data) - 8
    luns = [unpack_lun(data[at : at + 8]) for at in range(8, len(data), 8)]
    assert None not in luns
    return luns


def test_an_initiator_sees_its_own_luns_and_no_other(bench):
    assert listed(bench) == [0, 1]
    assert listed(bench, nexus=bench.two) == [0, 300]
    assert listed(bench, 2) == [0, 1]
    assert listed(bench, 1) == []  # no well-known units
    assert bench.told("a0 00 03 000000 0000ffff 00 00") == "05/24/00"
    assert bench.told("a0 00 00 000000 0000000f 00 00") == "05/24/00"
    bench.luns.by_initiator[ONE][0] = MemoryUnit(naa="6000" + "0" * 27 + "2")
    bench.luns.by_initiator[ONE][LUN_MAX] = bench.unit
    assert listed(bench) == [0, 1, LUN_MAX]
    assert bench.sent("12 00 00 0024 00", lun=0)[0] == 0x00


def test_masking_is_asked_for_at_each_command(bench):
    assert bench.told("00 00 0000 00 00") == "00"
    unit = bench.luns.by_initiator[ONE].pop(1)
    assert bench.told("00 00 0000 00 00") == "05/25/00"
    assert bench.told("28 00 00000000 00 0001 00") == "05/25/00"
    assert bench.told("2a 00 00000000 00 0001 00", b"x" * 512) == "05/25/00"
    assert bench.sent("12 00 00 0024 00")[0] == 0x7F
    assert bench.told("12 01 83 0024 00") == "05/24/00"
    assert bench.sent("03 00 0000 12 00")[2:14:10].hex() == "0525"
    assert not any(unit.data)
    bench.luns.by_initiator[ONE][1] = unit
    assert bench.told("00 00 0000 00 00") == "00"


def test_the_controller_is_there_where_nothing_is_mapped(bench):
    bench.luns.by_initiator[ONE].clear()
    assert listed(bench, lun=0) == [0]
    assert bench.told("00 00 0000 00 00", lun=0) == "06/29/00"
    assert bench.told("00 00 0000 00 00", lun=0) == "00"
    data = bench.sent("12 00 00 00ff 00", lun=0)
    assert (data[0], data[8:32]) == (0x0C, b"STUNTDBLARRAY CONTROLLER")
    assert all(kind & 0x30 for _, kind, _ in designators(page(bench, 0x83, lun=0)))
    for cdb in ("28 00 00000000 00 0001 00", "25 00 00000000 0000 00 00", "1a 00 3f 00 ff 00"):
        assert bench.told(cdb, lun=0) == "05/20/00"


# What can be asked. ----------------------------------------------------------------------------


def test_commands_are_told_of_as_they_are(bench):
    data = bench.sent("a3 0c 80 00 0000 0000ffff 00 00")
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    rows = [data[at : at + 20] for at in range(4, len(data), 20)]
    for row in rows:
        opcode, action = row[0], int.from_bytes(row[2:4], "big")
        assert row[5] & 2  # with timeouts
        assert row[8:].hex() == "000a0000000000000000000a"
        how = 0x82 if row[5] & 1 else 0x81
        one = bench.sent(f"a3 0c {how:02x} {opcode:02x} {action:04x} 0000ffff 00 00")
        length = int.from_bytes(one[2:4], "big")
        assert one[1] == 0x83
        assert length == int.from_bytes(row[6:8], "big")
        assert one[4] == opcode
        assert one[4 + length :] == row[8:]
        assert bench.sent(f"a3 0c 03 {opcode:02x} {action:04x} 0000ffff 00 00")[1] == 3
        if row[5] & 1:
            assert one[5] & 0x1F == action
    short = bench.sent("a3 0c 00 00 0000 0000ffff 00 00")
    assert len(short) == 4 + 8 * len(rows)


@pytest.mark.parametrize(
    ("cdb", "expected"),
    [
        ("a3 0c 01 ff 0000 000000ff 00 00", "00010000"),  # no such command
        ("a3 0c 03 28 0001 000000ff 00 00", "00010000"),  # has no service actions
        ("a3 0c 02 9e 0001 000000ff 00 00", "00010000"),  # no such service action
        ("a3 0c 01 48 0000 000000ff 00 00", "00010000"),  # SANITIZE
    ],
)
def test_what_is_not_offered_is_told_of_as_such(bench, cdb, expected):
    assert bench.sent(cdb).hex() == expected


@pytest.mark.parametrize(
    "cdb",
    [
        "a3 0c 01 9e 0010 000000ff 00 00",
        "a3 0c 02 28 0000 000000ff 00 00",
        "a3 0c 04 28 0000 000000ff 00 00",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(bench, cdb):
    answer = bench(cdb)
    assert (complaint(answer), pointer(answer)[1]) == ("05/24/00", 2)


@pytest.mark.parametrize("opcode", ["48", "83", "84", "9c", "7f", "04", "c0", "ff"])
def test_what_is_not_offered_is_refused(bench, opcode):
    assert bench.told(opcode + "00" * 15) == "05/20/00"


def test_an_unknown_service_action_is_pointed_at(bench):
    answer = bench("9e 1f" + "00" * 14)
    assert (complaint(answer), pointer(answer)) == ("05/24/00", (True, 1, 4))


def test_a_unit_that_gives_nothing_back_does_not_say_that_it_could():
    bench = Bench(MemoryUnit(thin=False))
    assert bench.sent("a3 0c 01 42 0000 000000ff 00 00").hex() == "00010000"
    assert bench.told("42 00 00000000 00 0000 00") == "05/20/00"
    assert bench.told("41 08 00000000 00 0001 00", bytes(512)) == "05/24/00"
    rows = bench.sent("a3 0c 00 00 0000 0000ffff 00 00")[4:]
    assert 0x42 not in rows[::8]


def test_port_groups_and_task_management(bench):
    assert bench.sent("a3 0a 00000000 000000ff 00 00").hex() == "0000000c000100010000000100000001"
    assert bench.sent("a3 2a 00000000 000000ff 00 00").hex() == (
        "0000001010000000000100010000000100000001"
    )
    assert bench.told("a3 4a 00000000 000000ff 00 00") == "05/24/00"
    assert bench.sent("a3 0d 00 000000 000000ff 00 00").hex() == "da000000"
    assert bench.sent("a3 0d 80 000000 000000ff 00 00").hex() == "da00000c" + "00" * 12
    assert bench.told("a3 0d 00 000000 00000003 00 00") == "05/24/00"


def test_logs(bench):
    assert bench.sent("4d 00 40 00 00 0000 00ff 00").hex() == "00000003000d2f"
    assert bench.sent("4d 00 4d 00 00 0001 00ff 00").hex() == "0d0000060001030200ff"
    beyond, unknown = bench("4d 00 4d 00 00 0002 00ff 00"), bench("4d 00 43 00 00 0000 00ff 00")
    assert (complaint(beyond), pointer(beyond)) == ("05/24/00", (True, 5, None))
    assert (complaint(unknown), pointer(unknown)) == ("05/24/00", (True, 2, 5))
