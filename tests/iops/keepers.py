"""Who decides, in random histories, what happens when there is no room left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iops.lab import FS_BLOCKS
from stuntdouble.errors import NoSpace

if TYPE_CHECKING:
    from iops.histories import World


class Keeper:
    """Hands out file-system blocks one after the other, as long as there are any."""

    def __init__(self, blocks: int) -> None:
        self.used, self.blocks = 0, blocks

    def provide(self, file, index: int) -> int:
        if self.used >= self.blocks:
            raise NoSpace("the datastore", FS_BLOCKS, 0)
        file.place(index, 0, self.used)
        self.used += 1
        return self.used % 3  # not every growth costs metadata


class Sacrifice:
    """Gives up the oldest image when the reserve is full."""

    def __init__(self, world: World) -> None:
        self.world = world

    def make_room(self, lun) -> None:
        self.world.log("sacrifice")
        if not self.world.images:
            raise NoSpace("the snapshot reserve", lun.chunk_bytes, 0)
        self.world.site.thaw(self.world.images.pop(0))
