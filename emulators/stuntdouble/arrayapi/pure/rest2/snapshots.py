"""REST 2: snapshots of volumes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from stuntdouble.arrayapi.pure.bodies import check_fields, is_flag, is_text
from stuntdouble.arrayapi.pure.operations import at_once, each
from stuntdouble.arrayapi.pure.refusals import Refusal, clash, unsupported
from stuntdouble.arrayapi.pure.rest2 import shown
from stuntdouble.arrayapi.pure.rest2.calls import (
    Call,
    answer,
    chosen,
    deleted,
    done,
    named,
    refuse_each,
)
from stuntdouble.arrayapi.pure.rest2.volumes import ids as volume_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array import Snapshot
    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.bodies import Query
    from stuntdouble.arrayapi.pure.estate import Estate

    Work = Generator[Event, Any, Reply]


def ids(estate: Estate) -> dict[str, str]:
    """Return the snapshots' names by id."""
    return {each.uuid: estate.snapshot_name(each) for each in estate.snapshots()}


def _source_names(call: Call, query: Query) -> tuple[str, ...] | None:
    """Return the volumes that a request names as sources, or None."""
    names, keys = query.names("source_names"), query.names("source_ids")
    if names is not None and keys is not None:
        raise clash("source_names, source_ids")
    if keys is None:
        return names
    known = volume_ids(call.estate)
    return tuple(known.get(key, key) for key in keys)


def listed(call: Call) -> Work:
    """List snapshots."""
    query = call.listed(
        "names", "ids", "source_names", "source_ids", "destroyed", "pending", "pending_only"
    )
    estate = call.estate
    names = chosen(query, ids(estate))
    if names is not None:
        refuse_each(names, estate.snapshot)
    found = estate.snapshots() if names is None else [estate.snapshot(name) for name in names]
    sources = _source_names(call, query)
    if sources is not None:
        refuse_each(sources, estate.volume)
        volumes = [estate.volume(name) for name in sources]
        found = [snapshot for snapshot in found if snapshot.volume in volumes]
    destroyed = query.flag("destroyed")
    if query.flag("pending_only"):
        destroyed = True
    wanted = [
        snapshot
        for snapshot in found
        if destroyed is None or destroyed is (estate.destroyed_at(snapshot) is not None)
    ]
    yield from ()
    return answer([shown.snapshot(estate, snapshot) for snapshot in wanted], query, shown.SNAPSHOT)


def made(call: Call) -> Work:
    """Snapshot volumes, several of them in one instant."""
    query = call.query("source_names", "source_ids", "on", "replicate", "replicate_now")
    for name in ("on", "replicate", "replicate_now"):
        if query.text(name) not in (None, "", "false"):
            raise unsupported(f"The query parameter '{name}'", name)
    sources = _source_names(call, query)
    if sources is None:
        raise Refusal("The query parameter 'source_names' or 'source_ids' is required.", "names")
    body = check_fields(call.body(), {"suffix": is_text, "destroyed": is_flag})
    if body.get("destroyed"):
        raise clash("destroyed")
    refuse_each(sources, call.estate.live_volume)
    snapshots = yield from call.operations.snapshots.create(sources, body.get("suffix"))
    return done([shown.snapshot(call.estate, snapshot) for snapshot in snapshots])


def changed(call: Call) -> Work:
    """Rename, destroy or recover snapshots: one of them at a time."""
    names = named(call.query("names", "ids"), ids(call.estate))
    body = check_fields(call.body(), {"name": is_text, "destroyed": is_flag})
    if len(body) != 1 or ("name" in body and len(names) != 1):
        raise clash(", ".join(body))
    operations = call.operations.snapshots

    do: Callable[[str], Generator[Event, Any, Snapshot]]
    if "name" in body:
        do = partial(operations.rename, new=body["name"])
    else:
        do = at_once(operations.destroy if body["destroyed"] else operations.recover)
    snapshots = yield from each(names, do)
    return done([shown.snapshot(call.estate, snapshot) for snapshot in snapshots])


def eradicated(call: Call) -> Work:
    """Delete destroyed snapshots for good."""
    names = named(call.query("names", "ids", "replication_snapshot"), ids(call.estate))
    yield from each(names, call.operations.snapshots.eradicate)
    return deleted()
