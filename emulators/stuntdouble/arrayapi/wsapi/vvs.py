"""Virtual volumes as this interface sees them: volumes and array snapshots in one list.

base volume            ◀── Volume without an origin
├── read-only copy     ◀── Snapshot; mapped itself, under its own WWN
│   └── writable copy  ◀── Volume whose origin is that snapshot
└── writable copy      ◀── Volume whose origin is a snapshot that nobody sees: of a writable
                           volume there is no writable copy without a read-only one between
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.wsapi.bodies import vv_name
from stuntdouble.arrayapi.wsapi.codes import Refusal
from stuntdouble.errors import NotFound

if TYPE_CHECKING:
    from stuntdouble.array import Array, Pool

Vv: TypeAlias = Volume | Snapshot

NOTES: Final = "wsapi"  # under which this interface keeps its notes with a volume or host

BASE, PHYSICAL_COPY, VIRTUAL_COPY = 1, 2, 3  # copyType


def notes(thing: Any) -> dict[str, Any]:
    """Return what this interface keeps with a volume, a snapshot or a host."""
    found: dict[str, Any] = thing.notes.setdefault(NOTES, {})
    return found


def hidden(snapshot: Snapshot) -> bool:
    """Tell whether a snapshot only lies between a writable volume and a writable copy of it."""
    return snapshot.hidden or bool(notes(snapshot).get("hidden"))


def every(array: Array) -> list[Vv]:
    """Return every virtual volume, by its number."""
    found: list[Vv] = [*array.inventory.volumes.values()]
    found += [each for each in array.inventory.snapshots.values() if not hidden(each)]
    return sorted(found, key=lambda each: each.id)


def get(array: Array, name: str) -> Vv:
    """Return the virtual volume of this name; Refusal where there is none, or it is no name."""
    vv_name("name", name)
    try:
        found = array.inventory.either(name)
    except NotFound:
        raise Refusal("NON_EXISTENT_VOL", ref=name) from None
    if isinstance(found, Snapshot) and hidden(found):
        raise Refusal("NON_EXISTENT_VOL", ref=name)
    return found


def check_free(array: Array, name: str) -> None:
    """Refuse a name that something has."""
    if name in array.inventory.volumes or name in array.inventory.snapshots:
        raise Refusal("EXISTENT_VOL", ref=name)


def pool_of(array: Array, name: str) -> Pool:
    """Return the pool that a CPG is; Refusal where there is none."""
    if name not in array.pools:
        raise Refusal("NON_EXISTENT_CPG", ref=name)
    return array.pools[name]


def read_only(vv: Vv) -> bool:
    """Tell whether nobody may write to it."""
    return isinstance(vv, Snapshot) or vv.read_only


def parent(vv: Vv) -> Vv | None:
    """Return what it is a virtual copy of, as clients see it; None for a base volume."""
    if isinstance(vv, Snapshot):
        return vv.volume
    if vv.origin is None:
        return None
    if not hidden(vv.origin):
        return vv.origin
    return None if vv.origin.volume.deleted else vv.origin.volume


def base(vv: Vv) -> Vv:
    """Return the volume at the root of its tree of copies."""
    above = parent(vv)
    return vv if above is None else base(above)


def physical_parent(array: Array, vv: Vv) -> Volume | None:
    """Return what it is a physical copy of, if it still is one."""
    naa = notes(vv).get("physical_copy_of")
    return next((v for v in array.inventory.volumes.values() if v.naa == naa), None)


def copying(vv: Vv) -> str:
    """Return what a physical copy or a promotion does to it, or reads of it; "" for nothing."""
    if isinstance(vv, Volume) and vv.writer is not None:
        return f"a copy of {vv.writer.source} is written to it"
    return f"it is copied to {vv.readers[0].subject}" if vv.readers else ""


def stale(vv: Vv) -> bool:
    """Tell whether the array has given its image up."""
    return not vv.valid if isinstance(vv, Snapshot) else not vv.readable


def children(vv: Vv) -> list[Vv]:
    """Return its virtual copies, as clients see them."""
    if isinstance(vv, Snapshot):
        return list(vv.copies)
    found: list[Vv] = []
    for snapshot in vv.snapshots + vv.kept:
        found += snapshot.copies if hidden(snapshot) else [snapshot]
    return found


def exported(array: Array, vv: Vv) -> bool:
    """Tell whether any host sees it."""
    return any(mapping.naa == vv.naa for mapping in array.masking.to_hosts())
