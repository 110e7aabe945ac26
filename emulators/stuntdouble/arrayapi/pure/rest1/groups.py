"""REST 1: protection groups and their snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.bodies import is_flag, is_text, is_texts
from stuntdouble.arrayapi.pure.operations import at_once, each
from stuntdouble.arrayapi.pure.refusals import Refusal, clash, missing
from stuntdouble.arrayapi.pure.rest1.calls import Call, calendar, said

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simpy.events import Event

    from stuntdouble.array import Snapshot
    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.estate import ProtectionGroup

    Work = Generator[Event, Any, Reply]
    Item = dict[str, Any]

_LOOKING: Final = {
    "names": is_texts, "snap": is_flag, "pending": is_flag, "pending_only": is_flag,
}  # fmt: skip
_OTHERS: Final = (
    "hostlist", "addhostlist", "remhostlist", "hgrouplist", "addhgrouplist", "remhgrouplist",
    "targetlist", "addtargetlist", "remtargetlist", "schedule", "retention", "space", "transfer",
    "replicate_now", "apply_retention", "replicate", "on", "snap_enabled", "replicate_enabled",
    "filter", "sort", "limit", "start", "token", "historical",
)  # fmt: skip


def _shown(call: Call, group: ProtectionGroup) -> Item:
    return {
        "name": group.name,
        "source": call.estate.array.name,
        "volumes": [volume.name for volume in call.estate.members(group)] or None,
        "hosts": None,
        "hgroups": None,
        "targets": None,
    }


def _snapshot(call: Call, name: str, parts: Sequence[Snapshot]) -> Item:
    created = calendar(call.estate, parts[0].created)
    return {"name": name, "source": name.partition(".")[0], "created": created}


def listed(call: Call) -> Work:
    """List groups, or their snapshots."""
    wanted = call.fields(_LOOKING, _OTHERS)
    estate, names = call.estate, wanted.get("names")
    groups = estate.groups if names is None else [estate.group(name) for name in names]
    yield from ()
    return said(_items(call, groups, wanted))


def one(call: Call) -> Work:
    """Show a group, or its snapshots."""
    wanted = call.fields(_LOOKING, _OTHERS)
    items = _items(call, [call.estate.group(call.names[0])], wanted)
    yield from ()
    if wanted.get("snap"):
        return said(items)
    if not items:
        raise missing("Protection group", call.names[0])
    return said(items[0])


def _items(call: Call, groups: list[ProtectionGroup], wanted: Item) -> list[Item]:
    pending, only = wanted.get("pending"), wanted.get("pending_only")

    def fits(*, destroyed: bool) -> bool:
        return bool(destroyed and (pending or only)) or (not destroyed and not only)

    if not wanted.get("snap"):
        return [
            _shown(call, group) for group in groups if fits(destroyed=group.destroyed is not None)
        ]
    names = {group.name for group in groups}
    return [
        _snapshot(call, name, parts)
        for name, parts in call.operations.groups.by_name().items()
        if name.partition(".")[0] in names
        if fits(destroyed=all(call.estate.destroyed_at(part) is not None for part in parts))
    ]


def snapshots_made(call: Call) -> Work:
    """Snapshot groups; each of them in one instant."""
    known = {"snap": is_flag, "source": is_texts, "suffix": is_text}
    fields = call.fields(known, _OTHERS)
    if not fields.get("snap") or not fields.get("source"):
        raise clash("snap, source")
    groups = call.operations.groups
    pairs = yield from each(
        fields["source"], lambda name: groups.snapshot(name, fields.get("suffix"))
    )
    return said([_snapshot(call, name, parts) for name, parts in pairs])


def made(call: Call) -> Work:
    """Make a group, with its volumes."""
    fields = call.fields({"vollist": is_texts}, _OTHERS)
    volumes = fields.get("vollist", [])
    for volume in volumes:
        call.estate.live_volume(volume)
    if len({volume.casefold() for volume in volumes}) != len(volumes):
        raise Refusal("A volume is named more than once.", "vollist")
    group = call.operations.groups.create(call.names[0])
    for volume in volumes:
        call.operations.groups.add(group.name, volume)
    yield from ()
    return said(_shown(call, group))


def changed(call: Call) -> Work:
    """Change the volumes of a group, or recover it or a snapshot of it."""
    lists = dict.fromkeys(("vollist", "addvollist", "remvollist"), is_texts)
    fields = call.fields(lists | {"action": is_text}, _OTHERS)
    (name,) = call.names
    groups = call.operations.groups
    if set(fields) == {"action"}:
        if fields["action"] != "recover":
            raise Refusal("Invalid action.", fields["action"])
        if "." in name:
            groups.recover_snapshot(name)
        else:
            groups.recover(name)
        return said({"name": name})
    if not fields or ("vollist" in fields and len(fields) > 1) or "action" in fields:
        raise clash(", ".join(fields))
    group = call.estate.live_group(name)
    more, fewer = fields.get("addvollist", []), fields.get("remvollist", [])
    if "vollist" in fields:
        now = [volume.name for volume in call.estate.members(group)]
        wanted = [call.estate.live_volume(each_).name for each_ in fields["vollist"]]
        more = [volume for volume in wanted if volume not in now]
        fewer = [volume for volume in now if volume not in wanted]
    yield from each(fewer, at_once(lambda volume: groups.remove(name, volume)))
    yield from each(more, at_once(lambda volume: groups.add(name, volume)))
    return said(_shown(call, group))


def removed(call: Call) -> Work:
    """Destroy a group or a snapshot of one; or eradicate it, once it is destroyed."""
    fields = call.fields({"eradicate": is_flag})
    (name,) = call.names
    groups, part = call.operations.groups, "." in name
    if fields.get("eradicate"):
        yield from (groups.eradicate_snapshot if part else groups.eradicate)(name)
    elif part:
        groups.destroy_snapshot(name)
    else:
        groups.destroy(name)
    return said({"name": name})


def joined(call: Call) -> Work:
    """Put a volume into a group, by the volume's path."""
    call.fields({})
    volume, group = call.names
    call.operations.groups.add(group, volume)
    yield from ()
    return said({"name": volume, "protection_group": group})


def left(call: Call) -> Work:
    """Take a volume out of a group, by the volume's path."""
    call.fields({})
    volume, group = call.names
    call.operations.groups.remove(group, volume)
    yield from ()
    return said({"name": volume, "protection_group": group})
