"""Small repositories for tests."""

from __future__ import annotations

from hypothesis import strategies as st

from stuntdouble.ports import Consistency, DiskPoint, Kind, RestorePoint

CHUNK = 4096
SIZES = st.sampled_from([0, 1, CHUNK - 1, CHUNK, 3 * CHUNK, 4 * CHUNK + 700])


def spots(size):
    """Offsets up to *size*, often at the edge of a chunk, where the cases are."""
    return st.one_of(st.sampled_from([*range(0, size, CHUNK), size]), st.integers(0, size))


def point_of(disks, moment=0.0, vm="web", id_=""):
    parts = tuple(DiskPoint(key, size, f"c/{key}") for key, size in disks.items())
    return RestorePoint(id_, vm, "storage", Kind.FULL, moment, Consistency.CRASH, parts)


def write_point(repository, disks, parent="", moment=0.0, **facts):
    """Commit a point of {key: bytes}."""
    draft = repository.begin({key: len(data) for key, data in disks.items()}, parent)
    for key, data in disks.items():
        draft.write(key, 0, memoryview(data))
    sizes = {key: len(data) for key, data in disks.items()}
    return draft.commit(point_of(sizes, moment, **facts))


def content(repository, point, disk):
    size = {d.key: d.capacity_bytes for d in repository.point(point).disks}[disk]
    return b"".join(bytes(view) for view in repository.read(point, disk, 0, size))


def pattern(seed, length):
    return (b"%d|" % seed * (length // 2 + 1))[:length]
