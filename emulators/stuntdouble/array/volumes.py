"""Requests that make, grow and rename volumes while the array runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from stuntdouble.array.volume import Snapshot, Volume
from stuntdouble.errors import InvalidState, Misuse, NotFound

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.pool import Pool
    from stuntdouble.array.snapshot import Snapshots


class Volumes:
    """Creation and growth; its generators commit in one instant, or not at all."""

    def __init__(self, core: Core, snapshots: Snapshots) -> None:
        self._core = core
        self._snapshots = snapshots

    def build(self, name: str, size_bytes: int, pool: Pool, *, clean: bool) -> Volume:
        """Return a new volume, at once; see ``Array.create_volume``."""
        core = self._core
        self._check_new(name, size_bytes)
        site, chunk = core.site, core.parameters.chunk_bytes
        start = pool.allot(size_bytes)
        blocks = size_bytes // site.block_bytes, chunk // site.block_bytes
        lun = site.create_lun(*blocks, pool.number, start, clean=clean)
        lun.keeper = self._snapshots
        volume = Volume(
            name,
            core.new_naa(name),
            lun,
            pool,
            start,
            id=core.inventory.next_id(),
            uuid=core.new_uuid(name),
            created=core.env.now,
        )
        core.inventory.volumes[name] = volume
        return volume

    def make(self, name: str, size_bytes: int, pool: str) -> Generator[Event, Any, Volume]:
        """Make a volume; see ``Array.make_volume``."""
        core = self._core
        yield from core.take(0.0)
        self._check_new(name, size_bytes)
        self._pool(pool)
        yield from core.take(core.parameters.create_seconds)
        volume = self.build(name, size_bytes, self._pool(pool), clean=True)
        core.note("array-volume", name, naa=volume.naa, size_bytes=size_bytes)
        return volume

    def grow(self, name: str, size_bytes: int) -> Generator[Event, Any, Volume]:
        """Let a volume grow; see ``Array.grow_volume``."""
        core = self._core
        yield from core.take(0.0)
        self._check_growth(name, size_bytes)
        yield from core.take(core.parameters.grow_seconds)
        volume = self._check_growth(name, size_bytes)
        if size_bytes > volume.size_bytes:
            was = volume.size_bytes
            start = volume.start_block
            if volume.origin is None:
                start = volume.pool.regrow(start, was, size_bytes)
            core.gauge()
            volume.lun.grow(size_bytes // core.site.block_bytes, start)
            volume.start_block = start
            core.gauge()
            core.note("array-grown", name, size_bytes=size_bytes, was_bytes=was)
            for tell in core.on_resized:
                tell(volume)
        return volume

    def rename(self, name: str, new: str) -> Generator[Event, Any, None]:
        """Give a volume or snapshot another name; see ``Array.rename``."""
        core, inventory = self._core, self._core.inventory
        yield from core.take(0.0)
        thing = inventory.either(name)
        if new == name:
            return
        inventory.check_free(new)
        thing.name = new
        if isinstance(thing, Snapshot):
            inventory.snapshots = _renamed(inventory.snapshots, thing, new)
            if thing.view is not None:
                thing.view.name = new
        else:
            inventory.volumes = _renamed(inventory.volumes, thing, new)
        core.note("array-renamed", new, was=name)

    # Parts. --------------------------------------------------------------------------------

    def _pool(self, name: str) -> Pool:
        if name not in self._core.pools:
            raise NotFound("pool", name)
        return self._core.pools[name]

    def _check_new(self, name: str, size_bytes: int) -> None:
        self._core.check_reachable()
        self._core.inventory.check_free(name)
        self._check_size(name, size_bytes)

    def _check_size(self, name: str, size_bytes: int) -> None:
        chunk = self._core.parameters.chunk_bytes
        if size_bytes <= 0 or size_bytes % chunk:
            text = f"{size_bytes} bytes are not whole chunks of {chunk} bytes"
            raise Misuse(f"volume {name}", text)

    def _check_growth(self, name: str, size_bytes: int) -> Volume:
        volume = self._core.inventory.volume(name)
        what, request = f"volume {name}", f"let it have {size_bytes}"
        self._check_size(name, size_bytes)
        if size_bytes < volume.size_bytes:
            raise InvalidState(
                what, f"{volume.size_bytes} bytes large", f"{request}: it would lose"
            )
        for state, wrong in (
            ("read-only", volume.read_only),
            ("without the snapshot that it shows", not volume.readable),
            ("mirrored", bool(volume.mirrors)),
            ("being copied", volume.writer is not None or bool(volume.readers)),
        ):
            if wrong:
                raise InvalidState(what, state, request)
        return volume


def _renamed(things: dict[str, T], thing: T, new: str) -> dict[str, T]:
    """Return a table with one thing under another name, in the same order."""
    return {new if each is thing else name: each for name, each in things.items()}
