"""How REST 2 shows what there is.  Sizes are in bytes, times in milliseconds since 1970.

What this emulator does not have is null, as on an array that does not use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stuntdouble.array import Snapshot
from stuntdouble.arrayapi.pure.estate import ERADICATION_SECONDS, SOURCE, serial_of
from stuntdouble.arrayapi.pure.hosts import PERSONALITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stuntdouble.array import Host, Volume
    from stuntdouble.arrayapi.pure.estate import Estate, ProtectionGroup
    from stuntdouble.arrayapi.pure.hosts import Connection

Item: TypeAlias = dict[str, Any]


NOTHING: Final[Item] = {"id": None, "name": None}
"""A reference to nothing."""


def space(provisioned: int, unique: int, snapshots: int) -> Item:
    """Return what something takes: volumes are laid out in full here, so nothing is reduced."""
    return {
        "data_reduction": 1.0,
        "shared": 0,
        "snapshots": snapshots,
        "system": 0,
        "thin_provisioning": 0.0,
        "total_physical": unique + snapshots,
        "total_provisioned": provisioned,
        "total_reduction": 1.0,
        "total_used": unique + snapshots,
        "unique": unique,
        "virtual": provisioned,
    }


SPACE: Final = space(0, 0, 0)

VOLUME: Final = dict.fromkeys(
    (
        "id", "name", "connection_count", "created", "destroyed", "host_encryption_key_status",
        "priority", "provisioned", "promotion_status", "requested_promotion_state", "serial",
        "subtype", "time_remaining",
    )
) | {
    "priority_adjustment": dict.fromkeys(
        ("priority_adjustment_operator", "priority_adjustment_value")
    ),
    "qos": dict.fromkeys(("bandwidth_limit", "iops_limit")),
    "space": SPACE,
    "pod": NOTHING,
    "source": NOTHING,
    "volume_group": NOTHING,
}  # fmt: skip
"""The fields of a volume, for lists that are empty; likewise those below."""

SNAPSHOT: Final = dict.fromkeys(
    ("id", "name", "created", "destroyed", "provisioned", "serial", "suffix", "time_remaining")
) | {"pod": NOTHING, "source": NOTHING, "space": SPACE, "volume_group": NOTHING}

GROUP: Final = dict.fromkeys(
    (
        "id", "name", "created", "destroyed", "host_count", "host_group_count", "is_local",
        "target_count", "time_remaining", "volume_count",
    )
) | {"pod": NOTHING, "source": NOTHING, "space": SPACE}  # fmt: skip

GROUP_SNAPSHOT: Final = dict.fromkeys(
    ("id", "name", "created", "destroyed", "suffix", "time_remaining")
) | {"pod": NOTHING, "source": NOTHING, "space": SPACE}


def volume_space(volume: Volume) -> Item:
    """Return what a volume takes; a copy has its room in common with what it was made from."""
    kept = sum(snapshot.space_bytes for snapshot in volume.snapshots)
    unique = volume.size_bytes if volume.origin is None else 0
    return space(volume.size_bytes, unique, kept)


def volumes(estate: Estate, wanted: Iterable[Volume]) -> list[Item]:
    """Return volumes."""
    connections = estate.connections()
    return [volume(estate, each, connections[each.naa]) for each in wanted]


def volume(estate: Estate, each: Volume, connections: int) -> Item:
    """Return a volume, which so many hosts see."""
    return {
        "id": each.uuid,
        "name": each.name,
        "connection_count": connections,
        "created": estate.milliseconds(each.created),
        "destroyed": estate.destroyed_at(each) is not None,
        "host_encryption_key_status": "none",
        "priority": 0,
        "priority_adjustment": {
            "priority_adjustment_operator": "+",
            "priority_adjustment_value": 0,
        },
        "provisioned": each.size_bytes,
        "qos": {"bandwidth_limit": None, "iops_limit": None},
        "serial": serial_of(each),
        "space": volume_space(each),
        "time_remaining": estate.remaining_milliseconds(each),
        "pod": NOTHING,
        "promotion_status": "demoted" if each.read_only else "promoted",
        "requested_promotion_state": "demoted" if each.read_only else "promoted",
        "source": source(each),
        "subtype": "regular",
        "volume_group": NOTHING,
    }


def source(each: Volume) -> Item:
    """Return which volume a volume was copied from."""
    noted: Item | None = each.notes.get(SOURCE)
    if noted is not None:
        return noted
    if each.origin is not None:
        return {"name": each.origin.volume.name, "id": each.origin.volume.uuid}
    return NOTHING


def snapshot(estate: Estate, each: Snapshot) -> Item:
    """Return a snapshot of a volume."""
    return {
        "id": each.uuid,
        "name": estate.snapshot_name(each),
        "created": estate.milliseconds(each.created),
        "destroyed": estate.destroyed_at(each) is not None,
        "pod": NOTHING,
        "provisioned": each.size_bytes,
        "source": {"name": each.volume.name, "id": each.volume.uuid},
        "suffix": estate.suffix(each),
        "time_remaining": estate.remaining_milliseconds(each),
        "serial": serial_of(each),
        "space": space(each.size_bytes, 0, each.space_bytes),
        "volume_group": NOTHING,
    }


def host(each: Host, connections: Sequence[Connection]) -> Item:
    """Return a host; passwords are told as stars."""
    chap = each.chap
    sizes = sum(connection.volume.size_bytes for connection in connections)
    return {
        "name": each.name,
        "chap": {
            "host_user": chap.user if chap else None,
            "host_password": "****" if chap else None,
            "target_user": (chap.mutual_user or None) if chap else None,
            "target_password": "****" if chap and chap.mutual_user else None,
        },
        "connection_count": len(connections),
        "host_group": {"name": None},
        "iqns": list(each.iqns),
        "is_local": True,
        "nqns": [],
        "personality": each.notes.get(PERSONALITY),
        "port_connectivity": {"details": None, "status": None},
        "preferred_arrays": [],
        "space": space(sizes, 0, 0),
        "vlan": "any",
        "wwns": [],
    }


def connection(each: Connection) -> Item:
    """Return a connection."""
    return {
        "host": {"name": each.host.name},
        "host_group": {"name": None},
        "lun": each.lun,
        "protocol_endpoint": NOTHING,
        "volume": {"id": each.volume.uuid, "name": each.volume.name},
    }


def group(estate: Estate, each: ProtectionGroup, snapshot_bytes: int) -> Item:
    """Return a protection group."""
    members = list(estate.members(each))
    remaining = None
    if each.destroyed is not None:
        remaining = max(0, round((each.destroyed + ERADICATION_SECONDS - estate.now) * 1000))
    return {
        "id": f"{each.number:08x}-0000-4000-8000-000000000000",
        "name": each.name,
        "created": estate.milliseconds(each.created),
        "destroyed": each.destroyed is not None,
        "host_count": 0,
        "host_group_count": 0,
        "is_local": True,
        "pod": NOTHING,
        "source": NOTHING,
        "space": space(sum(volume.size_bytes for volume in members), 0, snapshot_bytes),
        "target_count": 0,
        "time_remaining": remaining,
        "volume_count": len(members),
    }


def group_snapshot(estate: Estate, name: str, parts: Sequence[Snapshot]) -> Item:
    """Return a snapshot of a protection group."""
    since = [estate.destroyed_at(part) for part in parts]
    destroyed = all(each is not None for each in since)
    kept = sum(part.space_bytes for part in parts)
    return {
        "id": parts[0].uuid,
        "name": name,
        "created": estate.milliseconds(parts[0].created),
        "destroyed": destroyed,
        "pod": NOTHING,
        "source": NOTHING | {"name": name.partition(".")[0]},
        "space": space(sum(part.size_bytes for part in parts), 0, kept),
        "suffix": name.partition(".")[2],
        "time_remaining": estate.remaining_milliseconds(parts[0]) if destroyed else None,
    }
