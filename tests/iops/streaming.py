"""What control does with bulk I/O in random histories: reads, restores, merges, promoted images."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from iops.lab import BLOCK, FS_BLOCKS
from stuntdouble.iops import Io, Purpose, StreamSpec

if TYPE_CHECKING:
    from simpy.events import Event

    from stuntdouble.clock import Environment

BLOCKS = 2 * FS_BLOCKS  # of each disk
LUN_BLOCKS = 1 << 14


class Bulk:
    """The part of a world that opens streams."""

    env: Environment
    site: Any
    engine: Any
    store: Any
    mirror: Any
    lun: Any
    other: Any
    lan: int
    disks: list[Any]
    images: list[Any]
    deltas: dict[int, list[Any]]

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.halves: list[Any] = []  # images that were split off
        self.merges: Counter[int] = Counter()  # begun, by the number of the disk
        self.noted: Counter[str] = Counter()

    def note(self, what: str) -> None:
        """Count what a history has come to."""
        self.noted[what] += 1

    def open(self, io: Io, target, items, shape: int, purpose: Purpose) -> Any:
        rows = np.array(items, np.int64).reshape(-1, 2)
        rate = [0.0, 2048.0, 0.0, 4096.0][shape % 4]
        luns = [(), (self.lun,), (self.other, self.lun)][shape % 3]
        link = self.lan if shape % 5 == 0 else -1
        stream = self.engine.stream(
            StreamSpec(io, target, rows, shape % 4, purpose, rate, link, luns)
        )
        name = len(self.streams)
        self.tell(stream.finished, "finished", name)
        for n in (0, 2, len(items), len(items) + 1):
            self.tell(stream.reached(n), "reached", name, n)
        self.streams.append(stream)
        return stream

    def do_read(self, number: int, shape: int) -> None:
        disk = self.disks[number % len(self.disks)]
        items = [(k * 5 * BLOCK + 512, 4 * BLOCK) for k in range(number % 7)]
        self.open(Io.READ_LEVEL, disk.head, items, shape, Purpose.BACKUP)

    def do_scan(self, number: int, shape: int) -> None:
        items = [(k * 3 * BLOCK, 3 * BLOCK) for k in range(number % 9)]
        self.open(Io.READ_LUN, self.lun, items, shape, Purpose.BACKUP)

    def do_restore(self, number: int, shape: int) -> None:
        disk = self.disks[number % len(self.disks)]
        items = [(k * 40 * BLOCK, 2 * BLOCK) for k in range(number % 9)]
        self.open(Io.WRITE_DISK, disk, items, shape, Purpose.RESTORE)

    def do_move(self, number: int, shape: int) -> None:
        number %= len(self.disks)
        levels = self.deltas.get(number)
        if not levels:
            self.do_push(number, 0)
            later = self.env.at(self.env.now + 6)
            later.callbacks.append(lambda _: self.do_move(number, shape))
            return
        moved = levels[-1]
        if shape % 3:
            moved.mirror(on=True)
        else:  # by helper, which moves a level that nobody writes to any more
            self.do_push(number, 0)
        self.merges[number] += 1
        items = [(k * 64, 64) for k in range(BLOCKS // 64)]
        stream = self.open(Io.MOVE_LEVEL, moved, items, shape, Purpose.CONSOLIDATION)
        stream.finished.callbacks.append(lambda _: self.conclude(number, moved, stream))

    def conclude(self, number: int, moved: Any, stream: Any) -> None:
        """Drop a delta that has been moved as a whole, unless another merge of the disk was begun."""
        if stream.failure is not None or stream.done < len(stream.spec.items):
            return
        levels, parent = self.deltas[number], moved.parent
        if self.merges[number] > 1:
            return
        self.merges[number] = 0
        moved.mirror(on=False)
        at = levels.index(moved)
        if moved is self.disks[number].head:
            self.disks[number].set_head(parent)
            self.note("ends of a merge: the parent is the head")
        else:
            levels[at + 1].hang_on(parent)
            self.note("ends of a merge: below a helper")
        del levels[at]
        self.store.delete_file(moved.file.name)
        self.log("merged", number, at)

    def do_promote(self, number: int, shape: int) -> None:
        """Open an image, read it, perhaps write to it, and drop what was opened."""
        images = self.halves if number % 3 == 0 and self.halves else self.images
        if not images:
            return
        image = images.pop(number % len(images))  # nobody gives it up meanwhile
        opened = image.open()
        opened.keeper = self.lun.keeper
        if images is self.images and number % 2:
            self.write_to(opened, number, Purpose.RESTORE)
        items = [(k * 3 * BLOCK, 3 * BLOCK) for k in range(1 + number % 9)]
        read, target = Io.READ_LUN, opened
        if shape % 2 and (head := self.registered(opened.stores[0], number)) is not None:
            read, target = Io.READ_LEVEL, head
        stream = self.open(read, target, items, shape, Purpose.BACKUP)

        def drop(_event: Event) -> None:
            self.site.drop_lun(opened)
            images.append(image)
            self.note("opened images dropped")

        stream.finished.callbacks.append(drop)

    def registered(self, store: Any, number: int) -> Any:
        """Return the head of a disk that the catalogue of an opened image knows; None if it knows none."""
        level = None
        for name in store.records.get(self.disks[number % len(self.disks)].name, ()):
            level = self.site.new_level(store.files[name], level)
        return level

    def write_catalogue(self) -> None:
        """Note in the store which files each disk consists of: an image keeps it as it is."""
        for disk in self.disks:
            level, names = disk.head, []
            while level is not None:
                names.insert(0, level.file.name)
                level = level.parent
            self.store.records[disk.name] = tuple(names)

    def do_split(self, number: int, _second: int) -> None:
        """Make the mirror equal, without time, and split it off."""
        if self.mirror is not None and self.mirror.attached:
            self.mirror.equalise(0, LUN_BLOCKS // 4)
            self.write_catalogue()
            self.halves += self.site.split([self.mirror])
            self.log("split", number)
            self.note("mirrors split off")

    def do_depth(self, number: int, depth: int) -> None:
        if self.streams:
            self.streams[number % len(self.streams)].depth = depth % 4

    def do_pace(self, number: int, rate: int) -> None:
        if self.streams:
            self.streams[number % len(self.streams)].bytes_per_second = (rate % 3) * 3000.0

    def do_stop(self, number: int, _second: int) -> None:
        if self.streams:
            self.streams[number % len(self.streams)].stop()
