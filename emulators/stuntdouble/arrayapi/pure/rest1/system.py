"""REST 1: the array, its ports; and what it has none of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.bodies import is_flag
from stuntdouble.arrayapi.pure.refusals import clash
from stuntdouble.arrayapi.pure.rest1.calls import Call, said
from stuntdouble.arrayapi.pure.rest2.system import (
    MODEL,
    VERSION,
    array_id,
    capacity,
    port_name,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi import Reply

    Work = Generator[Event, Any, Reply]

_LISTING: Final = ("filter", "sort", "limit", "start", "token", "pending", "pending_only")


def array(call: Call) -> Work:
    """Show the array; or its space, or its controllers."""
    wanted = call.fields(
        {"space": is_flag, "controllers": is_flag},
        ("historical", "action", "banner", "ntpserver", "syslogserver", "idle_timeout"),
    )
    if wanted.get("space") and wanted.get("controllers"):
        raise clash("space, controllers")
    yield from ()
    estate = call.estate
    if wanted.get("controllers"):
        modes = (("CT0", "primary"), ("CT1", "secondary"))
        return said(
            [
                {"name": name, "mode": mode, "model": MODEL, "status": "ready", "version": VERSION}
                for name, mode in modes
            ]
        )
    if not wanted.get("space"):
        revision = f"stuntdouble-{VERSION}"
        return said(
            {
                "array_name": estate.array.name,
                "id": array_id(estate),
                "version": VERSION,
                "revision": revision,
            }
        )
    used = taken(estate)
    return said(
        [
            {
                "hostname": estate.array.name,
                "capacity": capacity(estate),
                "parity": 1.0,
                "provisioned": used["total_provisioned"],
                "total": used["total_physical"],
                "volumes": used["unique"],
                "snapshots": used["snapshots"],
                "shared_space": used["shared"],
                "system": used["system"],
                "data_reduction": used["data_reduction"],
                "total_reduction": used["total_reduction"],
                "thin_provisioning": used["thin_provisioning"],
            }
        ]
    )


def ports(call: Call) -> Work:
    """List the ports of the iSCSI target."""
    call.fields({}, ("initiators", *_LISTING))
    yield from ()
    return said(
        [
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
    )


def network(call: Call) -> Work:
    """List the network interfaces by which hosts come."""
    call.fields({}, _LISTING)
    yield from ()
    return said(
        [
            {
                "name": port_name(number).lower(),
                "address": port.address,
                "enabled": True,
                "gateway": None,
                "hwaddr": None,
                "mtu": 1500,
                "netmask": None,
                "services": ["iscsi"],
                "slaves": [],
                "speed": 10_000_000_000,
                "subnet": None,
            }
            for number, port in enumerate(call.estate.ports())
        ]
    )


def nothing(call: Call) -> Work:
    """List what this array has none of."""
    call.fields({}, ("space", "connect", *_LISTING))
    yield from ()
    return said([])
