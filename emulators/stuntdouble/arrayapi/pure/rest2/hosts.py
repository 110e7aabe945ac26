"""REST 2: hosts, and the connections of volumes to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Host
from stuntdouble.arrayapi.pure.bodies import (
    check_fields,
    is_integer,
    is_object,
    is_text,
    is_texts,
)
from stuntdouble.arrayapi.pure.hosts import Secrets
from stuntdouble.arrayapi.pure.operations import at_once, each
from stuntdouble.arrayapi.pure.refusals import Refusal, clash, unsupported
from stuntdouble.arrayapi.pure.rest2 import shown
from stuntdouble.arrayapi.pure.rest2.calls import Call, answer, deleted, done, refuse_each
from stuntdouble.arrayapi.pure.rest2.volumes import ids as volume_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.bodies import Query
    from stuntdouble.arrayapi.pure.hosts import Connection

    Work = Generator[Event, Any, Reply]

_SECRETS: Final = ("host_user", "host_password", "target_user", "target_password")
_ELSEWHERE: Final = (
    "wwns", "nqns", "add_wwns", "add_nqns", "remove_wwns", "remove_nqns", "host_group",
    "preferred_arrays",
)  # fmt: skip
_EXAMPLE: Final = shown.host(Host("", 0, 0.0), ())
_CONNECTIONS: Final = {
    "host": {"name": None},
    "host_group": {"name": None},
    "lun": None,
    "protocol_endpoint": {"id": None, "name": None},
    "volume": {"id": None, "name": None},
}


def _shown(call: Call, host: Host) -> dict[str, Any]:
    return shown.host(host, call.operations.hosts.connections(host))


def listed(call: Call) -> Work:
    """List hosts."""
    query = call.listed("names")
    names = query.names("names")
    if names is not None:
        refuse_each(names, call.estate.host)
    estate = call.estate
    found = estate.hosts() if names is None else [estate.host(name) for name in names]
    yield from ()
    return answer([_shown(call, host) for host in found], query, _EXAMPLE)


def made(call: Call) -> Work:
    """Make hosts; one may be given its initiators and secrets at once."""
    names = call.query("names").needed("names")
    known = {"iqns": is_texts, "chap": is_object, "personality": is_text, "vlan": is_text}
    body = check_fields(call.body(), known, _ELSEWHERE)
    _check_vlan(body)
    if len(names) > 1 and (body.get("iqns") or "chap" in body):
        raise clash("names, iqns, chap")
    operations, secrets = call.operations.hosts, _secrets(body)

    def do(name: str) -> Host:
        host = operations.create(name, body.get("iqns", []))
        try:
            _set(call, host.name, body, secrets)
        except Refusal:
            operations.delete(host.name)  # a host that was refused is not there
            raise
        return host

    hosts = yield from each(names, at_once(do))
    return done([_shown(call, host) for host in hosts])


def changed(call: Call) -> Work:
    """Change hosts: each as a whole, or not at all."""
    names = call.query("names").needed("names")
    known = {
        "name": is_text,
        "iqns": is_texts,
        "add_iqns": is_texts,
        "remove_iqns": is_texts,
        "chap": is_object,
        "personality": is_text,
        "vlan": is_text,
    }
    body = check_fields(call.body(), known, _ELSEWHERE)
    _check_vlan(body)
    if "iqns" in body and ("add_iqns" in body or "remove_iqns" in body):
        raise clash("iqns, add_iqns, remove_iqns")
    if "name" in body and len(names) != 1:
        raise clash("names, name")
    secrets = _secrets(body)
    hosts = yield from each(names, at_once(lambda name: _change(call, name, body, secrets)))
    return done([_shown(call, host) for host in hosts])


def _change(call: Call, name: str, body: dict[str, Any], secrets: Secrets | None) -> Host:
    operations, host = call.operations.hosts, call.estate.host(name)
    before = (host.name, host.iqns, host.chap, dict(host.notes))
    try:
        _set(call, host.name, body, secrets)
        if "iqns" in body:
            operations.set_iqns(host.name, body["iqns"])
        if "add_iqns" in body or "remove_iqns" in body:
            more, fewer = body.get("add_iqns", []), body.get("remove_iqns", [])
            operations.add_iqns(host.name, more, fewer)
        if "name" in body:
            operations.rename(host.name, body["name"])
    except Refusal:
        hosts = call.estate.array.hosts
        hosts.set_iqns(host.name, before[1])
        hosts.set_chap(host.name, before[2])
        host.notes.clear()
        host.notes.update(before[3])
        raise
    return host


def _set(call: Call, name: str, body: dict[str, Any], secrets: Secrets | None) -> None:
    if "personality" in body:
        call.operations.hosts.set_personality(name, body["personality"])
    if secrets is not None:
        call.operations.hosts.set_secrets(name, secrets)


def _check_vlan(body: dict[str, Any]) -> None:
    if body.get("vlan", "any") != "any":
        raise unsupported("A VLAN of a host", "vlan")


def _secrets(body: dict[str, Any]) -> Secrets | None:
    if "chap" not in body:
        return None
    return Secrets(**check_fields(body["chap"], dict.fromkeys(_SECRETS, is_text), of="chap"))


def removed(call: Call) -> Work:
    """Forget hosts."""
    names = call.query("names").needed("names")
    yield from each(names, at_once(call.operations.hosts.delete))
    return deleted()


# Connections. --------------------------------------------------------------------------------


def connections(call: Call) -> Work:
    """List who sees what."""
    query = call.listed(
        "host_names", "host_group_names", "volume_names", "volume_ids", "protocol_endpoint_ids"
    )
    hosts, volumes = query.names("host_names"), _volume_names(call, query)
    if query.text("host_group_names"):
        raise Refusal("Host group does not exist.", query.text("host_group_names") or "")
    refuse_each(hosts or (), call.estate.host)
    refuse_each(volumes or (), call.estate.volume)
    chosen_hosts = [call.estate.host(name) for name in hosts or ()]
    chosen_volumes = [call.estate.volume(name) for name in volumes or ()]
    items = [
        shown.connection(found)
        for found in call.operations.hosts.connections()
        if hosts is None or found.host in chosen_hosts
        if volumes is None or found.volume in chosen_volumes
    ]
    yield from ()
    return answer(items, query, _CONNECTIONS)


def _volume_names(call: Call, query: Query) -> tuple[str, ...] | None:
    names, keys = query.names("volume_names"), query.names("volume_ids")
    if names is not None and keys is not None:
        raise clash("volume_names, volume_ids")
    if keys is None:
        return names
    known = volume_ids(call.estate)
    return tuple(known.get(key, key) for key in keys)


def _pairs(call: Call, query: Query) -> list[tuple[str, str]]:
    """Return every host with every volume that a request names."""
    if query.text("host_group_names"):
        raise unsupported("Connecting host groups", "host_group_names")
    volumes = _volume_names(call, query)
    if volumes is None:
        raise Refusal("The query parameter 'volume_names' is required.", "volume_names")
    return [(host, volume) for host in query.needed("host_names") for volume in volumes]


def _for_each(
    pairs: list[tuple[str, str]], do: Callable[[str, str], Generator[Event, Any, Any]]
) -> Generator[Event, Any, list[Any]]:
    by_text = {f"{host}\n{volume}": (host, volume) for host, volume in pairs}
    return (yield from each(by_text, lambda text: do(*by_text[text])))


def connected(call: Call) -> Work:
    """Let hosts see volumes."""
    query = call.query("host_names", "host_group_names", "volume_names", "volume_ids")
    pairs = _pairs(call, query)
    body = call.body()
    if isinstance(body, list):  # one client sends an object, another a list of one
        if len(body) > 1:
            raise clash("body")
        body = body[0] if body else None
    lun = check_fields(body, {"lun": is_integer}).get("lun")

    def do(host: str, volume: str) -> Generator[Event, Any, Connection]:
        return call.operations.hosts.connect(host, volume, lun)

    made_ = yield from _for_each(pairs, do)
    return done([shown.connection(one) for one in made_])


def disconnected(call: Call) -> Work:
    """Let hosts see volumes no more."""
    query = call.query("host_names", "host_group_names", "volume_names", "volume_ids")
    yield from _for_each(_pairs(call, query), call.operations.hosts.disconnect)
    return deleted()
