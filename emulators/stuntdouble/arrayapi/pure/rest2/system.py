"""REST 2: the array itself, its controllers and ports; and what it has none of."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.refusals import Refusal, unsupported
from stuntdouble.arrayapi.pure.rest2 import shown
from stuntdouble.arrayapi.pure.rest2.calls import Call, answer

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Reply
    from stuntdouble.arrayapi.pure.estate import Estate
    from stuntdouble.arrayapi.pure.rest2.calls import Path

    Work = Generator[Event, Any, Reply]
    Item = dict[str, Any]

VERSION: Final = "6.4.10"  # a Purity//FA whose newest interface is REST 2.26
MODEL: Final = "FA-stuntdouble"
_SPACE: Final = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562: of object ids


def array_id(estate: Estate) -> str:
    """Return the id of an array: always the same for the same name."""
    return str(uuid.uuid5(_SPACE, f"stuntdouble.array.{estate.array.name}"))


def capacity(estate: Estate) -> int:
    """Return how much the array holds, in bytes."""
    pools = estate.array.pools.values()
    return sum(pool.area_bytes + pool.reserve_bytes for pool in pools)


def taken(estate: Estate) -> Item:
    """Return what is in use of the array."""
    pools = estate.array.pools.values()
    provisioned = sum(volume.size_bytes for volume in estate.volumes())
    unique = sum(pool.area_bytes - pool.free_bytes for pool in pools)
    return shown.space(provisioned, unique, sum(pool.reserve_used_bytes for pool in pools))


def arrays(call: Call) -> Work:
    """List the one array."""
    query = call.listed("names", "ids")
    estate = call.estate
    item = {
        "id": array_id(estate),
        "name": estate.array.name,
        "banner": "",
        "capacity": capacity(estate),
        "console_lock_enabled": False,
        "eradication_config": {
            "disabled_delay": 86_400_000,
            "enabled_delay": 86_400_000,
            "manual_eradication": "enabled",
        },
        "idle_timeout": 1_800_000,
        "os": "Purity//FA",
        "parity": 1.0,
        "scsi_timeout": 60_000,
        "space": taken(estate),
        "version": VERSION,
    }
    yield from ()
    return answer(_picked([item], query.names("names"), "Array"), query, item)


def array_space(call: Call) -> Work:
    """Tell what is in use of the array now."""
    query = call.listed("names", "ids", "start_time", "end_time", "resolution")
    for name in ("start_time", "end_time", "resolution"):
        if query.text(name) is not None:
            raise unsupported("Space as it was earlier", name)
    estate = call.estate
    item = {
        "id": array_id(estate),
        "name": estate.array.name,
        "capacity": capacity(estate),
        "parity": 1.0,
        "space": taken(estate),
        "time": estate.milliseconds(estate.now),
    }
    yield from ()
    return answer(_picked([item], query.names("names"), "Array"), query, item)


def controllers(call: Call) -> Work:
    """List the controllers."""
    query = call.listed("names")
    items = [
        {
            "name": f"CT{number}",
            "mode": mode,
            "mode_since": call.estate.milliseconds(0.0),
            "model": MODEL,
            "status": "ready",
            "type": "array_controller",
            "version": VERSION,
        }
        for number, mode in enumerate(("primary", "secondary"))
    ]
    yield from ()
    return answer(_picked(items, query.names("names"), "Controller"), query, items[0])


def ports(call: Call) -> Work:
    """List the ports of the iSCSI target; none where none listens."""
    query = call.listed("names")
    items = [
        {
            "name": port_name(number),
            "failover": None,
            "iqn": port.iqn,
            "nqn": None,
            "portal": port.portal,
            "wwn": None,
        }
        for number, port in enumerate(call.estate.ports())
    ]
    example = dict.fromkeys(("name", "failover", "iqn", "nqn", "portal", "wwn"))
    yield from ()
    return answer(_picked(items, query.names("names"), "Port"), query, example)


def port_name(number: int) -> str:
    """Return what a port is called: the controllers take turns."""
    return f"CT{number % 2}.ETH{4 + number // 2}"


def interfaces(call: Call) -> Work:
    """List the network interfaces by which hosts come."""
    query = call.listed("names")
    items = [
        {
            "name": port_name(number).lower(),
            "enabled": True,
            "eth": {
                "address": port.address,
                "gateway": None,
                "mtu": 1500,
                "netmask": None,
                "subtype": "physical",
                "vlan": None,
            },
            "interface_type": "eth",
            "services": ["iscsi"],
            "speed": 10_000_000_000,
        }
        for number, port in enumerate(call.estate.ports())
    ]
    example = dict.fromkeys(("name", "enabled", "interface_type", "services", "speed")) | {
        "eth": dict.fromkeys(("address", "gateway", "mtu", "netmask", "subtype", "vlan"))
    }
    yield from ()
    return answer(_picked(items, query.names("names"), "Network interface"), query, example)


def _picked(items: list[Item], names: tuple[str, ...] | None, kind: str) -> list[Item]:
    """Return the items of these names; refuse those that are not there."""
    if names is None:
        return items
    known = {item["name"].casefold(): item for item in items}
    refused = [
        Refusal(f"{kind} does not exist.", name) for name in names if name.casefold() not in known
    ]
    if refused:
        raise Refusal.of(refused)
    return [known[name.casefold()] for name in names]


def none_of(kind: str) -> Path:
    """Return a path that lists things of a kind that this array has none of."""
    fields = dict.fromkeys(("id", "name", "destroyed", "created")) | {"pod": shown.NOTHING}

    def listed(call: Call) -> Work:
        query = call.listed("names", "ids", "destroyed", "group_names", "member_names")
        yield from ()
        return answer(_picked([], query.names("names"), kind), query, fields)

    return listed


def no_making(kind: str) -> Path:
    """Return a path that refuses to make things of a kind that is not emulated."""

    def refused(call: Call) -> Work:
        yield from ()
        raise unsupported(f"Making a {kind}", call.request.path)

    return refused
