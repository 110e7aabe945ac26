"""An array as this vendor sees it: which volumes, snapshots and hosts there are, and in what state.

    a volume or snapshot:   there ──destroy──▶ destroyed ──eradicate, or 24 h──▶ gone
                              ◀───── recover ────┘

What is destroyed is still the array's: it keeps its room and its name, and other interfaces to the
same array list it as what it is to them, something that nobody sees.  A volume takes its snapshots
with it, and back.

A snapshot is called after its volume here, whatever the array calls it; one that was made by
another interface has the array's name as its suffix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.pure.names import same
from stuntdouble.arrayapi.pure.refusals import Refusal, gone, missing
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from simpy.events import Event

    from stuntdouble.array import Array, Host, Pool

Thing = TypeVar("Thing")

OUI: Final = "624a9370"
"""How NAA identifiers of this vendor begin: type 6, its IEEE company id 24a937, and a zero."""

ERADICATION_SECONDS: Final = 24 * 3600.0  # the default eradication delay of Purity//FA

DESTROYED: Final = "pure.destroyed"  # since when, in site time
ENDING: Final = "pure.ending"  # while it is being eradicated
SUFFIX: Final = "pure.suffix"  # of a snapshot
GROUP: Final = "pure.group"  # of a snapshot: the group snapshot that it belongs to
SOURCE: Final = "pure.source"  # of a volume: what it was copied from, name and id
TAGS: Final = "pure.tags"  # of a volume


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the iSCSI target: host:port of its portal, and what the target is called."""

    portal: str
    iqn: str

    @property
    def address(self) -> str:
        """The portal's address without its port."""
        return self.portal.rpartition(":")[0].strip("[]")


@dataclass
class ProtectionGroup:
    """Volumes that are snapshotted together."""

    name: str
    number: int
    created: float
    members: list[Volume] = field(default_factory=list)
    destroyed: float | None = None


