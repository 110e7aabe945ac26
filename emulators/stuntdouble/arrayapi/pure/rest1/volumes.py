"""REST 1: volumes and their snapshots, which share one path and one space of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.pure.bodies import is_flag, is_size, is_text, is_texts
from stuntdouble.arrayapi.pure.estate import serial_of
from stuntdouble.arrayapi.pure.refusals import Refusal, clash, unsupported
from stuntdouble.arrayapi.pure.rest1.calls import Call, calendar, said, seconds_left, size_of
from stuntdouble.arrayapi.pure.rest2.shown import source, volume_space

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.estate import Estate

    Work = Generator[Event, Any, Reply]
    Item = dict[str, Any]

_LOOKING: Final = {
    "names": is_texts,
    "snap": is_flag,
    "space": is_flag,
    "pending": is_flag,
    "pending_only": is_flag,
}
_ELSEWHERE: Final = (
    "action", "historical", "protect", "connect", "qos", "filter", "sort", "limit", "start",
    "token", "tags", "total", "bytes", "offload",
)  # fmt: skip


def shown(estate: Estate, thing: Volume | Snapshot) -> Item:
    """Return a volume or snapshot."""
    if isinstance(thing, Snapshot):
        name, origin = estate.snapshot_name(thing), thing.volume.name
        size = thing.size_bytes
    else:
        name, origin, size = thing.name, source(thing)["name"], thing.size_bytes
    return {
        "name": name,
        "source": origin,
        "serial": serial_of(thing),
        "size": size,
        "created": calendar(estate, thing.created),
    }


def _space(estate: Estate, thing: Volume | Snapshot) -> Item:
    if isinstance(thing, Snapshot):
        return {
            "name": estate.snapshot_name(thing),
            "size": thing.size_bytes,
            "total": thing.space_bytes,
            "snapshots": thing.space_bytes,
        }
    taken = volume_space(thing)
    return {
        "name": thing.name,
        "size": thing.size_bytes,
        "total": taken["total_physical"],
        "volumes": taken["unique"],
        "snapshots": taken["snapshots"],
        "shared_space": taken["shared"],
        "system": taken["system"],
        "data_reduction": taken["data_reduction"],
        "total_reduction": taken["total_reduction"],
        "thin_provisioning": taken["thin_provisioning"],
    }


def _listed(call: Call, things: list[Volume] | list[Snapshot], wanted: Item) -> list[Item]:
    """Return what is asked of some things: those that are destroyed only on request."""
    estate = call.estate
    pending = wanted.get("pending") or wanted.get("pending_only")
    found = []
    for thing in things:
        left = estate.remaining_milliseconds(thing)
        if (left is not None and not pending) or (left is None and wanted.get("pending_only")):
            continue
        item = _space(estate, thing) if wanted.get("space") else shown(estate, thing)
        found.append(item | ({"time_remaining": seconds_left(left)} if pending else {}))
    return found


def listed(call: Call) -> Work:
    """List volumes, or all snapshots."""
    wanted = call.fields(_LOOKING, _ELSEWHERE)
    estate, names = call.estate, wanted.get("names")
    yield from ()
    if not wanted.get("snap"):
        found = estate.volumes() if names is None else [estate.volume(name) for name in names]
        return said(_listed(call, found, wanted))
    if names is None:
        return said(_listed(call, estate.snapshots(), wanted))
    return said(_listed(call, [s for name in names for s in _snapshots(estate, name)], wanted))


def _snapshots(estate: Estate, name: str) -> list[Snapshot]:
    """Return the snapshots of a volume, or the one of this name."""
    volume = estate.find_volume(name)
    if volume is None:
        return [estate.snapshot(name)]
    return [snapshot for snapshot in estate.snapshots() if snapshot.volume is volume]


def one(call: Call) -> Work:
    """Show a volume or snapshot; or the snapshots of a volume."""
    wanted = call.fields({k: v for k, v in _LOOKING.items() if k != "names"}, _ELSEWHERE)
    estate, (name,) = call.estate, call.names
    yield from ()
    if wanted.get("snap"):
        return said(_listed(call, _snapshots(estate, name), wanted))
    thing = estate.find_volume(name) or estate.find_snapshot(name)
    if thing is None:
        raise Refusal("Volume does not exist.", name)
    things: Any = [thing]
    items = _listed(call, things, wanted)
    if not items:
        raise Refusal("Volume does not exist.", name)  # for this version, what is destroyed is not
    return said(items[0])


def snapshots_made(call: Call) -> Work:
    """Snapshot volumes, all of them in one instant."""
    known = {"snap": is_flag, "source": is_texts, "suffix": is_text}
    fields = call.fields(known, ("replicate_now", "on", "for_replication", "allow_throttle"))
    if not fields.get("snap") or not fields.get("source"):
        raise clash("snap, source")
    made = yield from call.operations.snapshots.create(fields["source"], fields.get("suffix"))
    return said([shown(call.estate, snapshot) for snapshot in made])


def made(call: Call) -> Work:
    """Make a volume: an empty one, or a copy."""
    known = {"size": is_size, "source": is_text, "overwrite": is_flag}
    fields = call.fields(known, ("protocol_endpoint", "bandwidth_limit", "iops_limit"))
    (name,) = call.names
    if ("size" in fields) is ("source" in fields):
        raise clash("size, source")
    volumes = call.operations.volumes
    if "source" in fields:
        overwrite = fields.get("overwrite", False)
        volume = yield from volumes.copy(fields["source"], name, overwrite=overwrite)
    else:
        volume = yield from volumes.create(name, size_of(fields["size"]))
    return said(shown(call.estate, volume))


def changed(call: Call) -> Work:
    """Rename, resize, demote or recover a volume or snapshot."""
    known = {
        "name": is_text,
        "size": is_size,
        "truncate": is_flag,
        "action": is_text,
        "requested_promotion_state": is_text,
    }
    fields = call.fields(known, ("container", "bandwidth_limit", "iops_limit"))
    kinds = set(fields) - {"truncate"}
    if len(kinds) != 1 or ("truncate" in fields and kinds != {"size"}):
        raise clash(", ".join(fields))
    (name,) = call.names
    snapshot = call.estate.find_volume(name) is None and call.estate.find_snapshot(name)
    if snapshot:
        return said((yield from _snapshot_changed(call, name, fields)))
    volumes = call.operations.volumes
    if "name" in fields:
        volume = yield from volumes.rename(name, fields["name"])
    elif "size" in fields:
        size, truncate = size_of(fields["size"]), fields.get("truncate", False)
        volume = yield from volumes.resize(name, size, truncate=truncate)
        return said({"name": volume.name, "size": volume.size_bytes})
    elif "action" in fields:
        if fields["action"] != "recover":
            raise Refusal("Invalid action.", fields["action"])
        volume = volumes.recover(name)
    else:
        return said(_demoted(call, name, fields["requested_promotion_state"]))
    return said({"name": volume.name})


def _snapshot_changed(call: Call, name: str, fields: Item) -> Generator[Event, Any, Item]:
    if fields.get("action") == "recover":
        snapshot = call.operations.snapshots.recover(name)
    elif "name" in fields:
        snapshot = yield from call.operations.snapshots.rename(name, fields["name"])
    else:
        raise unsupported("This change of a snapshot", name)
    return {"name": call.estate.snapshot_name(snapshot)}


def _demoted(call: Call, name: str, state: str) -> Item:
    if state not in ("promoted", "demoted"):
        raise Refusal("Invalid requested promotion state.", state)
    volume = call.operations.volumes.demote(name, demoted=state == "demoted")
    return {"name": volume.name, "promotion_status": state, "requested_promotion_state": state}


def removed(call: Call) -> Work:
    """Destroy a volume or snapshot; or eradicate it, once it is destroyed."""
    fields = call.fields({"eradicate": is_flag})
    (name,) = call.names
    estate = call.estate
    snapshot = estate.find_volume(name) is None and estate.find_snapshot(name) is not None
    if fields.get("eradicate"):
        eradicate = call.operations.volumes.eradicate
        if snapshot:
            eradicate = call.operations.snapshots.eradicate
        yield from eradicate(name)
    elif snapshot:
        call.operations.snapshots.destroy(name)
    else:
        call.operations.volumes.destroy(name)
    return said({"name": name})


def seen_by(call: Call) -> Work:
    """List the hosts that a volume is connected to."""
    call.fields({})
    volume = call.estate.volume(call.names[0])
    yield from ()
    return said(
        [
            {
                "name": volume.name,
                "host": found.host.name,
                "lun": found.lun,
                "size": volume.size_bytes,
            }
            for found in call.operations.hosts.connections(volume=volume)
        ]
    )


def seen_by_groups(call: Call) -> Work:
    """List the host groups that a volume is connected to: there are none."""
    call.fields({})
    call.estate.volume(call.names[0])
    yield from ()
    return said([])
