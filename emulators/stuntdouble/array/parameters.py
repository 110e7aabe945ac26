"""What an emulated array is made of and how it behaves: numbers, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from stuntdouble.errors import Misuse, Unsupported
from stuntdouble.iops import OUTSTANDING_MAX, Raid
from stuntdouble.site import REPLICAS_MAX
from stuntdouble.units import KIB, MIB, SIZE_BYTES_MAX

if TYPE_CHECKING:
    from stuntdouble.iops import Cache, Service

COUNT_MAX: Final = 1 << 20
"""Of snapshots and copies.  Chosen: a hundred times what any array's data sheet has."""

LUN_MAX: Final = 16383
"""The last LUN number of flat space addressing: 14 bits (SAM-5, 4.7.7.2)."""

SnapshotKind = Literal["copy-on-write", "redirect-on-write", "split-mirror"]
CopyPolicy = Literal["copy-into-newest", "copy-into-each"]
Exhaustion = Literal["invalidate", "refuse"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Policies, times and limits of an array.

    Where a number has no source it says so; it is then an assumption that a report should state.

    Args:
        snapshot_kind: copy-on-write (HPE 3PAR, LVM) pays a read and a write before the first
            overwrite of a chunk; redirect-on-write (NetApp ONTAP, Pure) a read when a chunk is
            overwritten in part; a split mirror (EMC TimeFinder/Mirror, Hitachi ShadowImage) a
            synchronisation beforehand, a second write of everything while it is synchronised, and
            nothing once it is split.
        copy_policy: which of several copy-on-write snapshots of a volume get a copy of a chunk
            before it is overwritten.  "copy-into-newest" (HPE 3PAR): the newest alone, older ones
            look through it.  "copy-into-each" (Linux: "the original data will be saved in the COW
            device of each snapshot", device-mapper/snapshot.txt): every one that lacks it, in
            space of its own, 32 of a volume at most.  The chunk is read once; Linux reads it for
            each.
        chunk_bytes: the unit of copying or redirecting, a power of two.  64 KiB is the smallest
            chunk of Linux dm-thin; real arrays lie between 4 KiB and 1 MiB.
        reserve_fraction: share of a pool set aside for snapshots where its ``PoolSpec`` does not
            say; 5 % is ONTAP's default snapshot reserve.
        exhaustion: what happens when the reserve is full and a host write needs a copy (both are
            policies of HPE 3PAR): "invalidate" (stale snapshot) gives up snapshots of the written
            volume, oldest first; "refuse" (no stale) lets the write fail.
        mirror_pool: the pool where mirrors lie; empty for that of the volume.
        mirrors_per_volume_max: three secondary volumes of a primary one (Hitachi ShadowImage).
        synchronise_bytes_per_second: the pace of a synchronisation, of a physical copy and of a
            revert, 0 for as fast as the devices go; no source (arrays let it be chosen).
        synchronise_io_bytes: what one read and one write of it copy; no source.
        synchronise_depth: how many of them are under way; no source.
        fence_seconds: how long no I/O is admitted to the volumes while their snapshot is taken.
            No published figure; VSS wants a commit within 1 s, ONTAP gives its fence 7 s at most.
        fence_seconds_per_volume: longer by this for every further volume of a consistency group;
            no source.
        snapshot_create_seconds, map_seconds, unmap_seconds, delete_seconds: 1 s each in a
            published break-down of a backup from storage snapshots.  The time of a request as its
            client sees it; the fence comes on top.
        promote_seconds, create_seconds, grow_seconds: no source; taken to be other such requests.
            ``create_seconds`` is that of a new volume, and before a copy begins.
        snapshots_per_volume_max: 500 virtual copies of a base volume (HPE 3PAR).  ONTAP: 255 up
            to 9.3, 1023 from 9.4 on.
        snapshots_max: of the whole array; no source.
        copies_per_snapshot_max: 256 writable copies of a read-only one (HPE 3PAR).
        lun_max: 255 is the last LUN number of peripheral device addressing, 16383 that of flat
            space addressing (SAM-5).
        name_length_max: 31 characters (HPE WSAPI error 57 beyond that).
        reclaim_bytes_per_second: the pace at which space of deleted snapshots comes free, 0 for as
            fast as the devices go; no source.
        reclaim_extent_bytes: the space that one read and one write of metadata give back; no
            source.
    """

    snapshot_kind: SnapshotKind = "copy-on-write"
    chunk_bytes: int = 64 * KIB
    reserve_fraction: float = 0.05
    exhaustion: Exhaustion = "invalidate"
    copy_policy: CopyPolicy = "copy-into-newest"
    mirror_pool: str = ""
    mirrors_per_volume_max: int = 3
    synchronise_bytes_per_second: float = 64.0 * MIB
    synchronise_io_bytes: int = 256 * KIB
    synchronise_depth: int = 2
    fence_seconds: float = 0.1
    fence_seconds_per_volume: float = 0.0
    snapshot_create_seconds: float = 1.0
    promote_seconds: float = 1.0
    create_seconds: float = 1.0
    grow_seconds: float = 1.0
    map_seconds: float = 1.0
    unmap_seconds: float = 1.0
    delete_seconds: float = 1.0
    snapshots_per_volume_max: int = 500
    snapshots_max: int = 8000
    copies_per_snapshot_max: int = 256
    lun_max: int = 255
    name_length_max: int = 31
    reclaim_bytes_per_second: float = 256.0 * MIB
    reclaim_extent_bytes: int = MIB

    def __post_init__(self) -> None:
        if self.snapshot_kind not in ("copy-on-write", "redirect-on-write", "split-mirror"):
            supported = "copy-on-write, redirect-on-write and split-mirror are"
            raise Unsupported(f"snapshot kind {self.snapshot_kind!r}", supported)
        self._check_policies()
        self._check_numbers()

    def _check_policies(self) -> None:
        if self.copy_policy not in ("copy-into-newest", "copy-into-each"):
            text = f"{self.copy_policy!r} is neither 'copy-into-newest' nor 'copy-into-each'"
            raise Misuse("copy_policy", text)
        if self.copy_policy == "copy-into-each" and self.snapshot_kind != "copy-on-write":
            raise Misuse("copy_policy", f"{self.snapshot_kind} copies into no snapshot")
        if self.mirror_pool and self.snapshot_kind != "split-mirror":
            raise Misuse("mirror_pool", f"{self.snapshot_kind} has no mirrors")
        if self.exhaustion not in ("invalidate", "refuse"):
            raise Misuse("exhaustion", f"{self.exhaustion!r} is neither 'invalidate' nor 'refuse'")

    def _check_numbers(self) -> None:
        chunk = self.chunk_bytes
        if not 512 <= chunk <= SIZE_BYTES_MAX or chunk & (chunk - 1):
            wanted = f"a power of two from 512 to {SIZE_BYTES_MAX}"
            raise Misuse("chunk_bytes", f"{chunk} is not {wanted}")
        if not 0.0 <= self.reserve_fraction < 1.0:
            raise Misuse("reserve_fraction", f"{self.reserve_fraction} is not in [0, 1)")
        if not 0 <= self.lun_max <= LUN_MAX:
            raise Unsupported(f"LUN {self.lun_max}", f"LUN numbers are 0 to {LUN_MAX}")
        if not 1 <= self.mirrors_per_volume_max <= REPLICAS_MAX:
            text = f"{self.mirrors_per_volume_max} is not 1 to {REPLICAS_MAX}"
            raise Misuse("mirrors_per_volume_max", text)
        for whole, most in _MOST.items():
            if not 1 <= getattr(self, whole) <= most:
                raise Misuse(whole, f"{getattr(self, whole)} is not 1 to {most}")
        for name in (
            "fence_seconds", "fence_seconds_per_volume", "snapshot_create_seconds",
            "promote_seconds", "create_seconds", "grow_seconds", "map_seconds", "unmap_seconds", "delete_seconds",
            "reclaim_bytes_per_second", "synchronise_bytes_per_second",
        ):  # fmt: skip
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise Misuse(name, f"{getattr(self, name)} is not 0 or more")


_MOST: Final = {
    "reclaim_extent_bytes": SIZE_BYTES_MAX,
    "synchronise_io_bytes": SIZE_BYTES_MAX,
    "synchronise_depth": OUTSTANDING_MAX,
    "snapshots_per_volume_max": COUNT_MAX,
    "snapshots_max": COUNT_MAX,
    "copies_per_snapshot_max": COUNT_MAX,
    "name_length_max": COUNT_MAX,
}


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool is built from.

    Args:
        name: unique in the array.
        device: one disk, or one flash channel.
        raid: how blocks are spread; the redundancy takes its share of the capacity.
        disks: how many disks.
        disk_bytes: capacity of each.
        stripe_bytes: how much lies on one disk before the next one's turn.
        pooled: all disks behind one queue, with ``servers`` of them served at a time (flash
            channels), instead of a queue for each disk.  Only without redundancy.
        servers: I/Os that a station serves at a time: 1 for a disk.
        port: the front-end port that hosts' bytes cross, or None for one that is never in the way.
        blocking: whether a write waits while the old data of its chunk is being copied for a
            snapshot: Linux dm-snapshot and LVM do so, arrays with a write-back cache do not (see
            ``stuntdouble.iops.copies``).  Without meaning where writes are redirected.
        foreground_first: whether disks and port serve what guests ask for before what backups,
            consolidations and restores do.
        cache: the write-back cache before the disks, or None: a host write then ends only when
            the disks have it.
        reserve_bytes: snapshot reserve, out of the pool's capacity; None takes the array's
            ``reserve_fraction`` of it.
    """

    name: str
    device: Service
    raid: Raid
    disks: int
    disk_bytes: int
    stripe_bytes: int = 64 * KIB
    pooled: bool = False
    servers: int = 1
    port: Service | None = None
    blocking: bool = False
    foreground_first: bool = False
    cache: Cache | None = None
    reserve_bytes: int | None = None

    def __post_init__(self) -> None:
        if min(self.disks, self.disk_bytes, self.stripe_bytes, self.servers) < 1:
            raise Misuse(
                f"pool {self.name}", "disks, disk_bytes, stripe_bytes and servers start at 1"
            )
        if self.pooled and self.raid is not Raid.RAID0:
            raise Unsupported(
                f"{self.raid.name} behind one queue", "pooled devices are RAID0; or let each queue"
            )
