"""The array: pools, volumes, snapshots, masking, and the requests that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.core import Core
from stuntdouble.array.hosts import Hosts
from stuntdouble.array.masking import Masking
from stuntdouble.array.parameters import Parameters
from stuntdouble.array.pool import build_pool
from stuntdouble.array.reclaim import Reclaim
from stuntdouble.array.requests import Requests
from stuntdouble.array.volume import Inventory
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    MediumError,
    NotFound,
    Unreachable,
)
from stuntdouble.extents import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array.hosts import Host
    from stuntdouble.array.parameters import PoolSpec
    from stuntdouble.array.pool import Pool, StationEngine
    from stuntdouble.array.task import Task
    from stuntdouble.array.volume import Snapshot, Volume
    from stuntdouble.ports import Mapping
    from stuntdouble.site import DamageMode, Lun, Step
    from stuntdouble.trace import Journal, Streams


class Array(Requests):
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
        super().__init__(self.core, self.hosts, self.masking, self._reclaim)
        self.core.sweep = self._lifetimes.sweep

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
    def tasks(self) -> dict[int, Task]:
        """Copies and reverts by id: what goes on, and the latest of what is over."""
        return self._tasks.by_id

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
        return self._volumes.build(name, size_bytes, pool, clean=False)

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

    # What devices ask. ---------------------------------------------------------------------

    def show(self, volume: Volume, first: int, count: int) -> Any:
        """Return the bytes of blocks of a volume, a row per block, as a host would get them.

        Raises:
            MediumError: damaged, or the snapshot that the volume shows has been given up.
        """
        return self._blocks.show(volume, first, count)

    def show_parts(self, volume: Volume, first: int, count: int) -> Any:
        """Return the same in parts, of which long zeros are some; see ``Site.show_parts``."""
        return self._blocks.show_parts(volume, first, count)

    def allocated(self, volume: Volume, offset: int, length: int) -> Runs:
        """Return where, within a byte range, a volume holds anything but zeros.

        Whole content blocks, cut at the ends of the range.

        Raises:
            MediumError: the snapshot that the volume shows has been given up.
        """
        return self._blocks.allocated(volume, Runs.single(offset, length))

    def write_steps(self, volume: Volume, offset: int, data: memoryview) -> list[Step]:
        """Admit a write of bytes, anywhere; return the steps whose time has still to pass.

        Whoever calls waits for ``unfenced`` before, and gives the steps to ``engine.submit``; it
        has looked at masking.  A block that is covered in part keeps the rest.

        Raises:
            InvalidState: the volume is read-only.
            NoSpace: the snapshot reserve is full; nothing is written.
            MediumError: it cannot be read, where it must be.
            Misuse: beyond the end of the volume, or longer than an I/O may be.
        """
        return self._blocks.write_steps(volume, offset, data)

    @property
    def io_bytes(self) -> int:
        """What one I/O of a long range covers: whole content blocks, and never too long a write."""
        return self._blocks.io_bytes

    def zero_steps(self, volume: Volume, offset: int, length: int) -> list[Step]:
        """Admit the zeroing of a byte range; see ``write_steps``.

        Where the range ends within a block, NoSpace may leave the rest of the range zeroed.
        """
        return self._blocks.zero_steps(volume, offset, length)

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
