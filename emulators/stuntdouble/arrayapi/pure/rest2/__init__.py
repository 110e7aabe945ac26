"""REST 2 of the vendor: paths, and what each method does there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi import Reply
from stuntdouble.arrayapi.pure.refusals import Refusal, refusal_of
from stuntdouble.arrayapi.pure.rest2 import groups, hosts, snapshots, system, tags, volumes
from stuntdouble.arrayapi.pure.rest2.calls import Call
from stuntdouble.errors import Error

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Request
    from stuntdouble.arrayapi.pure.operations import Operations
    from stuntdouble.arrayapi.pure.rest2.calls import Path

VERSIONS: Final = ("2.24", "2.25", "2.26")
"""Those that this emulator speaks; the newest last, where some clients look for it."""


def _nothing_of(kind: str) -> dict[str, Path]:
    return {"GET": system.none_of(kind), "POST": system.no_making(kind.lower())}


PATHS: Final[dict[str, dict[str, Path]]] = {
    "arrays": {"GET": system.arrays},
    "arrays/space": {"GET": system.array_space},
    "controllers": {"GET": system.controllers},
    "network-interfaces": {"GET": system.interfaces},
    "ports": {"GET": system.ports},
    "volumes": {
        "GET": volumes.listed,
        "POST": volumes.made,
        "PATCH": volumes.changed,
        "DELETE": volumes.eradicated,
    },
    "volumes/space": {"GET": volumes.spaces},
    "volumes/tags": {"GET": tags.listed, "DELETE": tags.removed},
    "volumes/tags/batch": {"PUT": tags.put},
    "volume-snapshots": {
        "GET": snapshots.listed,
        "POST": snapshots.made,
        "PATCH": snapshots.changed,
        "DELETE": snapshots.eradicated,
    },
    "hosts": {
        "GET": hosts.listed,
        "POST": hosts.made,
        "PATCH": hosts.changed,
        "DELETE": hosts.removed,
    },
    "connections": {
        "GET": hosts.connections,
        "POST": hosts.connected,
        "DELETE": hosts.disconnected,
    },
    "protection-groups": {
        "GET": groups.listed,
        "POST": groups.made,
        "PATCH": groups.changed,
        "DELETE": groups.eradicated,
    },
    "protection-groups/volumes": {
        "GET": groups.members,
        "POST": groups.joined,
        "DELETE": groups.left,
    },
    "protection-group-snapshots": {
        "GET": groups.snapshots,
        "POST": groups.snapshot,
        "PATCH": groups.snapshot_changed,
        "DELETE": groups.snapshot_eradicated,
    },
    "container-default-protections": {"GET": system.none_of("Container")},
    "host-groups": _nothing_of("Host group"),
    "pods": _nothing_of("Pod"),
    "volume-groups": _nothing_of("Volume group"),
}


def handle(operations: Operations, request: Request, resource: str) -> Generator[Event, Any, Reply]:
    """Do what a request asks of a resource, such as "volumes"."""
    try:
        operations.estate.array.core.check_reachable()
        return (yield from _found(request.method, resource)(Call(request, operations)))
    except Refusal as refusal:
        return refused(refusal)
    except Error as error:
        return refused(refusal_of(error, resource))


def _found(method: str, resource: str) -> Path:
    """Return what a method does with a resource."""
    if resource not in PATHS:
        raise Refusal("This resource is not supported by this array.", resource, status=404)
    if method not in PATHS[resource]:
        text = f"The method {method} is not supported for this resource."
        raise Refusal(text, resource, status=405)
    return PATHS[resource][method]


def refused(refusal: Refusal) -> Reply:
    """Return how REST 2 says a refusal."""
    said = [{"context": context, "message": message} for message, context in refusal.said]
    return Reply(refusal.status, {"errors": said})
