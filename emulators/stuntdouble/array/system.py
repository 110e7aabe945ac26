"""The array: pools, volumes, snapshots, masking, and the requests that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.access import Access
from stuntdouble.array.core import Core
from stuntdouble.array.hosts import Hosts
from stuntdouble.array.masking import Masking
from stuntdouble.array.mirror import Mirrors
from stuntdouble.array.parameters import Parameters
from stuntdouble.array.pool import build_pool
from stuntdouble.array.promote import Promotion
from stuntdouble.array.reclaim import Reclaim
from stuntdouble.array.snapshot import Snapshots
from stuntdouble.array.volume import Inventory, Volume
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    MediumError,
    Misuse,
    NotFound,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array.hosts import Host
    from stuntdouble.array.masking import HostMapping
    from stuntdouble.array.parameters import PoolSpec
    from stuntdouble.array.pool import Pool, StationEngine
    from stuntdouble.array.volume import Snapshot
    from stuntdouble.extents import Runs
    from stuntdouble.ports import Mapping
    from stuntdouble.site import DamageMode, Lun
    from stuntdouble.trace import Journal, Streams


class Array:
    """An emulated storage array.

    Building (``add_pool``, ``create_volume``) takes no time.  Requests are SimPy generators: they
    take the time that ``Parameters`` gives them, then commit in one instant; one that is
    interrupted, or finds that something has changed meanwhile, has done nothing.  Once the array
    is lost everything raises Unreachable.

    Args:
        engine: whose stations the pools become.
        streams: identifiers are drawn from ("naa", the array's name, the volume's name).
        journal: gets "array-…" events.
        parameters: policies, times and limits.
        name: what errors and events call it.
    """

    def __init__(
        self,
        engine: StationEngine,
        streams: Streams,
        journal: Journal,
        parameters: Parameters | None = None,
        name: str = "array-1",
    ) -> None:
        self.parameters = Parameters() if parameters is None else parameters
        self.inventory = Inventory(self.parameters.name_length_max)
        self.core = Core(name, engine, streams, journal, self.parameters, self.inventory)
        self.hosts = Hosts(self.core)
        self.masking = Masking(self.hosts, self.parameters.lun_max)
        self.core.masked_to = self.masking.luns_of
        self._reclaim = Reclaim(self.core)
        self._mirrors = Mirrors(self.core)
        self._snapshots = Snapshots(self.core, self._mirrors, self._reclaim)
        self._promotion = Promotion(
            self.core, self.masking, self._snapshots, self._mirrors, self._reclaim
        )
        self._access = Access(self.core, self.hosts, self.masking, self._snapshots)

    @property
    def name(self) -> str:
        """What errors and events call the array."""
        return self.core.name

    @property
    def pools(self) -> dict[str, Pool]:
        """The pools by name."""
        return self.core.pools

    @property
    def on_space_freed(self) -> list[Callable[[str], object]]:
        """Called with a pool's name, as control, whenever some of its reserve comes free."""
        return self.core.on_space_freed

    @property
    def on_luns_changed(self) -> list[Callable[[Host], object]]:
        """Called with a host, as control, whenever what it sees has changed."""
        return self.core.on_luns_changed

    @property
    def on_resized(self) -> list[Callable[[Volume], object]]:
        """Called with a volume, as control, whenever it has grown."""
        return self.core.on_resized

    # Building. -----------------------------------------------------------------------------

    def add_pool(self, spec: PoolSpec) -> Pool:
        """Return a new pool, with stations in the engine and space in the site."""
        if spec.name in self.pools:
            raise InvalidState(f"pool {spec.name}", "there already", "add another of that name")
        pool = build_pool(self.core.engine, spec, self.parameters)
        self.pools[spec.name] = pool
        self.core.gauge()
        return pool

    def create_volume(self, name: str, size_bytes: int, pool: Pool) -> Volume:
        """Return a new volume, which holds whatever lay there before.

        Args:
            name: unique among volumes and array snapshots.
            size_bytes: whole chunks.
            pool: where it lies.  It takes its whole size there: a pool is never overcommitted.

        Raises:
            NoSpace: it does not fit into the pool.
        """
        self.core.check_reachable()
        self.inventory.check_free(name)
        site, chunk = self.core.site, self.parameters.chunk_bytes
        if size_bytes <= 0 or size_bytes % chunk:
            text = f"{size_bytes} bytes are not whole chunks of {chunk} bytes"
            raise Misuse(f"volume {name}", text)
        start = pool.allot(size_bytes)
        lun = site.create_lun(
            size_bytes // site.block_bytes, chunk // site.block_bytes, pool.number, start
        )
        lun.keeper = self._snapshots
        volume = Volume(
            name,
            self.core.new_naa(name),
            lun,
            pool,
            start,
            id=self.inventory.next_id(),
            uuid=self.core.new_uuid(name),
            created=self.core.env.now,
        )
        self.inventory.volumes[name] = volume
        return volume

    # Looking. ------------------------------------------------------------------------------

    def volume(self, name: str) -> Volume:
        """Return the volume of this name, or raise NotFound."""
        self.core.check_reachable()
        return self.inventory.volume(name)

    def by_naa(self, naa: str) -> Volume:
        """Return the volume of this NAA identifier, or raise NotFound."""
        self.core.check_reachable()
        return self.inventory.by_naa(naa)

    def snapshot(self, name: str) -> Snapshot:
        """Return the array snapshot of this name, or raise NotFound."""
        self.core.check_reachable()
        return self.inventory.snapshot(name)

    def mappings(self, initiator_iqn: str | None = None) -> tuple[Mapping, ...]:
        """Return the mappings; of one initiator, it is all that this one can see."""
        self.core.check_reachable()
        return self.masking.mappings(initiator_iqn)

    def luns(self, initiator_iqn: str) -> dict[int, Volume]:
        """Return what an initiator sees now, by LUN number in rising order."""
        self.core.check_reachable()
        return self.masking.luns(initiator_iqn)

    def reclaiming_bytes(self, pool: Pool) -> int:
        """Return the space of deleted snapshots that has not come free yet."""
        return self._reclaim.pending_bytes(pool)

    def volume_for(self, initiator_iqn: str, naa: str) -> Volume:
        """Return a volume that is mapped to an initiator.

        Raises:
            AccessDenied: it is not, or there is no such volume: masking does not tell which.
        """
        self.core.check_reachable()
        try:
            volume = self.inventory.visible(naa)
        except NotFound:
            raise AccessDenied(initiator_iqn, naa) from None
        if not self.masking.sees(initiator_iqn, volume):
            raise AccessDenied(initiator_iqn, naa)
        return volume

    def lun_for(self, initiator_iqn: str, naa: str) -> Lun:
        """Return the content of a volume that is mapped to an initiator; see ``volume_for``.

        Raises:
            MediumError: the snapshot that it shows has been given up.
        """
        volume = self.volume_for(initiator_iqn, naa)
        if not volume.readable:
            raise MediumError(naa, 0)
        return volume.lun

    # Requests. -----------------------------------------------------------------------------

    def prepare(self, naas: tuple[str, ...]) -> Generator[Event, Any, int]:
        """Make ready for a snapshot of volumes; return how many bytes were copied for it.

        Where snapshots are split mirrors, a mirror of each volume is made, if none is free, and
        synchronised; from then on until it is split off, it is written with the volume.  Other
        arrays have nothing to do.  One that is cut short leaves mirrors behind that are detached,
        and no worse for it; one that is repeated finds little to do.

        Raises:
            LimitReached: every mirror that a volume may have is in use by a snapshot.
            NoSpace: there is no room for a mirror.
        """
        return self._mirrors.prepare(naas)

    def delete_mirrors(self, volume: str) -> Generator[Event, Any, None]:
        """Delete the mirrors of a volume, and give their room back; none is no error.

        Raises:
            InvalidState: a snapshot needs one of them.
        """
        return self._mirrors.delete(volume)

    def create_snapshots(
        self, naas: tuple[str, ...], name: str
    ) -> Generator[Event, Any, tuple[Snapshot, ...]]:
        """Snapshot volumes in one instant, and return the snapshots in their order.

        A single one is called *name*, those of a consistency group name.1, name.2, …

        Raises:
            LimitReached: too many snapshots of a volume, or of the array.
            Unsupported: a snapshot of a promoted volume.
            InvalidState: a volume has no synchronised mirror to be split off.
        """
        return self._snapshots.create(naas, name)

    def delete_snapshot(self, snapshot: str) -> Generator[Event, Any, None]:
        """Delete an array snapshot; its space comes free in the background.

        One that is not there is no error.

        Raises:
            InvalidState: a volume that was promoted from it still exists.
        """
        return self._snapshots.delete(snapshot)

    def promote(
        self, snapshot: str, name: str, *, read_only: bool = True
    ) -> Generator[Event, Any, Volume]:
        """Make an array snapshot a volume with an identity of its own.

        Raises:
            InvalidState: the array has given the snapshot up.
            LimitReached: it has been promoted too often.
        """
        return self._promotion.promote(snapshot, name, read_only)

    def delete_volume(self, volume: str) -> Generator[Event, Any, None]:
        """Delete a volume; one that is not there is no error.

        Raises:
            InvalidState: it is mapped, or has snapshots.
        """
        return self._promotion.delete(volume)

    def map_volume(
        self, volume: str, initiator_iqn: str, lun: int | None = None
    ) -> Generator[Event, Any, Mapping]:
        """Let the host of an initiator see a volume at a LUN number: *lun*, or the lowest free one.

        An initiator that no host has gets a host of its own.  A snapshot may be mapped, too; see
        ``map_to_host``.

        Raises:
            LunInUse: *lun* is taken.
            LimitReached: no number is free.
            InvalidState: the host sees the volume already.
        """
        return self._access.map_volume(volume, initiator_iqn, lun)

    def unmap_volume(self, volume: str, initiator_iqn: str) -> Generator[Event, Any, None]:
        """Take the mapping of an initiator's host away; one that is not there is no error."""
        return self._access.unmap_volume(volume, initiator_iqn)

    def map_to_host(
        self, name: str, host: str, lun: int | None = None
    ) -> Generator[Event, Any, HostMapping]:
        """Let a host see a volume or an array snapshot: at *lun*, or at the lowest free number.

        A snapshot is seen as a read-only volume with the snapshot's own identity, for as long as it
        is mapped to anybody.

        Raises:
            NotFound: no such volume, snapshot or host.
            LunInUse: *lun* is taken.
            LimitReached: no number is free.
            InvalidState: the host sees it already, or the array has given the snapshot up.
        """
        return self._access.map_to_host(name, host, lun)

    def unmap_from_host(self, name: str, host: str) -> Generator[Event, Any, None]:
        """Take a mapping away; one that is not there is no error.

        Raises:
            NotFound: no such host.
        """
        return self._access.unmap_from_host(name, host)

    # What devices ask. ---------------------------------------------------------------------

    def show(self, volume: Volume, first: int, count: int) -> Any:
        """Return the bytes of blocks of a volume, a row per block, as a host would get them.

        Raises:
            MediumError: damaged, or the snapshot that the volume shows has been given up.
        """
        self._check_readable(volume, first)
        return volume.lun.site.show(volume.lun, first, count, volume.naa)

    def show_parts(self, volume: Volume, first: int, count: int) -> Any:
        """Return the same in parts, of which long zeros are some; see ``Site.show_parts``."""
        self._check_readable(volume, first)
        return volume.lun.site.show_parts(volume.lun, first, count, volume.naa)

    def _check_readable(self, volume: Volume, first: int) -> None:
        self.core.check_reachable()
        if not volume.readable:
            raise MediumError(volume.naa, first * volume.lun.site.block_bytes)

    def unfenced(self, lun: Lun) -> Generator[Event, Any, None]:
        """Wait while a snapshot of *lun* is being taken: for writes that no guest issues."""
        return self._snapshots.unfenced(lun)

    # Faults. -------------------------------------------------------------------------------

    def damage(self, volume: Volume, runs: Runs, mode: DamageMode = "error") -> None:
        """Let the storage behind byte ranges of a volume go bad, from now on.

        Every volume and snapshot that shares the blocks shows it, until it is written over.

        Args:
            volume: through which to find the storage.
            runs: byte ranges of the volume, rounded outward to content blocks.
            mode: "error" for MediumError on reading, "silent" for wrong bytes.
        """
        volume.lun.damage(runs, mode)
        self.core.note("array-damage", volume.name, damaged_bytes=runs.total, mode=mode)

    def lose(self) -> None:
        """Lose the array, for good: requests and devices fail with Unreachable.

        So does what a hypervisor does to its volumes.  Guests get no answer at all (a host with all
        paths down): their I/O hangs, and nothing of it is lost while they are powered on.
        """
        if not self.core.lost:
            self.core.lost = True
            for pool in self.pools.values():
                self.core.engine.cut_off(pool.number, Unreachable(self.name))
            self.core.note("array-lost", self.name)
