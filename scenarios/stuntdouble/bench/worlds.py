"""What the benchmarks' worlds have in common: an engine on a site, a tally, a keeper of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from stuntdouble.bench.tally import Tally
from stuntdouble.clock import Environment
from stuntdouble.iops import Reference
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.site import COPY_ON_WRITE, Site
from stuntdouble.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.iops import Guest
    from stuntdouble.site import File, Image, Lun

Content = Literal["bytes", "counts"]
EngineName = Literal["specification", "compiled"]

BLOCK: Final = 4096  # bytes of a content block, the project's default
FS_BLOCKS: Final = MIB // BLOCK  # 1 MiB file-system blocks, as VMFS 5 and later have
CHUNK_BLOCKS: Final = 64 * KIB // BLOCK  # of storage snapshots, the emulated array's default
GRAIN_BLOCKS: Final = 64 * KIB // BLOCK  # of change tracking, the emulated hypervisor's default
STUN_SECONDS: Final = 0.2  # besides the drain: published stuns lie between 0.1 and 0.4 s
FENCE_SECONDS: Final = 0.1  # around a storage snapshot, the emulated array's default
DISK_GIB: Final = 200  # provisioned: what it costs is maps, not memory, until it is written
GROWTH: Final = 16  # file-system blocks by which a delta grows: 16 MiB, the least of VMFSsparse

ENGINES: Final[dict[EngineName, Callable[..., Any]]] = {
    "specification": Reference,
    "compiled": CompiledEngine,
}


class Scenario(Protocol):
    """A world that can be built anew for each run."""

    @property
    def warm_up_seconds(self) -> float:
        """Site time before the measurement."""
        ...

    @property
    def seconds(self) -> float:
        """Site time that is measured."""
        ...

    def build(self, engine: EngineName, content: Content) -> World:
        """Return a world whose load has begun."""
        ...


@dataclass(eq=False)
class World:
    """An engine on a site, and what it has done so far."""

    env: Environment
    site: Site
    engine: Any
    tally: Tally

    @property
    def events(self) -> int:
        """Ends of service, arrivals and control: what a heap had to hold."""
        arrived: int = sum(guest.arrived for guest in self.engine.guests)
        return int(self.tally.by_purpose.sum()) + arrived

    def stunned(
        self, guest: Guest, act: Callable[[], object] = lambda: None
    ) -> Generator[Event, Any, None]:
        """Stun a VM for as long as it takes, and act at the end of it."""
        self.engine.stun(guest)
        yield self.engine.drained(guest)
        yield self.env.timeout(STUN_SECONDS)
        act()
        self.engine.resume(guest)

    def frozen(self, lun: Lun) -> Generator[Event, Any, Image]:
        """Take a storage snapshot of a LUN behind a fence."""
        self.engine.fence([lun])
        yield self.env.timeout(FENCE_SECONDS)
        (image,) = self.site.freeze([lun], COPY_ON_WRITE)
        self.engine.unfence([lun])
        return image

    def fired(self) -> dict[str, float]:
        """Return how often each kind of side I/O has come about, and the foreground writes."""
        return {}

    def facts(self) -> dict[str, float]:
        """Return what else is worth telling of this world."""
        return {}


AnyWorld = TypeVar("AnyWorld", bound=World)


def new_world(engine: EngineName, content: Content, seed: int, kind: type[AnyWorld]) -> AnyWorld:
    """Return an empty world with an engine whose meter is a tally."""
    env, site = Environment(), Site(block_bytes=BLOCK, content=content)
    tally = Tally()
    return kind(env, site, ENGINES[engine](env, site, seed, tally), tally)


class Slots:
    """Keeps a store whose base files lie in slots of a LUN, one behind the other, deltas at its end.

    A base file's blocks are where a thick disk would have them, though only those that are used get
    a place: a place costs memory of Python's, 200 GiB of them 29 MB.
    """

    def __init__(self, slots: int, slot_blocks: int, fs_bytes: int = MIB) -> None:
        self.slot_blocks = slot_blocks
        self._fs_bytes = fs_bytes
        self.metadata_ios = 0
        self._slots = dict[str, int]()
        self._next = slots * slot_blocks
        self._free: list[int] = []

    def start_bytes(self, name: str) -> int:
        """Return where in the LUN a base file begins."""
        return self._slots[name] * self.slot_blocks * self._fs_bytes

    def settle_in(self, file: File, used_bytes: int) -> None:
        """Give a base file its slot, and places for the part of it that is used."""
        self._slots[file.name] = len(self._slots)
        for index in range(-(-used_bytes // self._fs_bytes)):
            self.provide(file, index)

    def provide(self, file: File, index: int) -> int:
        """Place a block of a base file, or let a delta grow."""
        self.metadata_ios += 1
        if not file.sparse:
            file.place(index, 0, self._slots[file.name] * self.slot_blocks + index)
            return 1
        most = file.blocks // file.store.fs_blocks + 1
        for at in range(index, min(index + GROWTH, most)):
            file.place(at, 0, self._free.pop() if self._free else self._fresh())
        return 1

    def delete(self, file: File) -> None:
        """Delete a delta's file; its blocks are for the next one."""
        self._free += [block for _, block in file.store.delete_file(file.name)]

    def _fresh(self) -> int:
        self._next += 1
        return self._next - 1


def disk_blocks() -> int:
    """Return the content blocks of a disk."""
    return DISK_GIB * GIB // BLOCK
