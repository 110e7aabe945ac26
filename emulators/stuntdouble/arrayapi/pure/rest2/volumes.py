"""REST 2: volumes, their space and their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.bodies import (
    check_fields,
    check_reference,
    is_flag,
    is_integer,
    is_object,
    is_text,
)
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

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array import Volume
    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.bodies import Query
    from stuntdouble.arrayapi.pure.estate import Estate

    Work = Generator[Event, Any, Reply]

_ELSEWHERE: Final = ("pod", "volume_group", "priority_adjustment")

_NO_LIMIT: Final = {"bandwidth_limit": 549_755_813_888, "iops_limit": 100_000_000}
"""The largest limits of a volume's I/O, by which clients say that there is none."""


def _check_qos(body: dict[str, Any]) -> None:
    """Take limits out of a body; refuse any that would limit something."""
    limits = check_fields(body.pop("qos", None), dict.fromkeys(_NO_LIMIT, is_integer), of="qos")
    for name, limit in limits.items():
        if limit < _NO_LIMIT[name]:
            raise unsupported(f"Limiting the I/O of a volume by '{name}'", "qos")


def ids(estate: Estate) -> dict[str, str]:
    """Return the volumes' names by id."""
    return {volume.uuid: volume.name for volume in estate.volumes()}


def listed(call: Call) -> Work:
    """List volumes."""
    query = call.listed("names", "ids", "destroyed", "pending", "pending_only")
    volumes = _wanted(call.estate, query)
    yield from ()
    return answer(shown.volumes(call.estate, volumes), query, shown.VOLUME)


def _wanted(estate: Estate, query: Query) -> list[Volume]:
    names = chosen(query, ids(estate))
    if names is not None:
        refuse_each(names, estate.volume)
    volumes = estate.volumes() if names is None else [estate.volume(name) for name in names]
    destroyed = query.flag("destroyed")
    if query.flag("pending_only"):
        destroyed = True
    elif query.text("pending") is not None and not query.flag("pending"):
        destroyed = False
    return [
        volume
        for volume in volumes
        if destroyed is None or destroyed is (estate.destroyed_at(volume) is not None)
    ]


def made(call: Call) -> Work:
    """Make volumes: empty ones, or copies of a volume or snapshot."""
    query = call.query(
        "names",
        "overwrite",
        "with_default_protection",
        "add_to_protection_group_names",
        "add_to_protection_group_ids",
    )
    names = query.needed("names")
    for name in ("add_to_protection_group_names", "add_to_protection_group_ids"):
        if query.text(name):
            raise unsupported(f"The query parameter '{name}'", name)
    known = {
        "provisioned": is_integer,
        "subtype": is_text,
        "source": is_object,
        "destroyed": is_flag,
        "qos": is_object,
    }
    body = check_fields(call.body(), known, _ELSEWHERE)
    _check_qos(body)
    do = _maker(call, body, overwrite=bool(query.flag("overwrite")))
    volumes = yield from each(names, do)
    return done(shown.volumes(call.estate, volumes))


def _maker(
    call: Call, body: dict[str, Any], *, overwrite: bool
) -> Callable[[str], Generator[Event, Any, Volume]]:
    if body.get("subtype", "regular") != "regular":
        raise unsupported(f"A volume of subtype '{body['subtype']}'", "subtype")
    if body.get("destroyed"):
        raise clash("destroyed")
    volumes = call.operations.volumes
    if "source" not in body:
        if overwrite or "provisioned" not in body:
            raise clash("provisioned, source, overwrite")
        return lambda name: volumes.create(name, body["provisioned"])
    if "provisioned" in body:
        raise clash("provisioned, source")
    source = _source_name(call.estate, body["source"])
    return lambda name: volumes.copy(source, name, overwrite=overwrite)


def _source_name(estate: Estate, value: dict[str, Any]) -> str:
    reference = check_reference(value, "source")
    if "name" in reference:
        return reference["name"]
    names = ids(estate)
    names |= {snapshot.uuid: estate.snapshot_name(snapshot) for snapshot in estate.snapshots()}
    if reference["id"] not in names:
        raise Refusal("No such volume or snapshot.", reference["id"])
    return names[reference["id"]]


def changed(call: Call) -> Work:
    """Rename, resize, demote, destroy or recover volumes: one of them at a time."""
    query = call.query("names", "ids", "truncate")
    names = named(query, ids(call.estate))
    known = {
        "name": is_text,
        "provisioned": is_integer,
        "destroyed": is_flag,
        "requested_promotion_state": is_text,
        "qos": is_object,
    }
    body = check_fields(call.body(), known, _ELSEWHERE)
    if set(body) == {"qos"}:
        _check_qos(body)
        volumes = yield from each(names, at_once(call.estate.live_volume))
        return done(shown.volumes(call.estate, volumes))
    if len(body) != 1 or ("name" in body and len(names) != 1):
        raise clash(", ".join(body))
    do = _changer(call, body, truncate=bool(query.flag("truncate")))
    volumes = yield from each(names, do)
    return done(shown.volumes(call.estate, volumes))


def _changer(
    call: Call, body: dict[str, Any], *, truncate: bool
) -> Callable[[str], Generator[Event, Any, Volume]]:
    volumes = call.operations.volumes
    if truncate and "provisioned" not in body:
        raise clash("truncate")
    if "provisioned" in body:
        return lambda name: volumes.resize(name, body["provisioned"], truncate=truncate)
    if "name" in body:
        return lambda name: volumes.rename(name, body["name"])
    if "requested_promotion_state" in body:
        state = body["requested_promotion_state"]
        if state not in ("promoted", "demoted"):
            raise Refusal("Invalid requested promotion state.", state)
        return at_once(lambda name: volumes.demote(name, demoted=state == "demoted"))
    return at_once(volumes.destroy if body["destroyed"] else volumes.recover)


def eradicated(call: Call) -> Work:
    """Delete destroyed volumes for good."""
    names = named(call.query("names", "ids"), ids(call.estate))
    yield from each(names, call.operations.volumes.eradicate)
    return deleted()


def spaces(call: Call) -> Work:
    """List what volumes take, now; what they took before is not kept."""
    query = call.listed("names", "ids", "destroyed")
    items = [
        {"id": one.uuid, "name": one.name, "space": shown.volume_space(one)}
        for one in _wanted(call.estate, query)
    ]
    yield from ()
    return answer(items, query, {"id": None, "name": None, "space": shown.SPACE})
