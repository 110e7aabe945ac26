"""Datastores: files over one or more LUNs, their allocator, their locks, and what is free.

The first file-system block of each LUN belongs to the file system itself, and metadata is written
to the first LUN's.  Space is given out in file-system blocks: to flat files when they are made
(or, thin ones, block by block when a guest writes there), to delta disks in steps of
their format, which the name of the file tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import Misuse, NoSpace, Unreachable
from stuntdouble.hypervisor.allocator import (
    Allocator,
    Place,
    foreign_places,
    gaps,
    scattered,
)
from stuntdouble.hypervisor.headers import header_of, volume_uuid, whole_store, write_headers
from stuntdouble.hypervisor.notes import UsageAlarm
from stuntdouble.hypervisor.parameters import SE_SPARSE_SUFFIX
from stuntdouble.iops import Purpose
from stuntdouble.ports import Provisioning
from stuntdouble.site import IO_BLOCKS_MAX
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.hypervisor.host import Host
    from stuntdouble.site import File, Lun, Store

_FOREIGN = "foreign files"
_OWN = "file system"


class Datastore:
    """A mounted file system; the store's keeper.

    ``naas`` are the identifiers of the volumes below, in the order of ``luns``; ``dead`` are those
    that the host has found to be mapped to it no more.
    """

    def __init__(
        self, host: Host, name: str, store: Store, naas: tuple[str, ...], allocator: Allocator
    ) -> None:
        self.name = name
        self.store = store
        self.naas = naas
        self.on_free: list[Callable[[], object]] = []
        self.mounted_copy = False
        self.dead: tuple[str, ...] = ()
        self._host = host
        self._allocator = allocator
        self._on_growth: dict[int, Callable[[], object]] = {}
        self._block_bytes = store.fs_blocks * host.site.block_bytes
        self.free_bytes_min = self.free_bytes
        self._alarm = UsageAlarm(host, name)
        store.keeper = self
        self._gauge()

    @property
    def uuid(self) -> str:
        """The identity of the file system."""
        header = header_of(self.store)
        assert header is not None, "a datastore has been formatted"
        return header.uuid

    @property
    def luns(self) -> tuple[Lun, ...]:
        """The LUNs below, in the order of the datastore's extents."""
        return self.store.luns

    def check_reachable(self) -> None:
        """Raise Unreachable where a LUN below has been lost, or is no longer mapped to the host."""
        for naa in self.dead:
            raise Unreachable(f"volume {naa}")
        for lun in self.luns:
            lun.check_reachable()

    @property
    def capacity_bytes(self) -> int:
        """Bytes that files can have in all."""
        return capacity_of(self.store, self.luns)

    @property
    def fs_block_bytes(self) -> int:
        """The unit in which space is given out."""
        return self._block_bytes

    @property
    def free_bytes(self) -> int:
        """Bytes that no file has."""
        return self._allocator.free * self._block_bytes

    def volume_names(self) -> dict[int, str]:
        """Return the identifier of each volume by the site's number for it."""
        return {lun.number: naa for lun, naa in zip(self.luns, self.naas, strict=True)}

    # Files. --------------------------------------------------------------------------------

    def create_flat(self, name: str, blocks: int, provisioning: Provisioning) -> File:
        """Return the file of a base disk; eager zeroing is left to the caller.

        Raises:
            NoSpace: a thick disk does not fit; there is no such file then.
        """
        count = -(-blocks // self.store.fs_blocks)
        if provisioning is not Provisioning.THIN:
            self.require(count)
        zeroed = provisioning is Provisioning.EAGER_ZEROED
        file = self.store.create_file(name, blocks, sparse=False, zeroed=zeroed)
        if provisioning is not Provisioning.THIN:
            self._place(file, list(range(count)))
        return file

    def create_delta(self, name: str, blocks: int, on_growth: Callable[[], object]) -> File:
        """Return the file of a delta disk, as large as a first step of growth.

        Raises:
            NoSpace: that much is not free; there is no such file then.
        """
        count = -(-blocks // self.store.fs_blocks)
        first = min(self._growth_blocks(name), count)
        self.require(first)
        file = self.store.create_file(name, blocks, sparse=True, zeroed=True)
        self._on_growth[file.number] = on_growth
        self._place(file, list(range(first)))
        return file

    def delete(self, file: File) -> None:
        """Delete a file; its space is free at once."""
        self._on_growth.pop(file.number, None)
        self._free(self.store.delete_file(file.name))

    def _free(self, places: list[Place]) -> None:
        self._allocator.give(places)
        if places:
            self._alarm.freed()
        self._gauge()
        for call in list(self.on_free):
            call()

    def lengthen_flat(self, file: File, blocks: int, provisioning: Provisioning) -> int:
        """Lengthen the file of a base disk, which gets its space at once unless it is thin.

        Returns the file-system block from which on it is new.

        Raises:
            NoSpace: a thick disk does not fit; the file is as it was.
        """
        first = -(-file.blocks // self.store.fs_blocks)
        count = -(-blocks // self.store.fs_blocks)
        if provisioning is not Provisioning.THIN:
            self.require(count - first)
        file.lengthen(blocks)
        if provisioning is not Provisioning.THIN:
            self._place(file, list(range(first, count)))
        return first

    def shorten_flat(self, file: File, blocks: int) -> None:
        """Undo ``lengthen_flat`` before the disk has followed; the space is free at once."""
        self._free(file.shorten(blocks))

    def adopt_delta(self, file: File, on_growth: Callable[[], object]) -> None:
        """Take care of the growth of a delta disk found in a mounted copy."""
        self._on_growth[file.number] = on_growth

    def provide(self, file: File, index: int) -> int:
        """Make file-system block *index* exist, and for a delta disk those of a step of growth.

        Returns the metadata I/Os that this costs.

        Raises:
            NoSpace: not one block is free.
        """
        self.require(1)
        wanted = [index]
        if file.sparse:
            most = -(-file.blocks // self.store.fs_blocks)
            stop = min(index + self._growth_blocks(file.name), most)
            wanted = list(range(index, max(stop, index + 1)))[: self._allocator.free]
        self._place(file, wanted)
        if file.number in self._on_growth:
            self._on_growth[file.number]()
        if self._host.parameters.lock == "reservation":
            self._host.env.process(self._reserve())
        journal = self._host.parameters.se_growth_ios if _is_se_sparse(file.name) else 0
        return self._host.parameters.lock_ios + journal

    def _growth_blocks(self, name: str) -> int:
        parameters = self._host.parameters
        step = parameters.se_growth_bytes if _is_se_sparse(name) else parameters.growth_bytes
        return max(step // self._block_bytes, 1)

    def require(self, count: int) -> None:
        """Raise NoSpace unless so many file-system blocks are free."""
        if count > self._allocator.free:
            needed = count * self._block_bytes
            self._alarm.refused(needed, self.free_bytes)
            raise NoSpace(f"datastore {self.name}", needed, self.free_bytes)

    def _place(self, file: File, indices: list[int]) -> None:
        for index, (ordinal, block) in zip(
            indices, self._allocator.take(len(indices)), strict=True
        ):
            file.place(index, ordinal, block)
        self._gauge()

    def _gauge(self) -> None:
        self.free_bytes_min = min(self.free_bytes_min, self.free_bytes)
        self._host.gauge("datastore_free_bytes", self.name, self.free_bytes)
        self._alarm.look(self.free_bytes, self.capacity_bytes)

    # Locks. --------------------------------------------------------------------------------

    def lock(self) -> Generator[Event, object, None]:
        """Take the time of a locked change of metadata: a file created or deleted.

        A reservation stops every VM of the datastore meanwhile, ATS none.

        Raises:
            NoSpace: the array has no room for the copies that it owes for it.
        """
        reserved = self._host.parameters.lock == "reservation"
        if reserved:
            self._host.engine.fence(list(self.luns))
        try:
            for _ in range(self._host.parameters.lock_ios):
                yield from self.write_metadata()
            if reserved:
                yield self._host.env.timeout(self._host.parameters.reservation_seconds)
        finally:
            if reserved:
                self._host.engine.unfence(list(self.luns))

    def write_metadata(self, length: int = SECTOR_BYTES) -> Generator[Event, object, None]:
        """Write metadata and wait for it; more than a file-system block goes block by block.

        Raises:
            NoSpace: the array has no room for the copies that it owes for it.
        """
        site = self._host.site
        most = min(self._block_bytes, IO_BLOCKS_MAX * site.block_bytes)
        for done in range(0, length, most):
            steps = site.metadata_write(self.luns[0], min(most, length - done))
            yield self._host.engine.submit(steps, Purpose.CONTROL)

    def _reserve(self) -> Generator[Event, object, None]:
        self._host.engine.fence(list(self.luns))
        yield self._host.env.timeout(self._host.parameters.reservation_seconds)
        self._host.engine.unfence(list(self.luns))


def capacity_of(store: Store, luns: Iterable[Lun]) -> int:
    """Return the bytes that files can have in all on the LUNs of a file system."""
    size = store.fs_blocks * store.site.block_bytes
    return sum(lun.size_bytes // size - 1 for lun in luns) * size


def format_datastore(
    host: Host,
    name: str,
    luns: list[Lun],
    naas: tuple[str, ...],
    *,
    fs_block_bytes: int,
    zero_bytes: int,
    fragmentation: float,
) -> Datastore:
    """Return an empty datastore over fresh LUNs, aged by *fragmentation*."""
    size = host.site.block_bytes
    for what, value in (("fs_block_bytes", fs_block_bytes), ("zero_bytes", zero_bytes)):
        if value < size or value & (value - 1) or value % size:
            raise Misuse(what, f"{value} is not a power of two times the block of {size} bytes")
    if zero_bytes > fs_block_bytes:
        raise Misuse("zero_bytes", f"{zero_bytes} is more than a block of {fs_block_bytes}")
    if not luns or len(luns) != len(naas):
        raise Misuse(f"datastore {name}", f"{len(luns)} LUNs, {len(naas)} identifiers")
    fs_blocks = fs_block_bytes // size
    sizes = [lun.blocks // fs_blocks for lun in luns]
    stream = host.streams["fragmentation", name]
    foreign = foreign_places(sizes, fragmentation, stream)
    store = host.site.create_store(luns, fs_blocks, zero_bytes // size)
    _occupy(store, _OWN, [(i, 0) for i in range(len(luns))])
    _occupy(store, _FOREIGN, foreign)
    identity = volume_uuid(host.streams["file system", name].hex(32))
    write_headers(store, naas, identity, name, name)
    free = scattered(_free_runs(store), fragmentation, stream)
    return Datastore(host, name, store, naas, Allocator(free))


def open_datastore(host: Host, signature: str, luns: list[Lun], naas: tuple[str, ...]) -> Datastore:
    """Resignature what lies on *luns*, which were opened from images, and return it as a datastore.

    It gets an identity of its own, and is named after its signature and what it was first called.

    Raises:
        InvalidState: there is none, or LUNs of it are missing.
    """
    store, header = whole_store(luns, naas)
    name = f"snap-{signature}-{header.label}"
    store.lie_on(tuple(luns))
    identity = volume_uuid(host.streams["file system", name].hex(32))
    write_headers(store, naas, identity, header.label, name)
    return found_copy(host, store, naas)


def found_copy(host: Host, store: Store, naas: tuple[str, ...]) -> Datastore:
    """Return a copy that has been resignatured as a datastore, under the name it has by now."""
    header = header_of(store)
    assert header is not None, "it has been resignatured"
    opened = Datastore(host, header.name, store, naas, Allocator(_free_runs(store)))
    opened.mounted_copy = True
    return opened


def _is_se_sparse(name: str) -> bool:
    return name.endswith(SE_SPARSE_SUFFIX)


def _occupy(store: Store, name: str, places: list[Place]) -> None:
    if not places:
        return
    file = store.create_file(name, len(places) * store.fs_blocks, sparse=False, zeroed=True)
    for index, (ordinal, block) in enumerate(places):
        file.place(index, ordinal, block)


def _free_runs(store: Store) -> list[tuple[int, int, int]]:
    taken = [place for file in store.files.values() for place in file.places.values()]
    return gaps(taken, [lun.blocks // store.fs_blocks for lun in store.luns])
