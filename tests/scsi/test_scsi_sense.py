"""Sense data in both formats, byte for byte (SPC-4 4.5)."""

from __future__ import annotations

import pytest

from stuntdouble.scsi import Key, Sense

BAD_FIELD = Sense(Key.ILLEGAL_REQUEST, 0x24, 0x00, field=10, bit=5)
BAD_LIST = Sense(Key.ILLEGAL_REQUEST, 0x26, 0x00, field=300, in_cdb=False)


@pytest.mark.parametrize(
    ("sense", "fixed", "described"),
    [
        (
            Sense(Key.NOT_READY, 0x04, 0x02),
            "70 00 02 00000000 0a 00000000 04 02 00 000000",
            "72 02 04 02 000000 00",
        ),
        (
            BAD_FIELD,
            "70 00 05 00000000 0a 00000000 24 00 00 cd000a",
            "72 05 24 00 000000 08 02060000 cd000a00",
        ),
        (
            BAD_LIST,
            "70 00 05 00000000 0a 00000000 26 00 00 80012c",
            "72 05 26 00 000000 08 02060000 80012c00",
        ),
        (
            Sense(Key.MEDIUM_ERROR, 0x11, 0x00, information=0xFFFF_FFFF),
            "f0 00 03 ffffffff 0a 00000000 11 00 00 000000",
            "72 03 11 00 000000 0c 000a8000 00000000ffffffff",
        ),
        (
            Sense(Key.MEDIUM_ERROR, 0x11, 0x00, information=1 << 32),  # fixed format cannot say it
            "70 00 03 00000000 0a 00000000 11 00 00 000000",
            "72 03 11 00 000000 0c 000a8000 0000000100000000",
        ),
        (
            Sense(Key.MISCOMPARE, 0x1D, 0x00, information=0),
            "f0 00 0e 00000000 0a 00000000 1d 00 00 000000",
            "72 0e 1d 00 000000 0c 000a8000 0000000000000000",
        ),
    ],
)
def test_it_is_written_as_the_standard_says(sense, fixed, described):
    assert sense.pack() == bytes.fromhex(fixed)
    assert sense.pack(descriptors=True) == bytes.fromhex(described)
