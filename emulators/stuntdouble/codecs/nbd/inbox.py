"""What has been received and not yet been taken: the one place where a stream becomes messages.

    [....taken....|......waiting......|.........room.........]
                  begin               end

Messages are short and many may come in one piece; payloads are long, and whoever expects one takes
what is here and lets the rest arrive where it belongs.
"""

from __future__ import annotations

from typing import Final

from stuntdouble.units import KIB

INBOX_BYTES: Final = 64 * KIB
"""Room for what is waiting: an option of the longest kind has to fit, no payload needs to."""


class Inbox:
    """A buffer between a socket and a parser."""

    def __init__(self, size: int = INBOX_BYTES) -> None:
        self._bytes = bytearray(size)
        self._view = memoryview(self._bytes)
        self._begin = self._end = 0

    def __len__(self) -> int:
        """How many bytes are waiting."""
        return self._end - self._begin

    def room(self) -> memoryview:
        """Return where more may be received; never empty while a message is incomplete."""
        if self._begin:
            waiting = self._bytes[self._begin : self._end]
            self._view[: len(waiting)] = waiting
            self._begin, self._end = 0, len(waiting)
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """Note that *count* bytes were put into the room."""
        self._end += count

    def take(self, count: int) -> bytes | None:
        """Return the next *count* bytes, or None where they have not all come yet."""
        if len(self) < count:
            return None
        self._begin += count
        return bytes(self._view[self._begin - count : self._begin])

    def peek(self, count: int) -> bytes:
        """Return the next *count* bytes, or as many as have come, and leave them where they are."""
        return bytes(self._view[self._begin : min(self._begin + count, self._end)])

    def move(self, target: memoryview) -> int:
        """Put what is waiting into *target*, as far as it goes; return how many bytes."""
        count = min(len(self), len(target))
        target[:count] = self._view[self._begin : self._begin + count]
        self._begin += count
        return count
