"""REST 1: hosts and their volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.bodies import is_flag, is_integer, is_text, is_texts
from stuntdouble.arrayapi.pure.hosts import PERSONALITY, Secrets
from stuntdouble.arrayapi.pure.refusals import Refusal, clash
from stuntdouble.arrayapi.pure.rest1.calls import Call, said

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array import Host
    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.hosts import Connection

    Work = Generator[Event, Any, Reply]
    Item = dict[str, Any]

_LOOKING: Final = {"chap": is_flag, "personality": is_flag}
_ELSEWHERE: Final = (
    "all", "space", "historical", "action", "filter", "sort", "limit", "start", "token", "protect",
    "preferred_array",
)  # fmt: skip
_SECRETS: Final = ("host_user", "host_password", "target_user", "target_password")
_OTHER_LISTS: Final = (
    "wwnlist", "addwwnlist", "remwwnlist", "nqnlist", "addnqnlist", "remnqnlist",
    "preferred_array", "addpgrouplist", "rempgrouplist",
)  # fmt: skip


def _shown(host: Host, wanted: Item) -> Item:
    if wanted.get("chap"):
        chap = host.chap
        return {
            "name": host.name,
            "host_user": chap.user if chap else None,
            "host_password": "****" if chap else None,
            "target_user": (chap.mutual_user or None) if chap else None,
            "target_password": "****" if chap and chap.mutual_user else None,
        }
    if wanted.get("personality"):
        return {"name": host.name, "personality": host.notes.get(PERSONALITY)}
    return {"name": host.name, "hgroup": None, "iqn": list(host.iqns), "wwn": [], "nqn": []}


def listed(call: Call) -> Work:
    """List hosts."""
    wanted = call.fields(_LOOKING | {"names": is_texts}, _ELSEWHERE)
    names = wanted.get("names")
    hosts = call.estate.hosts() if names is None else [call.estate.host(name) for name in names]
    yield from ()
    return said([_shown(host, wanted) for host in hosts])


def one(call: Call) -> Work:
    """Show a host."""
    wanted = call.fields(_LOOKING, _ELSEWHERE)
    yield from ()
    return said(_shown(call.estate.host(call.names[0]), wanted))


def made(call: Call) -> Work:
    """Make a host."""
    fields = call.fields({"iqnlist": is_texts}, _OTHER_LISTS)
    host = call.operations.hosts.create(call.names[0], fields.get("iqnlist", []))
    yield from ()
    return said(_shown(host, {}))


def changed(call: Call) -> Work:
    """Change a host's name, initiators, secrets or personality: one kind at a time."""
    lists = dict.fromkeys(("iqnlist", "addiqnlist", "remiqnlist"), is_texts)
    texts = dict.fromkeys(("name", "personality", *_SECRETS), is_text)
    fields = call.fields(lists | texts, _OTHER_LISTS)
    yield from ()
    (name,) = call.names
    operations, kinds = call.operations.hosts, set(fields)
    if kinds == {"name"}:
        return said({"name": operations.rename(name, fields["name"]).name})
    if kinds == {"personality"}:
        return said(_shown(operations.set_personality(name, fields["personality"]), fields))
    if kinds and kinds <= set(_SECRETS):
        host = operations.set_secrets(name, Secrets(**fields))
        return said(_shown(host, {"chap": True}))
    if kinds == {"iqnlist"}:
        return said(_shown(operations.set_iqns(name, fields["iqnlist"]), {}))
    if kinds and kinds <= {"addiqnlist", "remiqnlist"}:
        more, fewer = fields.get("addiqnlist", []), fields.get("remiqnlist", [])
        return said(_shown(operations.add_iqns(name, more, fewer), {}))
    raise clash(", ".join(fields))


def removed(call: Call) -> Work:
    """Forget a host."""
    call.fields({})
    call.operations.hosts.delete(call.names[0])
    yield from ()
    return said({"name": call.names[0]})


# Connections. --------------------------------------------------------------------------------


def _connection(found: Connection) -> Item:
    return {"name": found.host.name, "vol": found.volume.name, "lun": found.lun}


def volumes(call: Call) -> Work:
    """List what a host sees: all of it is its own, none is a host group's."""
    wanted = call.fields({"private": is_flag, "shared": is_flag})
    if wanted.get("private") and wanted.get("shared"):
        raise clash("private, shared")
    host = call.estate.host(call.names[0])
    found = [] if wanted.get("shared") else call.operations.hosts.connections(host)
    yield from ()
    return said([_connection(each) | {"hgroup": None} for each in found])


def connected(call: Call) -> Work:
    """Let a host see a volume."""
    fields = call.fields({"lun": is_integer})
    host, volume = call.names
    found = yield from call.operations.hosts.connect(host, volume, fields.get("lun"))
    return said(_connection(found))


def disconnected(call: Call) -> Work:
    """Let a host see a volume no more."""
    call.fields({})
    host, volume = call.names
    seen = call.operations.hosts.connections(call.estate.host(host), call.estate.volume(volume))
    if not seen:
        raise Refusal(f"Volume is not connected to host {host}.", volume)
    yield from call.operations.hosts.disconnect(host, volume)
    return said({"name": host, "vol": volume})
