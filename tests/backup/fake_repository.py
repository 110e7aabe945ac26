"""A repository and a history in memory."""

from __future__ import annotations

from dataclasses import replace

from stuntdouble.extents import Runs
from stuntdouble.ports import RestorePoint


class Draft:
    def __init__(self, repository: Repository, disks: dict[int, int], parent: str) -> None:
        self.repository = repository
        below = repository.images[parent] if parent else {}
        self.image = {key: bytearray(below.get(key, bytes(size))) for key, size in disks.items()}
        self.touched = {key: Runs.empty() for key in disks}
        self.finished = False

    def _touch(self, disk: int, runs: Runs) -> None:
        assert not self.finished
        assert not self.touched[disk] & runs, "each byte once"
        self.touched[disk] |= runs

    def write(self, disk, offset, data):
        if self.repository.full:
            raise OSError(28, "No space left on device")
        self._touch(disk, Runs.single(offset, len(data)))
        self.image[disk][offset : offset + len(data)] = data

    def zero(self, disk, runs):
        self._touch(disk, runs)
        for start, length in runs:
            self.image[disk][start : start + length] = bytes(length)

    def commit(self, point):
        assert not self.finished
        self.finished = True
        point = replace(
            point,
            id=f"{point.vm}-{point.method}-{len(self.repository.all) + 1}",
            bytes_stored=sum(runs.total for runs in self.touched.values()),
        )
        self.repository.all.append(point)
        self.repository.images[point.id] = {k: bytes(v) for k, v in self.image.items()}
        return point

    def discard(self):
        self.finished = True


class Repository:
    def __init__(self) -> None:
        self.all: list[RestorePoint] = []
        self.images: dict[str, dict[int, bytes]] = {}
        self.drafts: list[Draft] = []
        self.full = False

    def begin(self, disks, parent=""):
        self.drafts.append(Draft(self, disks, parent))
        return self.drafts[-1]

    def points(self):
        return tuple(self.all)

    def read(self, point, disk, start, length):
        yield memoryview(self.images[point][disk])[start : start + length]

    def delete(self, point):
        self.all = [p for p in self.all if p.id != point]
        del self.images[point]


class History:
    def __init__(self) -> None:
        self.newest: dict[tuple[str, str], RestorePoint] = {}

    def last(self, vm, method):
        return self.newest.get((vm, method))

    def record(self, point):
        self.newest[point.vm, point.method] = point
