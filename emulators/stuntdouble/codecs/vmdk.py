"""A disk as a stream-optimized VMDK: what an OVF export carries, written in one pass.

After VMware's published "Virtual Disk Format 5.0".  Numbers are little-endian, places in sectors:

    header         places of the grain directory unknown: it comes last
    descriptor     text
    ...            up to sector 128
    grain          marker (sector of the disk, size), the grain deflated; whole sectors
    grain table    marker, 512 places of grains, 4 sectors; after the grains that it tells of
    directory      marker, places of the grain tables
    footer         marker, the header with the place of the directory
    end            a sector of zeros

A grain that holds only zeros is left out, and so is a grain table without grains.
"""

from __future__ import annotations

import struct
import zlib
from hashlib import blake2b
from typing import Final

from stuntdouble.errors import Misuse

__all__ = ["GRAIN_BYTES", "StreamOptimized"]

SECTOR_BYTES: Final = 512
GRAIN_BYTES: Final = 64 << 10
"""The size of grains that the format asks for where they are compressed: 128 sectors."""
TABLE_GRAINS: Final = 512
TABLE_BYTES: Final = TABLE_GRAINS * 4
OVERHEAD_SECTORS: Final = 128

_HEADER: Final = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_MARKER: Final = struct.Struct("<QII496x")
_GRAIN: Final = struct.Struct("<QI")
_MAGIC, _VERSION = b"KDMV", 3
_FLAGS: Final = 0x30001  # a valid line-end test, compressed grains, markers
_AT_END: Final = 0xFFFF_FFFF_FFFF_FFFF
_LINE_ENDS: Final = b"\n \r\n"
_DEFLATE: Final = 1
_TABLE, _DIRECTORY, _FOOTER = 1, 2, 3
_ZEROS: Final = bytes(GRAIN_BYTES)
_LEVEL: Final = 1  # of compression: the fastest


class StreamOptimized:
    """Writes one disk: ``begin``, ``add`` for its bytes in their order, ``end``.

    Args:
        capacity_bytes: of the disk; whole sectors.
        name: of the file, for its descriptor.
        adapter: type of the controller, as the descriptor's disk data base names it.
        hardware: version of the virtual hardware.

    Raises:
        Misuse: the capacity is not whole sectors.
    """

    def __init__(
        self, capacity_bytes: int, name: str, adapter: str = "lsilogic", hardware: int = 7
    ) -> None:
        if capacity_bytes <= 0 or capacity_bytes % SECTOR_BYTES:
            raise Misuse("capacity", f"{capacity_bytes} bytes are not whole sectors")
        self.capacity_bytes = capacity_bytes
        self.populated_bytes = 0
        self.bytes_written = 0
        self._text = self._descriptor(name, adapter, hardware).encode()
        self._at = 0
        self._table = [0] * TABLE_GRAINS
        self._directory: list[int] = []

    def _descriptor(self, name: str, adapter: str, hardware: int) -> str:
        sectors = self.capacity_bytes // SECTOR_BYTES
        heads, each = (255, 63) if self.capacity_bytes >= 1 << 30 else (64, 32)
        content = blake2b(name.encode(), digest_size=4).hexdigest().replace("f", "e")
        return (
            "# Disk DescriptorFile\nversion=1\n"
            f'CID={content}\nparentCID=ffffffff\ncreateType="streamOptimized"\n\n'
            f'# Extent description\nRDONLY {sectors} SPARSE "{name}"\n\n'
            "# The Disk Data Base\n#DDB\n\n"
            f'ddb.adapterType = "{adapter}"\n'
            f'ddb.geometry.cylinders = "{min(sectors // (heads * each), 65535)}"\n'
            f'ddb.geometry.heads = "{heads}"\nddb.geometry.sectors = "{each}"\n'
            f'ddb.virtualHWVersion = "{hardware}"\n'
        )

    def begin(self) -> bytes:
        """Return what comes before the first grain."""
        return self._out(_padded(self._header(_AT_END) + self._text, OVERHEAD_SECTORS))

    def add(self, data: bytes) -> bytes:
        """Return the grains of the next bytes of the disk: whole grains, but at its end.

        Raises:
            Misuse: they are not whole grains, or beyond the end.
        """
        end = self._at + len(data)
        if end > self.capacity_bytes or (end % GRAIN_BYTES and end != self.capacity_bytes):
            raise Misuse(
                "data", f"{len(data)} bytes at {self._at} are not whole grains of the disk"
            )
        pieces = []
        for offset in range(0, len(data), GRAIN_BYTES):
            grain = data[offset : offset + GRAIN_BYTES]
            pieces.append(self._grain(grain))
            self._at += len(grain)
            if self._at % (TABLE_GRAINS * GRAIN_BYTES) == 0 or self._at == self.capacity_bytes:
                pieces.append(self._end_table())
        return b"".join(pieces)

    def _grain(self, grain: bytes) -> bytes:
        if grain == (_ZEROS if len(grain) == GRAIN_BYTES else bytes(len(grain))):
            return b""
        self.populated_bytes += len(grain)
        packed = zlib.compress(grain.ljust(GRAIN_BYTES, b"\0"), _LEVEL)
        self._table[self._at // GRAIN_BYTES % TABLE_GRAINS] = self.bytes_written // SECTOR_BYTES
        return self._out(_padded(_GRAIN.pack(self._at // SECTOR_BYTES, len(packed)) + packed))

    def _end_table(self) -> bytes:
        if not any(self._table):
            self._directory.append(0)
            return b""
        table, self._table = self._table, [0] * TABLE_GRAINS
        self._directory.append(self.bytes_written // SECTOR_BYTES + 1)
        entries = struct.pack(f"<{TABLE_GRAINS}I", *table)
        return self._out(_MARKER.pack(TABLE_BYTES // SECTOR_BYTES, 0, _TABLE) + entries)

    def end(self) -> bytes:
        """Return what comes after the last grain.

        Raises:
            Misuse: bytes of the disk are missing.
        """
        if self._at != self.capacity_bytes:
            raise Misuse("data", f"{self.capacity_bytes - self._at} bytes of the disk are missing")
        entries = _padded(struct.pack(f"<{len(self._directory)}I", *self._directory))
        place = self.bytes_written // SECTOR_BYTES + 1
        return self._out(
            _MARKER.pack(len(entries) // SECTOR_BYTES, 0, _DIRECTORY)
            + entries
            + _MARKER.pack(1, 0, _FOOTER)
            + self._header(place)
            + bytes(SECTOR_BYTES)
        )

    def _header(self, directory: int) -> bytes:
        return _HEADER.pack(
            _MAGIC,
            _VERSION,
            _FLAGS,
            self.capacity_bytes // SECTOR_BYTES,
            GRAIN_BYTES // SECTOR_BYTES,
            1,  # where the descriptor is
            -(-len(self._text) // SECTOR_BYTES),
            TABLE_GRAINS,
            0,  # there is no second directory
            directory,
            OVERHEAD_SECTORS,
            0,  # it was shut down cleanly
            _LINE_ENDS,
            _DEFLATE,
        )

    def _out(self, data: bytes) -> bytes:
        self.bytes_written += len(data)
        return data


def _padded(data: bytes, sectors: int = 0) -> bytes:
    """Return bytes up to the end of a sector, or of so many sectors."""
    size = sectors * SECTOR_BYTES or -(-len(data) // SECTOR_BYTES) * SECTOR_BYTES
    if len(data) > size:
        raise Misuse("descriptor", f"{len(data)} bytes are more than the {size} before the grains")
    return data.ljust(size, b"\0")
