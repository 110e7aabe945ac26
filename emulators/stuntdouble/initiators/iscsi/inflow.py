"""PDUs as they come in: headers through a small buffer, data straight to where they belong.

socket ─┬─ header, digest ─▶ inbox ─▶ on_header: where do the data go?
        └─ data ──────────▶ a command's own buffer ─▶ padding, digest ─▶ on_pdu
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.codecs.iscsi import DIGEST_BYTES, HEADER_BYTES, digest, segment_lengths
from stuntdouble.codecs.nbd import Inbox
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.codecs.iscsi import Digests


class Inflow:
    """Cuts what comes into PDUs.

    Args:
        digests: which the login has agreed on.
        on_header: takes a header, says where its data go.
        on_pdu: takes a PDU whose data are all there and right.

    Raises:
        Misuse: from ``updated``, where the stream makes no sense, a wrong digest included.
    """

    def __init__(
        self,
        digests: Digests,
        on_header: Callable[[bytes, int], memoryview],
        on_pdu: Callable[[bytes, memoryview], None],
    ) -> None:
        self._digests = digests
        self._on_header = on_header
        self._on_pdu = on_pdu
        self._inbox = Inbox()
        self._header = b""
        self._data = memoryview(b"")
        self._left = memoryview(b"")

    def room(self) -> memoryview:
        """Return where the next bytes go."""
        return self._left if len(self._left) else self._inbox.room()

    def updated(self, count: int) -> None:
        """Take notice of *count* bytes in the room."""
        if len(self._left):
            self._left = self._left[count:]
            if len(self._left):
                return
        else:
            self._inbox.received(count)
        while self._advance():
            pass

    def _advance(self) -> bool:
        """Take the next part of a PDU, if all of it has come."""
        if not self._header:
            return self._begin()
        if len(self._left):
            self._left = self._left[self._inbox.move(self._left) :]
            if len(self._left):
                return False
        return self._end()

    def _begin(self) -> bool:
        if len(self._inbox) < HEADER_BYTES:
            return False
        header = self._inbox.peek(HEADER_BYTES)
        more, length = segment_lengths(header)
        whole = HEADER_BYTES + more + DIGEST_BYTES * self._digests.header
        taken = self._inbox.take(whole)
        if taken is None:
            return False
        covered = HEADER_BYTES + more
        if self._digests.header and digest([taken[:covered]]) != taken[covered:]:
            raise Misuse("iSCSI PDU", "the digest of its header is wrong")
        self._header = header
        self._data = self._left = self._on_header(header, length)
        return True

    def _end(self) -> bool:
        length = len(self._data)
        padding = -length & 3
        rest = self._inbox.take(padding + DIGEST_BYTES * (self._digests.data and length > 0))
        if rest is None:
            return False
        checked = self._digests.data and length > 0
        if checked and digest([self._data, rest[:padding]]) != rest[padding:]:
            raise Misuse("iSCSI PDU", "the digest of its data is wrong")
        header, data = self._header, self._data
        self._header, self._data, self._left = b"", memoryview(b""), memoryview(b"")
        self._on_pdu(header, data)
        return True
