"""What a restore point is made of, as a file: its facts, and a digest per chunk of each disk.

    line 1   JSON: format, version, the restore point, and the digest of the map
    line 2   the digest of line 1
    rest     the map: one zstd frame of 32 B per chunk, disk after disk

Line 2 seals line 1 and line 1 seals the map, so the facts can be listed without the map.
Every manifest names all chunks of its disks: none needs another to be read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import zstandard

from stuntdouble.backup.chunks import DIGEST, DIGEST_BYTES, digest_of
from stuntdouble.errors import DigestMismatch, Misuse
from stuntdouble.ports import Consistency, DiskPoint, Kind, RestorePoint

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = "stuntdouble restore point"
VERSION: Final = 2
SUFFIX: Final = ".point"
NAME_BYTES_MAX: Final = 100  # of each half of a file name; file systems allow 255 in all


@dataclass(frozen=True, slots=True)
class Manifest:
    """A restore point and, per disk key, the digests of its chunks one after the other."""

    point: RestorePoint
    maps: dict[int, bytes]


def chunk_count(capacity_bytes: int, chunk_bytes: int) -> int:
    """Return how many chunks a disk has; the last one may be partly beyond its end."""
    return -(-capacity_bytes // chunk_bytes)


def file_stem(point: str) -> str:
    """Return a file name, without suffix, for a restore point's id, which may hold any character.

    The number after the last dash stays legible, however long the rest is.
    """
    series, dash, number = point.rpartition("-")
    return _file_name(series) + dash + _file_name(number)


def _file_name(text: str) -> str:
    name = quote(text, safe=" ")
    if len(name) <= NAME_BYTES_MAX:
        return name
    return f"{name[: NAME_BYTES_MAX - 33]}~{digest_of(text.encode()).hex()[:32]}"


def point_to_json(point: RestorePoint) -> str:
    """Return *point* as one line of JSON."""
    return json.dumps(asdict(point), sort_keys=True, separators=(",", ":"))


def point_from_json(text: str) -> RestorePoint:
    """Return the restore point that ``point_to_json`` wrote."""
    facts: dict[str, Any] = json.loads(text)
    return _point(facts)


def _point(facts: dict[str, Any]) -> RestorePoint:
    known = dict(facts)
    known["kind"] = Kind(facts["kind"])
    known["consistency"] = Consistency(facts["consistency"])
    known["disks"] = tuple(DiskPoint(**disk) for disk in facts["disks"])
    known["skipped"] = tuple(facts["skipped"])
    return RestorePoint(**known)


def sealed(facts: dict[str, Any]) -> bytes:
    """Return *facts* as a line of JSON and a line with its digest."""
    line = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    return line + digest_of(line).hex().encode() + b"\n"


def unsealed(data: bytes, path: Path, known: str, version: int) -> tuple[dict[str, Any], int]:
    """Return the facts at the start of *data* and how many bytes they took.

    Raises:
        DigestMismatch: the line is not the one that was written.
        Misuse: it is whole, but of another format than *known*, or of another version.
    """
    line_bytes = data.find(b"\n") + 1
    stop = line_bytes + 2 * DIGEST_BYTES + 1
    expected = digest_of(data[:line_bytes]).hex().encode() + b"\n"
    if not line_bytes or data[line_bytes:stop] != expected:
        written = data[line_bytes:stop].decode(errors="replace").strip()
        if line_bytes and written == hashlib.sha256(data[:line_bytes]).hexdigest():
            older = "has format version 1, this program reads version 2"
            raise Misuse(str(path), f"{older}: read it with the program that wrote it")
        raise DigestMismatch(str(path), written or "there", digest_of(data[:line_bytes]).hex())
    facts: dict[str, Any] = json.loads(data[:line_bytes])
    if facts["format"] != known:
        raise Misuse(str(path), f"is a {facts['format']}, not a {known}")
    if facts["version"] > version:
        newer = f"has format version {facts['version']}, this program reads up to {version}"
        raise Misuse(str(path), f"{newer}: use a newer program")
    return facts, stop


def encode(manifest: Manifest) -> bytes:
    """Return the file of *manifest*."""
    point = manifest.point
    plain = b"".join(manifest.maps[disk.key] for disk in point.disks)
    frame = zstandard.ZstdCompressor(level=1).compress(plain)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "point": asdict(point),
        "digest": DIGEST,
        "map_bytes": len(plain),
        "map_digest": digest_of(frame).hex(),
    }
    return sealed(facts) + frame


def read_point(path: Path) -> RestorePoint:
    """Return the facts of the manifest at *path* without reading its map."""
    with path.open("rb") as file:
        head = file.readline() + file.readline()
    facts, _ = unsealed(head, path, FORMAT, VERSION)
    return _point(facts["point"])


def read_manifest(path: Path, chunk_bytes: int) -> Manifest:
    """Return the manifest at *path*, verified; DigestMismatch names the file."""
    data = path.read_bytes()
    facts, stop = unsealed(data, path, FORMAT, VERSION)
    frame = data[stop:]
    if digest_of(frame).hex() != facts["map_digest"]:
        raise DigestMismatch(f"{path}, map", facts["map_digest"], digest_of(frame).hex())
    plain = zstandard.ZstdDecompressor().decompress(frame, max_output_size=facts["map_bytes"])
    point = _point(facts["point"])
    maps: dict[int, bytes] = {}
    start = 0
    for disk in point.disks:
        length = chunk_count(disk.capacity_bytes, chunk_bytes) * DIGEST_BYTES
        maps[disk.key] = plain[start : start + length]
        start += length
    assert start == len(plain) == facts["map_bytes"], f"{path}: the map does not fit the disks"
    return Manifest(point, maps)
