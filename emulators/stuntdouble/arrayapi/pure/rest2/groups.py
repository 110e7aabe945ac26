"""REST 2: protection groups, their volumes and their snapshots."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.bodies import check_fields, is_flag, is_text
from stuntdouble.arrayapi.pure.operations import at_once, each
from stuntdouble.arrayapi.pure.refusals import clash, unsupported
from stuntdouble.arrayapi.pure.rest2 import shown
from stuntdouble.arrayapi.pure.rest2.calls import (
    Call,
    answer,
    deleted,
    done,
    refuse_each,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array import Volume
    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.estate import ProtectionGroup

    Work = Generator[Event, Any, Reply]

_ELSEWHERE: Final = (
    "pod", "replication_schedule", "snapshot_schedule", "source_retention", "target_retention",
    "retention_lock", "source", "eradication_config",
)  # fmt: skip
_MEMBERS: Final = {"group": {"name": None}, "member": {"id": None, "name": None}}


def _shown(call: Call, group: ProtectionGroup) -> dict[str, Any]:
    kept = sum(part.space_bytes for part in call.operations.groups.snapshots(group))
    return shown.group(call.estate, group, kept)


def listed(call: Call) -> Work:
    """List protection groups."""
    query = call.listed("names", "destroyed")
    names, destroyed = query.names("names"), query.flag("destroyed")
    if names is not None:
        refuse_each(names, call.estate.group)
    found = call.estate.groups if names is None else [call.estate.group(name) for name in names]
    wanted = [g for g in found if destroyed is None or destroyed is (g.destroyed is not None)]
    yield from ()
    return answer([_shown(call, group) for group in wanted], query, shown.GROUP)


def made(call: Call) -> Work:
    """Make protection groups."""
    names = call.query("names", "overwrite").needed("names")
    check_fields(call.body(), {}, _ELSEWHERE)
    groups = yield from each(names, at_once(call.operations.groups.create))
    return done([_shown(call, group) for group in groups])


def changed(call: Call) -> Work:
    """Destroy or recover protection groups."""
    names = call.query("names").needed("names")
    body = check_fields(call.body(), {"destroyed": is_flag}, ("name", *_ELSEWHERE))
    if len(body) != 1:
        raise clash("body")
    operations = call.operations.groups
    do = operations.destroy if body["destroyed"] else operations.recover
    groups = yield from each(names, at_once(do))
    return done([_shown(call, group) for group in groups])


def eradicated(call: Call) -> Work:
    """Delete destroyed protection groups for good."""
    names = call.query("names").needed("names")
    yield from each(names, call.operations.groups.eradicate)
    return deleted()


# Members. ------------------------------------------------------------------------------------


def members(call: Call) -> Work:
    """List which volume belongs to which group."""
    query = call.listed("group_names", "member_names")
    groups, volumes = query.names("group_names"), query.names("member_names")
    refuse_each(groups or (), call.estate.group)
    refuse_each(volumes or (), call.estate.volume)
    chosen = [call.estate.volume(name) for name in volumes or ()]
    items = [
        _member(group, volume)
        for group in ([call.estate.group(n) for n in groups] if groups else call.estate.groups)
        for volume in call.estate.members(group)
        if volumes is None or volume in chosen
    ]
    yield from ()
    return answer(items, query, _MEMBERS)


def _member(group: ProtectionGroup, volume: Volume) -> dict[str, Any]:
    return {"group": {"name": group.name}, "member": {"id": volume.uuid, "name": volume.name}}


def joined(call: Call) -> Work:
    """Put volumes into groups."""
    query = call.query("group_names", "member_names")
    volumes = query.needed("member_names")
    items = []
    for group in query.needed("group_names"):
        do = at_once(partial(call.operations.groups.add, group))
        items += [_member(*pair) for pair in (yield from each(volumes, do))]
    return done(items)


def left(call: Call) -> Work:
    """Take volumes out of groups."""
    query = call.query("group_names", "member_names")
    volumes = query.needed("member_names")
    for group in query.needed("group_names"):
        yield from each(volumes, at_once(partial(call.operations.groups.remove, group)))
    return deleted()


# Snapshots of groups. ------------------------------------------------------------------------


def snapshots(call: Call) -> Work:
    """List the snapshots of groups."""
    query = call.listed("names", "source_names", "destroyed")
    names, sources = query.names("names"), query.names("source_names")
    destroyed = query.flag("destroyed")
    refuse_each(names or (), call.operations.groups.parts)
    refuse_each(sources or (), call.estate.group)
    folded = None if names is None else {name.casefold() for name in names}
    owners = None if sources is None else {call.estate.group(name).name for name in sources}
    items = [
        shown.group_snapshot(call.estate, name, parts)
        for name, parts in call.operations.groups.by_name().items()
        if folded is None or name.casefold() in folded
        if owners is None or name.partition(".")[0] in owners
    ]
    wanted = [item for item in items if destroyed is None or item["destroyed"] is destroyed]
    yield from ()
    return answer(wanted, query, shown.GROUP_SNAPSHOT)


def snapshot(call: Call) -> Work:
    """Snapshot groups; each of them in one instant."""
    query = call.query("source_names", "apply_retention", "replicate", "replicate_now")
    for name in ("apply_retention", "replicate", "replicate_now"):
        if query.flag(name):
            raise unsupported(f"The query parameter '{name}'", name)
    body = check_fields(call.body(), {"suffix": is_text})
    pairs = yield from each(
        query.needed("source_names"),
        lambda name: call.operations.groups.snapshot(name, body.get("suffix")),
    )
    return done([shown.group_snapshot(call.estate, name, parts) for name, parts in pairs])


def snapshot_changed(call: Call) -> Work:
    """Destroy or recover snapshots of groups."""
    names = call.query("names").needed("names")
    body = check_fields(call.body(), {"destroyed": is_flag})
    if len(body) != 1:
        raise clash("body")
    operations = call.operations.groups
    do = operations.destroy_snapshot if body["destroyed"] else operations.recover_snapshot
    found = yield from each(names, at_once(lambda name: (name, do(name))))
    return done([shown.group_snapshot(call.estate, name, parts) for name, parts in found])


def snapshot_eradicated(call: Call) -> Work:
    """Delete destroyed snapshots of groups for good."""
    names = call.query("names").needed("names")
    yield from each(names, call.operations.groups.eradicate_snapshot)
    return deleted()