@dataclass
class Estate:
    """What there is, by the names of this vendor.

    Args:
        array: the array itself.
        epoch: the moment at which site time begins, in seconds since 1970.
        ports: of the iSCSI target; asked each time, since one may open later than this.
    """

    array: Array
    epoch: float
    ports: Callable[[], Sequence[Port]] = tuple
    groups: list[ProtectionGroup] = field(default_factory=list)
    counter: int = 0

    def __post_init__(self) -> None:
        if self.array.parameters.naa_prefix != OUI:
            text = f"{self.array.parameters.naa_prefix!r} is another vendor's: take {OUI!r}"
            raise Misuse(f"naa_prefix of array {self.array.name}", text)

    # Time. ---------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Site time."""
        return self.array.core.env.now

    def milliseconds(self, site_seconds: float) -> int:
        """Return a moment of the site in milliseconds since 1970."""
        return round((self.epoch + site_seconds) * 1000)

    # Volumes and snapshots. ------------------------------------------------------------------

    def volumes(self) -> list[Volume]:
        """Return every volume, destroyed ones too, in the order of their creation."""
        return sorted(self.array.inventory.volumes.values(), key=_age)

    def snapshots(self) -> list[Snapshot]:
        """Return every snapshot, destroyed ones too, in the order of their creation."""
        return sorted(self.array.inventory.snapshots.values(), key=_age)

    def find_volume(self, name: str) -> Volume | None:
        """Return the volume of this name, or None."""
        volumes = self.array.inventory.volumes
        found = volumes.get(name)  # as it is written, mostly
        return found or _named(volumes.values(), name, lambda volume: volume.name)

    def find_snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of this name, or None."""
        snapshots = self.array.inventory.snapshots
        found = snapshots.get(name)
        if found is not None and self.snapshot_name(found) == name:
            return found
        return _named(snapshots.values(), name, self.snapshot_name)

    def volume(self, name: str) -> Volume:
        """Return the volume of this name, destroyed or not; refuse where there is none."""
        found = self.find_volume(name)
        if found is None:
            raise missing("Volume", name)
        return found

    def live_volume(self, name: str) -> Volume:
        """Return the volume of this name; refuse where it is destroyed as well."""
        found = self.volume(name)
        if self.destroyed_at(found) is not None:
            raise gone("Volume", name)
        return found

    def snapshot(self, name: str) -> Snapshot:
        """Return the snapshot of this name, destroyed or not; refuse where there is none."""
        found = self.find_snapshot(name)
        if found is None:
            raise Refusal("No such volume or snapshot.", name)
        return found

    def live_either(self, name: str) -> Volume | Snapshot:
        """Return the volume or snapshot of this name, which must not be destroyed."""
        found = self.find_volume(name) or self.snapshot(name)
        if self.destroyed_at(found) is not None:
            raise gone("Volume snapshot" if isinstance(found, Snapshot) else "Volume", name)
        return found

    def snapshot_name(self, snapshot: Snapshot) -> str:
        """Return what a snapshot is called here."""
        if GROUP in snapshot.notes:
            return f"{snapshot.notes[GROUP]}.{snapshot.volume.name}"
        return f"{snapshot.volume.name}.{self.suffix(snapshot)}"

    def suffix(self, snapshot: Snapshot) -> str:
        """Return what stands behind the dot of a snapshot's name."""
        if GROUP in snapshot.notes:
            return str(snapshot.notes[GROUP]).partition(".")[2]
        suffix = snapshot.notes.get(SUFFIX)
        return snapshot.name.removeprefix(f"{snapshot.volume.name}.") if suffix is None else suffix

    def free_name(self, wanted: str) -> str:
        """Return what the array itself may call a new snapshot: as this vendor does, if it can.

        Another interface may have something of that name, which is none of this one's.
        """
        taken = self.array.inventory
        name, number = wanted, 1
        while name in taken.volumes or name in taken.snapshots:
            number += 1
            name = f"{wanted}-{number}"
        return name

    def follow_name(self, snapshot: Snapshot) -> Generator[Event, Any, None]:
        """Let the array call a snapshot what it is called here, if it can."""
        wanted = self.snapshot_name(snapshot)
        if snapshot.name != wanted:
            yield from self.array.rename(snapshot.name, self.free_name(wanted))

    def connections(self) -> Counter[str]:
        """Return how many hosts each volume is connected to, by its identifier."""
        return Counter(each.naa for each in self.array.masking.to_hosts())

    # Being destroyed. ------------------------------------------------------------------------

    def destroyed_at(self, thing: Volume | Snapshot) -> float | None:
        """Return since when something is destroyed, alone or with its volume; None if it is not.

        A snapshot that the array has given up for want of room has had its day: this vendor's
        arrays do no such thing, so it can only be told as what cannot be recovered any more.
        """
        since: float | None = thing.notes.get(DESTROYED)
        if isinstance(thing, Snapshot):
            if since is None:
                since = thing.volume.notes.get(DESTROYED)
            if not thing.valid:
                since = self.now - ERADICATION_SECONDS
        return since

    def remaining_milliseconds(self, thing: Volume | Snapshot) -> int | None:
        """Return how long something that is destroyed can be recovered; None if it is not."""
        since = self.destroyed_at(thing)
        if since is None:
            return None
        return max(0, round((since + ERADICATION_SECONDS - self.now) * 1000))

    # Hosts. ----------------------------------------------------------------------------------

    def hosts(self) -> tuple[Host, ...]:
        """Return every host, in the order of their creation."""
        return self.array.hosts.all()

    def host(self, name: str) -> Host:
        """Return the host of this name; refuse where there is none."""
        found = _named(self.hosts(), name, lambda host: host.name)
        if found is None:
            raise missing("Host", name)
        return found

    # Protection groups. ------------------------------------------------------------------------

    def group(self, name: str) -> ProtectionGroup:
        """Return the protection group of this name, destroyed or not; refuse where there is none."""
        found = _named(self.groups, name, lambda group: group.name)
        if found is None:
            raise missing("Protection group", name)
        return found

    def live_group(self, name: str) -> ProtectionGroup:
        """Return the protection group of this name; refuse where it is destroyed as well."""
        found = self.group(name)
        if found.destroyed is not None:
            raise gone("Protection group", name)
        return found

    def members(self, group: ProtectionGroup) -> Iterator[Volume]:
        """Yield the volumes of a group that are still there."""
        there = set(map(id, self.array.inventory.volumes.values()))
        return (volume for volume in group.members if id(volume) in there)

    # Room. -----------------------------------------------------------------------------------

    def pool_for(self, size_bytes: int) -> Pool:
        """Return the pool with the most room; this vendor's arrays have one, and show none."""
        if not self.array.pools:
            raise Refusal("There is not enough space on the array.", str(size_bytes))
        return max(self.array.pools.values(), key=lambda pool: pool.free_bytes)

    def next_suffix(self) -> str:
        """Return the suffix of a snapshot for which the client gave none."""
        self.counter += 1
        return str(self.counter)


def serial_of(thing: Volume | Snapshot) -> str:
    """Return a serial number: the identifier of VPD page 83 without the vendor's part."""
    return thing.naa[len(OUI) :].upper()


def _age(thing: Volume | Snapshot) -> int:
    return thing.id


def _named(things: Iterable[Thing], name: str, called: Callable[[Thing], str]) -> Thing | None:
    return next((each for each in things if same(called(each), name)), None)
