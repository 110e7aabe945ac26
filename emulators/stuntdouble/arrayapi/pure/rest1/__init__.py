"""REST 1 of the vendor, up to 1.19: paths, and what each method does there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi import Reply
from stuntdouble.arrayapi.pure.refusals import Refusal, refusal_of
from stuntdouble.arrayapi.pure.rest1 import groups, hosts, system, volumes
from stuntdouble.arrayapi.pure.rest1.calls import Call
from stuntdouble.errors import Error

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Request
    from stuntdouble.arrayapi.pure.operations import Operations
    from stuntdouble.arrayapi.pure.rest1.calls import Path

VERSIONS: Final = tuple(f"1.{minor}" for minor in range(20))

PATHS: Final[dict[tuple[str, ...], dict[str, Path]]] = {
    ("array",): {"GET": system.array},
    ("port",): {"GET": system.ports},
    ("network",): {"GET": system.network},
    ("volume",): {"GET": volumes.listed, "POST": volumes.snapshots_made},
    ("volume", "*"): {
        "GET": volumes.one,
        "POST": volumes.made,
        "PUT": volumes.changed,
        "DELETE": volumes.removed,
    },
    ("volume", "*", "host"): {"GET": volumes.seen_by},
    ("volume", "*", "hgroup"): {"GET": volumes.seen_by_groups},
    ("volume", "*", "pgroup", "*"): {"POST": groups.joined, "DELETE": groups.left},
    ("host",): {"GET": hosts.listed},
    ("host", "*"): {
        "GET": hosts.one,
        "POST": hosts.made,
        "PUT": hosts.changed,
        "DELETE": hosts.removed,
    },
    ("host", "*", "volume"): {"GET": hosts.volumes},
    ("host", "*", "volume", "*"): {"POST": hosts.connected, "DELETE": hosts.disconnected},
    ("pgroup",): {"GET": groups.listed, "POST": groups.snapshots_made},
    ("pgroup", "*"): {
        "GET": groups.one,
        "POST": groups.made,
        "PUT": groups.changed,
        "DELETE": groups.removed,
    },
    ("hgroup",): {"GET": system.nothing},
    ("pod",): {"GET": system.nothing},
    ("vgroup",): {"GET": system.nothing},
}
"""A star stands for a name."""


def handle(
    operations: Operations, request: Request, parts: tuple[str, ...]
) -> Generator[Event, Any, Reply]:
    """Do what a request asks of a path, such as ("volume", "v1")."""
    try:
        operations.estate.array.core.check_reachable()
        do, names = _found(request.method, parts)
        return (yield from do(Call(request, operations, names)))
    except Refusal as refusal:
        return refused(refusal)
    except Error as error:
        return refused(refusal_of(error, parts[1] if len(parts) > 1 else parts[0]))


def _found(method: str, parts: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """Return what a method does at a path, and the names in the path."""
    pattern = tuple(part if place % 2 == 0 else "*" for place, part in enumerate(parts))
    if pattern not in PATHS or not all(parts):
        text = f"The path {'/'.join(parts)} is not supported by this array."
        raise Refusal(text, "/".join(parts), status=404)
    if method not in PATHS[pattern]:
        text = f"The method {method} is not supported for this path by this array."
        raise Refusal(text, "/".join(parts), status=405)
    return PATHS[pattern][method], parts[1::2]


def refused(refusal: Refusal) -> Reply:
    """Return how REST 1 says a refusal."""
    said: list[dict[str, Any]] = [
        {
            "code": 0,
            "ctx": context,
            "msg": message,
            "pure_err_code": 1,
            "pure_err_key": "err.friendly",
        }
        for message, context in refusal.said
    ]
    return Reply(refusal.status, said)
