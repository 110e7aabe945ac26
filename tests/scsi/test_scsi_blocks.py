"""Reading and writing blocks."""

from __future__ import annotations


def test_what_is_written_is_read_back(bench):
    data = bytes(range(256)) * 4
    assert bench.sent("2a000000000300000200", data) == b""
    assert bench.sent("28000000000300000200") == data
    assert bench.sent("88000000000000000003000000020000") == data
    assert bench.sent("a80000000003000000020000") == data
    assert bench.sent("080000030200") == data
    assert bytes(bench.unit.data[3 * 512 : 5 * 512]) == data


def test_a_new_session_hears_of_a_power_on_and_an_unmapped_lun_is_not_there(bench):
    bench.server.connect(bench.one)
    assert bench.told("000000000000") == "06/29/00"
    assert bench("000000000000").status == 0
    assert bench.told("000000000000", lun=2) == "05/25/00"
    assert bench.sent("120000006000", lun=2)[0] == 0x7F
    assert bench.sent("120000006000", lun=0)[0] == 0x0C
