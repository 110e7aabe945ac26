"""Sizes in bytes and durations in seconds: names, parsing, printing.

Sizes are whole bytes in binary units (``KiB`` = 1024 B); durations are float seconds.  Decimal
suffixes (``KB``, ``MB``) are refused rather than guessed at: half the field means 1000 by them
and half 1024.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB
SECTOR_BYTES: Final = 512  # the logical block of SCSI disks and of every trace format we read

SIZE_BYTES_MAX: Final = 1 << 52
"""The most that a size may be: 4 PiB, as far as a volume goes.  Chosen."""

ADDRESS_BYTES_MAX: Final = 1 << 62
"""No size or address reaches this, so that the sum of two still is an int64."""

__all__ = [
    "ADDRESS_BYTES_MAX",
    "GIB",
    "KIB",
    "MIB",
    "SECTOR_BYTES",
    "SIZE_BYTES_MAX",
    "TIB",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
]

_SIZES: Final = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_DURATIONS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")


def parse_size(text: str | int) -> int:
    """Return the bytes that *text* names: ``"64 KiB"``, ``"1.5GiB"``, or a whole number.

    Raises:
        ValueError: no such unit, a fraction of a byte, or a negative size.
    """
    if isinstance(text, int):
        if isinstance(text, bool) or text < 0:
            raise ValueError(f"{text!r} is not a size: use a whole number of bytes, 0 or more")
        return text
    number, factor = _split(text, _SIZES, "a size such as '64 KiB'")
    size = Fraction(number) * int(factor)
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def parse_duration(text: str | float) -> float:
    """Return the seconds that *text* names: ``"90 s"``, ``"5min"``, or a number of seconds.

    Raises:
        ValueError: no such unit, or a negative duration.
    """
    if isinstance(text, (int, float)):
        if isinstance(text, bool) or not 0 <= text < float("inf"):
            raise ValueError(f"{text!r} is not a duration: use seconds, 0 or more")
        return float(text)
    number, factor = _split(text, _DURATIONS, "a duration such as '90 s' or '5 min'")
    seconds = float(number) * factor
    if seconds == float("inf"):
        raise ValueError(f"{text!r} is longer than any clock can count")
    return seconds


def _split(text: str, units: dict[str, float] | dict[str, int], wanted: str) -> tuple[str, float]:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not {wanted} (units: {', '.join(units)})")
    return match[1], units[match[2]]


def format_size(size: int) -> str:
    """Return *size* bytes for people: ``"1.5 GiB"``, three significant digits."""
    for unit, factor in reversed(_SIZES.items()):
        if _three_digits(abs(size) / factor) >= 1:
            return f"{_three_digits(size / factor):g} {unit}"
    return "0 B"


def format_duration(seconds: float) -> str:
    """Return *seconds* for people: ``"1 h 02 min"``, ``"4 min 10 s"``, ``"12.5 s"``, ``"3.4 ms"``."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    whole = round(seconds)
    if whole >= 3600:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    for unit in ("s", "ms", "us"):
        if (number := _three_digits(seconds / _DURATIONS[unit])) >= 1:
            return f"{number:g} {unit}"
    return f"{_three_digits(seconds / 1e-6):g} us" if seconds else "0 s"


def _three_digits(value: float) -> float:
    return float(f"{value:.0f}") if abs(value) >= 99.95 else float(f"{value:.3g}")
