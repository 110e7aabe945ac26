"""Mode pages: what they say, what can be changed, who hears of it, and what a reset undoes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsi.bench import Bench, complaint, pointer, sixteen, ten
from stuntdouble.scsi import MemoryUnit, pack_lun

READY = "00 00 0000 00 00"
PAGES = {0x01: 10, 0x08: 18, 0x0A: 10, 0x1C: 10}
D_SENSE, SWP = (2, 0x04), (4, 0x08)


def pages(data: bytes) -> dict[tuple[int, int], bytes]:
    """Return the pages behind header and block descriptors, by page and subpage."""
    found = {}
    while data:
        if data[0] & 0x40:
            stop = 4 + int.from_bytes(data[2:4], "big")
            found[data[0] & 0x3F, data[1]] = data[:stop]
        else:
            stop = 2 + data[1]
            found[data[0] & 0x3F, 0] = data[:stop]
        assert data[0] & 0x80  # can be saved
        data = data[stop:]
    return found


def six(bench: Bench, page: int, sub: int = 0, control: int = 0, dbd: int = 8, **where) -> bytes:
    data = bench.sent(bytes((0x1A, dbd, control << 6 | page, sub, 255, 0)), **where)
    assert data[0] == len(data) - 1
    return data[4 + data[3] :]


def control_page(bench: Bench, *bits: tuple[int, int]) -> bytes:
    page = bytearray(six(bench, 0x0A))
    page[0] &= 0x3F
    for place, bit in bits:
        page[place] |= bit
    return bytes(page)


def select(bench: Bench, page: bytes, *, save: bool = False, **where) -> str:
    data = bytes(4) + page
    return bench.told(bytes((0x15, 0x11 if save else 0x10, 0, 0, len(data), 0)), data, **where)


def test_pages_are_complete_and_the_same_one_by_one(bench):
    every = pages(six(bench, 0x3F))
    assert {page: len(body) - 2 for (page, _), body in every.items()} == PAGES
    for page in PAGES:
        assert six(bench, page) == every[page, 0]
    with_subpages = pages(six(bench, 0x3F, 0xFF))
    assert set(with_subpages) == {*every, (0x0A, 1)}
    assert six(bench, 0x0A, 0xFF) == every[0x0A, 0] + with_subpages[0x0A, 1]
    assert len(with_subpages[0x0A, 1]) == 32


@pytest.mark.parametrize(("page", "sub"), [(0x02, 0), (0x08, 1), (0x0A, 2), (0x3F, 1), (0x00, 0)])
def test_other_pages_are_not_there(bench, page, sub):
    answer = bench(bytes((0x1A, 0, page, sub, 255, 0)))
    assert (complaint(answer), pointer(answer)) == ("05/24/00", (True, 2, 5))


def test_defaults_and_what_can_be_changed(bench):
    assert select(bench, control_page(bench, D_SENSE)) == "00"
    bench.settle(bench.two)
    now, can, default, saved = (six(bench, 0x0A, control=control) for control in range(4))
    assert now != default == saved
    assert can[2:] == bytes((0x04, 0, 0x08, 0, 0, 0, 0, 0, 0, 0))
    assert six(bench, 0x08, control=1)[2] == 0x04  # WCE
    assert not any(six(bench, 0x1C, control=1)[2:])
    assert len(six(bench, 0x3F, 0xFF, control=1)) == len(six(bench, 0x3F, 0xFF))


def test_headers_and_block_descriptors(bench):
    short = bench.sent("1a 00 0a 00 ff 00")
    assert short[:12].hex() == "170010080000080000000200"
    ten_bytes = bench.sent("5a 00 0a 00 000000 00ff 00")
    assert ten_bytes[:16].hex() == "001a0010000000080000080000000200"
    long = bench.sent("5a 10 0a 00 000000 00ff 00")
    assert long[:24].hex() == "002200100100001000000000000008000000000000000200"
    assert bench.sent("5a 18 0a 00 000000 00ff 00")[:8].hex() == "0012001000000000"
    assert short[12:] == ten_bytes[16:] == long[24:]


def test_a_change_is_told_of_to_the_others_once(bench):
    assert select(bench, control_page(bench, D_SENSE)) == "00"
    assert bench.told(READY, nexus=bench.two) == "06/2a/01"
    assert bench.told(READY) == "00"
    assert select(bench, control_page(bench, D_SENSE)) == "00"  # as it is already
    assert bench.told(READY, nexus=bench.two) == "00"


def test_sense_data_takes_the_form_that_is_asked_for(bench):
    high = sixteen(0x88, 1 << 40, 1)
    assert bench(high).sense[0] == 0x70
    select(bench, control_page(bench, D_SENSE))
    answer = bench(sixteen(0x88, 0, 1, 0x20))
    assert answer.sense[0] == 0x72
    assert complaint(answer) == "05/24/00"
    assert answer.sense[8:10] == b"\x02\x06"
    assert answer.sense[12:15] == b"\xcd\x00\x01"  # SKSV, of the CDB, bit 5 of byte 1
    assert bench(sixteen(0x89, 0, 1), b"\0" * 511 + b"x" + bytes(512)).sense[8:20].hex() == (
        "000a800000000000000001ff"
    )


def test_software_can_protect_a_unit(bench):
    assert select(bench, control_page(bench, SWP)) == "00"
    bench.settle(bench.two)
    for nexus in (bench.one, bench.two):
        assert bench.told(ten(0x2A, 0, 1), b"x" * 512, nexus=nexus) == "07/27/02"
        assert bench.sent(ten(0x28, 0, 1), nexus=nexus) == bytes(512)
    assert bench.sent("1a 00 3f 00 ff 00")[2] == 0x90
    page = bytearray(control_page(bench))
    page[4] &= ~0x08
    assert select(bench, bytes(page)) == "00"
    assert bench.told(ten(0x2A, 0, 1), b"x" * 512) == "00"


def test_a_reset_brings_back_what_was_saved(bench):
    select(bench, control_page(bench, SWP), save=True)
    select(bench, control_page(bench, SWP, D_SENSE))
    assert six(bench, 0x0A, control=3)[2:5] == bytes((0x02, 0x10, 0x08))
    bench.server.reset_unit(bench.one, pack_lun(1))
    assert bench.told(READY) == "06/29/03"
    assert six(bench, 0x0A)[2:5] == bytes((0x02, 0x10, 0x08))
    bench.luns.by_initiator.clear()
    bench.server.luns_changed(bench.one.initiator_iqn)
    bench.luns.by_initiator[bench.one.initiator_iqn] = {1: bench.unit}
    bench.settle(bench.one)
    assert bench.sent("1a 00 3f 00 ff 00")[2] & 0x80  # and it is remembered


def test_nothing_is_changed_by_nothing(bench):
    assert bench.told("15 10 0000 00 00") == "00"
    assert bench.told("55 10 0000000000 0000 00") == "00"
    assert bench.told("55 10 0000000000 0008 00", bytes(8)) == "00"


@pytest.mark.parametrize(
    ("data", "told", "field"),
    [
        ("00000000 0a08" + "00" * 8, "05/26/00", 5),  # a page of the wrong length
        ("00000000 0a0a" + "00" * 9, "05/1a/00", None),  # cut off
        ("00000000 0a", "05/1a/00", None),
        ("00000000 4a", "05/1a/00", None),
        ("000000", "05/1a/00", None),
        ("00000008 000000", "05/1a/00", None),  # a descriptor that is cut off
        ("00010000", "05/26/00", 1),  # another medium
        ("00000008 00000001 00000200", "05/26/00", 4),  # fewer blocks
        ("00000008 00000000 00001000", "05/26/00", 9),  # longer blocks
        ("00000007 00000000 000002", "05/26/00", 3),
        ("00000000 3f0a" + "00" * 10, "05/26/00", 4),  # no such page
        ("00000000 8a0a 02100000 0000 012c 0000", "05/26/00", 4),  # PS is reserved here
        ("00000000 0a0a 03100000 0000 012c 0000", "05/26/00", 6),  # RLEC cannot be changed
        ("00000000 0a0a 02100000 0000 012d 0000", "05/26/00", 13),
        ("00000000 0a0a 06100000 0000 012c 0000 1c0a" + "00" * 10, "05/26/00", 18),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(bench, data, told, field):
    before = six(bench, 0x3F, 0xFF)
    listed = bytes.fromhex(data)
    answer = bench(bytes((0x15, 0x10, 0, 0, len(listed), 0)), listed)
    assert complaint(answer) == told
    if field is not None:
        assert pointer(answer)[:2] == (False, field)
    assert six(bench, 0x3F, 0xFF) == before
    assert bench.told(READY, nexus=bench.two) == "00"


def test_pages_of_an_older_form_are_refused(bench):
    answer = bench("15 00 0000 04 00", bytes(4))
    assert (complaint(answer), pointer(answer)) == ("05/24/00", (True, 1, 4))


@pytest.mark.parametrize("count", [0, 2048, (1 << 32) - 1])
def test_a_disk_may_be_told_its_own_size(bench, count):
    short = bytes((0, 0, 0, 8)) + count.to_bytes(4, "big") + b"\0\0\2\0"
    assert bench.told(bytes((0x15, 0x10, 0, 0, 12, 0)), short) == "00"
    wide = count if count < 1 << 31 else (1 << 64) - 1
    long = bytes((0, 0, 0, 0, 1, 0, 0, 16)) + wide.to_bytes(8, "big") + bytes(4) + b"\0\0\2\0"
    assert bench.told("55 10 0000000000 0018 00", long) == "00"


def test_wide_headers_carry_pages_too(bench):
    page = control_page(bench, SWP)
    assert bench.told("55 11 0000000000 0014 00", bytes(8) + page) == "00"
    assert bench.sent("1a 00 3f 00 ff 00")[2] & 0x80
    sub = bytes((0x4A, 0x01, 0, 28)) + bytes(28)
    assert bench.told("55 11 0000000000 0028 00", bytes(8) + sub) == "00"


@given(st.binary(max_size=80), st.booleans(), st.booleans())
def test_no_list_breaks_a_unit(data, wide, save):
    bench = Bench(MemoryUnit(size_bytes=512))
    cdb = (
        bytes((0x55, 0x10 | save, 0, 0, 0, 0, 0)) + len(data).to_bytes(2, "big") + b"\0"
        if wide
        else bytes((0x15, 0x10 | save, 0, 0, len(data), 0))
    )
    assert bench.told(cdb, data) in ("00", "05/1a/00", "05/26/00")
    assert set(pages(six(bench, 0x3F, 0xFF))) == {
        (0x01, 0),
        (0x08, 0),
        (0x0A, 0),
        (0x0A, 1),
        (0x1C, 0),
    }
