"""Restores: whole or not at all, to a file; every byte, to a device."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.backup.repository import Repository
from stuntdouble.backup.restore import restore_to_device, restore_to_file
from stuntdouble.errors import DigestMismatch, Misuse, NoSpace, NotFound
from stuntdouble.ports import Consistency, DiskPoint, Kind, RestorePoint

CHUNK = 4096


def committed(repository, data):
    draft = repository.begin({1: len(data)})
    draft.write(1, 0, memoryview(data))
    disks = (DiskPoint(1, len(data), ""),)
    return draft.commit(
        RestorePoint("", "web", "storage", Kind.FULL, 0.0, Consistency.CRASH, disks)
    ).id


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path / "repository", chunk_bytes=CHUNK) as opened:
        yield opened


@given(
    blocks=st.lists(st.sampled_from([b"\0", b"a", b"b"]), max_size=6),
    tail=st.integers(0, CHUNK - 1),
)
@settings(max_examples=25)
def test_the_file_is_the_disk(tmp_path_factory, blocks, tail):
    folder = tmp_path_factory.mktemp("restore")
    data = b"".join(block * CHUNK for block in blocks) + b"t" * tail
    with Repository.open(folder / "r", chunk_bytes=CHUNK) as repository:
        point = committed(repository, data)
        seen = []
        target = folder / "disk.raw"
        size = restore_to_file(repository, point, 1, target, progress=lambda *at: seen.append(at))
    assert target.read_bytes() == data
    assert size == len(data)
    assert [path.name for path in sorted(folder.iterdir())] == ["disk.raw", "r"]
    assert seen == [
        (min((n + 1) * CHUNK, len(data)), len(data)) for n in range(-(-len(data) // CHUNK))
    ]


def _names(folder):
    return {path.name for path in folder.iterdir()}


def test_zeros_take_no_space(repository, tmp_path):
    draft = repository.begin({1: 64 << 20})
    draft.write(1, 32 << 20, memoryview(b"x" * CHUNK))
    disks = (DiskPoint(1, 64 << 20, ""),)
    facts = ("", "web", "storage", Kind.FULL, 0.0, Consistency.CRASH, disks)
    point = draft.commit(RestorePoint(*facts))
    restore_to_file(repository, point.id, 1, tmp_path / "disk.raw")
    status = (tmp_path / "disk.raw").stat()
    assert status.st_size == 64 << 20
    assert status.st_blocks * 512 < 1 << 20


def test_an_existing_file_is_replaced_only_by_force(repository, tmp_path):
    point = committed(repository, b"new" * 100)
    target = tmp_path / "disk.raw"
    target.write_bytes(b"precious")
    with pytest.raises(Misuse, match="force"):
        restore_to_file(repository, point, 1, target)
    assert target.read_bytes() == b"precious"
    restore_to_file(repository, point, 1, target, force=True)
    assert target.read_bytes() == b"new" * 100
    assert _names(tmp_path) == {"disk.raw", "repository"}


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_of_the_users_own_is_never_used_on_the_way(repository, tmp_path, damaged):
    point = committed(repository, b"a" * CHUNK + os.urandom(CHUNK))
    target = tmp_path / "disk.raw"
    during: set[str] = set()
    mine = {"disk.raw.partial", "disk.raw.1.partial", "disk.raw.2.partial"}
    for name in mine:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "disk.raw.3.partial").symlink_to(tmp_path / "elsewhere")

    def progress(*at):
        during.update(_names(tmp_path))
        if damaged:
            raise KeyboardInterrupt

    before = _names(tmp_path)
    with suppress(KeyboardInterrupt):
        restore_to_file(repository, point, 1, target, progress=progress)
    assert len(during - before) == 1  # in the same directory, so that a rename can move it
    assert _names(tmp_path) - before == (set() if damaged else {"disk.raw"})
    for name in mine:
        assert (tmp_path / name).read_bytes() == name.encode()
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_regular_file_is_never_replaced(repository, tmp_path):
    point = committed(repository, b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("folder", "link"):
        with pytest.raises(Misuse, match="regular file"):
            restore_to_file(repository, point, 1, tmp_path / name, force=True)
    with pytest.raises(Misuse, match="cannot be used"):
        restore_to_file(repository, point, 1, tmp_path / "nowhere" / "disk.raw")


def test_a_file_that_appears_meanwhile_is_spared(repository, tmp_path):
    point = committed(repository, b"x" * CHUNK)
    target = tmp_path / "disk.raw"
    with pytest.raises(Misuse, match="exists"):
        restore_to_file(
            repository, point, 1, target, progress=lambda *_: target.write_bytes(b"theirs")
        )
    assert target.read_bytes() == b"theirs"
    assert _names(tmp_path) == {"disk.raw", "repository"}


def test_a_damaged_chunk_leaves_nothing_half_written(repository, tmp_path):
    point = committed(repository, b"a" * CHUNK + os.urandom(CHUNK))
    pack = next((tmp_path / "repository" / "packs").iterdir())
    raw = bytearray(pack.read_bytes())
    raw[600] ^= 1
    pack.write_bytes(raw)
    target = tmp_path / "disk.raw"
    target.write_bytes(b"precious")
    with pytest.raises(DigestMismatch):
        restore_to_file(repository, point, 1, target, force=True)
    assert target.read_bytes() == b"precious"
    assert _names(tmp_path) == {"disk.raw", "repository"}


def test_a_full_disk_leaves_nothing_half_written(repository, tmp_path, monkeypatch):
    point = committed(repository, b"a" * CHUNK)

    def full(descriptor, data, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpace, match="4096 bytes needed"):
        restore_to_file(repository, point, 1, tmp_path / "disk.raw")
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_unknown_points_and_disks_are_not_found(repository, tmp_path):
    point = committed(repository, b"x")
    with pytest.raises(NotFound, match="restore point"):
        restore_to_file(repository, "nobody", 1, tmp_path / "disk.raw")
    with pytest.raises(NotFound, match="disk"):
        restore_to_file(repository, point, 9, tmp_path / "disk.raw")
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


class Device:
    identity = "naa.6"

    def __init__(self, size):
        self.bytes = bytearray(b"?" * size)

    @property
    def size_bytes(self):
        return len(self.bytes)

    async def write(self, offset, data):
        await asyncio.sleep(0)
        self.bytes[offset : offset + len(data)] = data


def test_a_device_gets_every_byte_zeros_as_well(repository):
    data = b"a" * CHUNK + bytes(CHUNK) + b"b" * 10
    point = committed(repository, data)
    device = Device(len(data) + 5)
    seen = []
    written = asyncio.run(
        restore_to_device(repository, point, 1, device, lambda *at: seen.append(at))
    )
    assert written == len(data)
    assert bytes(device.bytes) == data + b"?" * 5
    assert seen[-1] == (len(data), len(data))
    assert asyncio.run(restore_to_device(repository, point, 1, device)) == len(data)


def test_a_device_that_is_too_small_is_refused_untouched(repository):
    point = committed(repository, b"a" * 100)
    device = Device(99)
    with pytest.raises(Misuse, match=r"naa\.6: has 99 bytes, the disk needs 100"):
        asyncio.run(restore_to_device(repository, point, 1, device))
    assert bytes(device.bytes) == b"?" * 99
