"""PDUs in a stream of bytes: padding, digests, additional headers (§11.2, §13.1).

    ┌────────┬───────────────┬───────────────┬──────────┬─────────┬─────────────┐
    │ header │ more headers  │ header digest │   data   │ padding │ data digest │
    │ 48 B   │ whole words   │ if agreed     │ any      │ to word │ if agreed   │
    └────────┴───────────────┴───────────────┴──────────┴─────────┴─────────────┘

A digest of the header covers the additional headers; one of the data covers the padding, and is
there only where there are data.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from crc32c import crc32c

from stuntdouble.codecs.iscsi.numbers import DIGEST_BYTES, HEADER_BYTES, SEGMENT_BYTES_MAX, AhsType
from stuntdouble.codecs.iscsi.requests import segment_lengths
from stuntdouble.errors import Misuse
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.codecs.iscsi.requests import Buffer

_DIGEST: Final = Struct("<I")  # the bits of the remainder, least significant byte first
_AHS: Final = Struct(">HB")
_READ_LENGTH: Final = Struct(">xI")
_PADS: Final = (b"", bytes(3), bytes(2), bytes(1))
_ROOM_BYTES: Final = 64 * KIB  # of a fresh buffer; it grows to what a PDU needs


def padding(length: int) -> bytes:
    """Return the zeros that pad *length* bytes to whole words."""
    return _PADS[length & 3]


def digest(parts: Iterable[Buffer]) -> bytes:
    """Return the CRC32C of *parts*, one after the other, as it goes over the wire."""
    value = 0
    for part in parts:
        value = crc32c(part, value)
    return _DIGEST.pack(value)


class Digests(NamedTuple):
    """Which digests were agreed on."""

    header: bool = False
    data: bool = False


NO_DIGESTS: Final = Digests()


def pack_pdu(
    header: bytes, parts: Iterable[Buffer] = (), digests: Digests = NO_DIGESTS, ahs: bytes = b""
) -> list[Buffer]:
    """Return a PDU as buffers to send, its data among them as they are.

    *header* says how long *ahs* and data are.
    """
    sent: list[Buffer] = [header, ahs] if ahs else [header]
    if digests.header:
        sent.append(digest(sent))
    _, length = segment_lengths(header)
    if not length:
        return sent
    data = [*parts, padding(length)] if length & 3 else list(parts)
    sent += data
    if digests.data:
        sent.append(digest(data))
    return sent


class Pdu(NamedTuple):
    """A PDU as it came.

    The views are good until the framer is asked for room again.  ``intact`` is False where the
    data's digest is wrong.
    """

    header: memoryview
    ahs: memoryview
    data: memoryview
    intact: bool = True


class BrokenFraming(Misuse):
    """Nobody can tell where the next PDU begins: the connection is lost.  Facts: where, why."""


class Framer:
    """What has been received and not been taken yet.

        [....taken....|......waiting......|.........room.........]
                      begin               end

    Args:
        data_bytes_max: the longest data segment taken: the MaxRecvDataSegmentLength one declared.
        digests: which are there; set it anew when a login has agreed on some.
    """

    def __init__(
        self, data_bytes_max: int = SEGMENT_BYTES_MAX, digests: Digests = NO_DIGESTS
    ) -> None:
        self.data_bytes_max = data_bytes_max
        self.digests = digests
        self._bytes = bytearray(_ROOM_BYTES)
        self._view = memoryview(self._bytes)
        self._begin = self._end = 0
        self._needed = HEADER_BYTES

    def __len__(self) -> int:
        """How many bytes are waiting."""
        return self._end - self._begin

    @property
    def holds_bytes(self) -> int:
        """How much memory the buffer takes."""
        return len(self._bytes)

    def room(self) -> memoryview:
        """Return where more may be received, enough for the rest of the PDU that has begun.

        What was returned by ``next`` is not good any more afterwards.
        """
        begin, end = self._begin, self._end
        if begin == end:
            self._begin = self._end = 0
        elif begin and begin + max(self._needed, _ROOM_BYTES // 2) > len(self._bytes):
            self._move(self._bytes)
        if self._begin + self._needed > len(self._bytes):
            self._move(bytearray(self._needed + _ROOM_BYTES))
        return self._view[self._end :]

    def _move(self, target: bytearray) -> None:
        waiting = self._bytes[self._begin : self._end]
        self._bytes, self._view = target, memoryview(target)
        self._view[: len(waiting)] = waiting
        self._begin, self._end = 0, len(waiting)

    def received(self, count: int) -> None:
        """Note that *count* bytes were put into the room."""
        self._end += count

    def feed(self, data: Buffer) -> None:
        """Take bytes that were received elsewhere."""
        view = memoryview(data)
        while view:
            room = self.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.received(count)
            view = view[count:]
            if view:
                self._needed = max(self._needed, len(self) + len(view))

    def bare(self) -> tuple[memoryview, int] | None:
        """Return the buffer, and where in it the next PDU begins, if that is a header alone.

        It is for those who take commands in great numbers; whoever takes it calls ``skip``.
        """
        begin = self._begin
        if self._end - begin < HEADER_BYTES or self.digests.header:
            return None
        view = self._view
        if view[begin + 4] or view[begin + 5] or view[begin + 6] or view[begin + 7]:
            return None
        return view, begin

    def skip(self) -> None:
        """Take the header that ``bare`` returned."""
        self._begin += HEADER_BYTES
        self._needed = HEADER_BYTES

    def next(self) -> Pdu | None:
        """Return the next PDU, or None where it has not all come yet.

        Raises:
            BrokenFraming: its header's digest is wrong, or its data are longer than agreed on.
        """
        begin, view = self._begin, self._view
        have = self._end - begin
        if have < HEADER_BYTES:
            self._needed = HEADER_BYTES
            return None
        more = view[begin + 4] * 4
        length = view[begin + 5] << 16 | view[begin + 6] << 8 | view[begin + 7]
        if length > self.data_bytes_max:
            text = f"{length} bytes of data, where {self.data_bytes_max} are the most"
            raise BrokenFraming("iSCSI PDU", text)
        has_header_digest, has_data_digest = self.digests
        heads = HEADER_BYTES + more
        data = begin + heads + DIGEST_BYTES * has_header_digest
        stop = data + length + (-length & 3) + DIGEST_BYTES * (has_data_digest and length > 0)
        if stop > self._end:
            self._needed = stop - begin
            return None
        if has_header_digest and digest([view[begin : begin + heads]]) != view[data - 4 : data]:
            raise BrokenFraming("iSCSI PDU", "the digest of its header is wrong")
        intact = True
        if has_data_digest and length:
            intact = digest([view[data : stop - DIGEST_BYTES]]) == view[stop - DIGEST_BYTES : stop]
        self._begin, self._needed = stop, HEADER_BYTES
        at = begin + HEADER_BYTES
        return Pdu(view[begin:at], view[at : at + more], view[data : data + length], intact)


# Additional headers. --------------------------------------------------------------------------


def pack_ahs(kind: AhsType, specific: bytes) -> bytes:
    """Return an additional header segment, padded; *specific* begins with its reserved byte."""
    packed = _AHS.pack(len(specific), kind) + specific
    return packed + padding(len(packed))


def parse_ahs(data: Buffer) -> list[tuple[int, bytes]]:
    """Return kind and content of each additional header segment.

    Raises:
        Misuse: one is longer than what there is.
    """
    found, at = [], 0
    while at < len(data):
        if at + _AHS.size > len(data):
            raise Misuse("iSCSI additional headers", f"{len(data) - at} bytes are left at the end")
        length, kind = _AHS.unpack_from(data, at)
        begin, stop = at + _AHS.size, at + _AHS.size + length
        if stop > len(data):
            text = f"one of {length} bytes at {at} ends beyond {len(data)}"
            raise Misuse("iSCSI additional headers", text)
        found.append((kind, bytes(data[begin:stop])))
        at = stop + (-stop & 3)
    return found


def cdb_ahs(cdb: bytes) -> bytes:
    """Return the additional header that a CDB of more than 16 bytes needs, or none."""
    return pack_ahs(AhsType.EXTENDED_CDB, b"\0" + cdb[16:]) if len(cdb) > 16 else b""


def read_length_ahs(length: int) -> bytes:
    """Return the additional header of a bidirectional command: how much is to be read."""
    return pack_ahs(AhsType.READ_LENGTH, _READ_LENGTH.pack(length))


def command_extras(ahs: Buffer) -> tuple[bytes, int | None]:
    """Return the rest of a long CDB, and the length to be read of a bidirectional command.

    Raises:
        Misuse: malformed, of another kind, or there twice.
    """
    rest, length = b"", None
    seen: set[int] = set()
    for kind, specific in parse_ahs(ahs):
        if kind in seen:
            raise Misuse("iSCSI additional headers", f"two of kind {kind}")
        seen.add(kind)
        if kind == AhsType.EXTENDED_CDB and specific:
            rest = specific[1:]
        elif kind == AhsType.READ_LENGTH and len(specific) == _READ_LENGTH.size:
            (length,) = _READ_LENGTH.unpack(specific)
        else:
            text = f"kind {kind} with {len(specific)} bytes is none"
            raise Misuse("iSCSI additional headers", text)
    return rest, length
