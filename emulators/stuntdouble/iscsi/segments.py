"""Data on its way to an initiator: cut into PDUs, and what the device and the initiator differ by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import ResponseFlag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stuntdouble.codecs.iscsi.requests import Buffer

_RESIDUAL_MAX: Final = 0xFFFF_FFFF


def cut(total: int, segment_bytes: int, burst_bytes: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (offset, length, whether a sequence ends here) of PDUs for *total* bytes.

    None is longer than *segment_bytes*, no sequence of them longer than *burst_bytes*, and none
    goes on in the next one (RFC 7143, §13.12 and §13.13).
    """
    offset = 0
    while offset < total:
        left = burst_bytes - offset % burst_bytes
        length = min(segment_bytes, left, total - offset)
        offset += length
        yield offset - length, length, length == left or offset == total


def sliced(parts: Sequence[Buffer], sizes: Iterator[int]) -> Iterator[list[Buffer]]:
    """Yield views of *parts* for each of *sizes*, one after the other, without copying."""
    waiting = iter(parts)
    view = memoryview(b"")
    for size in sizes:
        found: list[Buffer] = []
        left = size
        while left:
            if not view:
                view = memoryview(next(waiting))
                continue
            piece, view = view[:left], view[left:]
            found.append(piece)
            left -= len(piece)
        yield found


def trimmed(parts: Sequence[Buffer], length: int) -> list[Buffer]:
    """Return the first *length* bytes of *parts*."""
    return next(sliced(parts, iter([length])))


def residual(moved: int, expected: int) -> tuple[int, int]:
    """Return the flag and the count of a residual (§11.4.5.1).

    Args:
        moved: the bytes that the device wanted to move.
        expected: those that the initiator had expected.
    """
    if moved == expected:
        return 0, 0
    if moved > expected:
        return ResponseFlag.OVERFLOW, min(moved - expected, _RESIDUAL_MAX)
    return ResponseFlag.UNDERFLOW, expected - moved
