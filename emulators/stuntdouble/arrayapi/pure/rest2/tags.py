"""REST 2: tags, which are keys and values that clients keep with a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.bodies import check_fields, check_reference, is_flag, is_text
from stuntdouble.arrayapi.pure.estate import TAGS
from stuntdouble.arrayapi.pure.refusals import Refusal, clash, missing
from stuntdouble.arrayapi.pure.rest2.calls import Call, answer, deleted, done, refuse_each
from stuntdouble.arrayapi.pure.rest2.volumes import ids

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array import Volume
    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.bodies import Query

    Work = Generator[Event, Any, Reply]
    Item = dict[str, Any]

DEFAULT: Final = "default"  # the namespace of a tag that names none
TAGS_MAX: Final = 128  # of a volume.  Chosen.
TEXT_LENGTH_MAX: Final = {"key": 64, "namespace": 64, "value": 256}
"""Characters, as the REST 2 reference has them."""

_EXAMPLE: Final = dict.fromkeys(("namespace", "key", "value", "copyable")) | {
    "resource": {"id": None, "name": None}
}


def listed(call: Call) -> Work:
    """List the tags of volumes, of one namespace unless several are named."""
    query = call.listed("resource_names", "resource_ids", "namespaces", "resource_destroyed")
    spaces = query.names("namespaces") or (DEFAULT,)
    items = [
        _item(volume, space, key, value, copyable)
        for volume in _volumes(call, query)
        for (space, key), (value, copyable) in volume.notes.get(TAGS, {}).items()
        if space in spaces
    ]
    yield from ()
    return answer(items, query, _EXAMPLE)


def put(call: Call) -> Work:
    """Set tags of volumes, all of them or none."""
    query = call.query("resource_names", "resource_ids")
    body = call.body()
    if not isinstance(body, list) or not body:
        raise Refusal("Invalid body: a list of tags is expected.", "body")
    named = query.text("resource_names") is not None or query.text("resource_ids") is not None
    volumes = _volumes(call, query) if named else []
    wanted = [(volume, tag) for each in body for volume, tag in _one(call, each, volumes)]
    for volume, tag in wanted:
        tags = volume.notes.get(TAGS, {})
        new = {(t["namespace"], t["key"]) for v, t in wanted if v is volume} - set(tags)
        if len(tags) + len(new) > TAGS_MAX:
            raise Refusal(f"A volume has at most {TAGS_MAX} tags.", tag["key"])
    items = []
    for volume, tag in wanted:
        place = (tag["namespace"], tag["key"])
        volume.notes.setdefault(TAGS, {})[place] = (tag["value"], tag["copyable"])
        items.append(_item(volume, *place, tag["value"], tag["copyable"]))
    yield from ()
    return done(items)


def _one(call: Call, each: Any, volumes: list[Volume]) -> list[tuple[Volume, Item]]:
    """Return a tag with each volume that gets it: those of the request, or its own."""
    known = {"key": is_text, "value": is_text, "namespace": is_text, "copyable": is_flag}
    fields = check_fields(each, known | {"resource": lambda value: isinstance(value, dict)})
    tag: Item = {"namespace": DEFAULT, "copyable": True} | fields
    for name, most in TEXT_LENGTH_MAX.items():
        if name not in tag or len(tag[name]) > most or (name != "value" and not tag[name]):
            raise Refusal(f"Invalid tag: '{name}' must have 1 to {most} characters.", name)
    own = fields.get("resource")
    if (own is None) is (not volumes):
        raise clash("resource, resource_names")
    if own is None:
        return [(volume, tag) for volume in volumes]
    reference = check_reference(own, "resource")
    name = reference.get("name") or ids(call.estate).get(reference.get("id", ""), "")
    return [(call.estate.live_volume(name), tag)]


def removed(call: Call) -> Work:
    """Take tags of volumes away, all of them or none."""
    query = call.query("resource_names", "resource_ids", "keys", "namespaces")
    keys, spaces = query.needed("keys"), query.names("namespaces") or (DEFAULT,)
    if query.text("resource_names") is None and query.text("resource_ids") is None:
        raise Refusal("The query parameter 'resource_names' is required.", "resource_names")
    volumes = _volumes(call, query)
    places = [(space, key) for space in spaces for key in keys]
    for volume in volumes:
        for place in places:
            if place not in volume.notes.get(TAGS, {}):
                raise missing("Tag", place[1])
    for volume in volumes:
        for place in places:
            del volume.notes[TAGS][place]
    yield from ()
    return deleted()


def _volumes(call: Call, query: Query) -> list[Volume]:
    names, keys = query.names("resource_names"), query.names("resource_ids")
    if names is not None and keys is not None:
        raise clash("resource_names, resource_ids")
    if keys is not None:
        known = ids(call.estate)
        names = tuple(known.get(key, key) for key in keys)
    if names is None:
        return call.estate.volumes()
    refuse_each(names, call.estate.volume)
    return [call.estate.volume(name) for name in dict.fromkeys(names)]


def _item(volume: Volume, space: str, key: str, value: str, copyable: bool) -> Item:  # noqa: FBT001
    return {
        "resource": {"id": volume.uuid, "name": volume.name},
        "namespace": space,
        "key": key,
        "value": value,
        "copyable": copyable,
    }
