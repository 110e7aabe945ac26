"""Which endpoints a site opens: the one place that knows them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from stuntdouble.arrayapi import pure, wsapi
from stuntdouble.errors import Misuse
from stuntdouble.native import Access
from stuntdouble.serve.arrays import wsapi_endpoint
from stuntdouble.serve.blocks import NbdEndpoint
from stuntdouble.serve.flasharray import pure_endpoint
from stuntdouble.serve.iscsi import IscsiEndpoint, target_name
from stuntdouble.serve.rest import NativeEndpoint
from stuntdouble.serve.vcenter import VcenterEndpoint
from stuntdouble.vsphere import User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.serve.listening import Address, ArrayAddress, Listening
    from stuntdouble.serve.live import LiveSite


@dataclass(frozen=True)
class Options:
    """How a site is served; an address that is None is not opened.

    ``paced_io`` lets commands over iSCSI take the time that their I/O takes in the model.
    ``limit_seconds`` is for how long, in wall time, interfaces over HTTP wait for the site.
    """

    user: str
    password: str = field(repr=False)
    rate: float = 1.0
    vsphere: Address | None = None
    plain_http: bool = False
    native: Address | None = None
    nbd: Address | None = None
    wsapi: ArrayAddress | None = None
    pure: ArrayAddress | None = None
    iscsi: Address | None = None
    paced_io: bool = False
    allow_remote: bool = False
    limit_seconds: float = 60.0

    def check(self) -> None:
        """Raise Misuse where an address could be reached from elsewhere and nobody allowed it."""
        addresses: tuple[tuple[str, Address | None], ...] = (
            ("--vsphere", self.vsphere),
            ("--native", self.native),
            ("--nbd", self.nbd),
            ("--wsapi", None if self.wsapi is None else self.wsapi.at),
            ("--pure", None if self.pure is None else self.pure.at),
            ("--iscsi", self.iscsi),
        )
        for option, at in addresses:
            if at is not None and not at.loopback and not self.allow_remote:
                text = f"{at} can be reached from other machines: add --allow-remote if it should"
                raise Misuse(option, text)
        if self.paced_io and self.iscsi is None:
            raise Misuse("--paced-io", "is about commands over iSCSI: give --iscsi as well")


class Endpoint(Protocol):
    """Something that listens for the site."""

    async def start(self) -> Listening:
        """Listen, and tell where; Misuse where it cannot."""
        ...

    async def stop(self) -> None:
        """Listen no more, and let go of clients within a second; idempotent."""
        ...


def endpoints(live: LiveSite, options: Options, opened: Sequence[Listening]) -> list[Endpoint]:
    """Return the endpoints that *options* ask for, in the order in which they are to be started.

    Args:
        live: the site.
        options: which, and where.
        opened: those that listen, as they come to; the native interface shows them.
    """
    found: list[Endpoint] = []
    if options.nbd is not None:
        found.append(NbdEndpoint(live, options.nbd))
    if options.iscsi is not None:
        found.append(IscsiEndpoint(live, options.iscsi, paced=options.paced_io))
    found += _arrays(live, options, opened)
    if options.vsphere is not None:
        user = User(options.user, options.password)
        plain = options.plain_http
        found.append(VcenterEndpoint(live, options.vsphere, user, plain_http=plain, opened=opened))
    if options.native is not None:
        access = Access(options.user, options.password)
        limit = options.limit_seconds
        found.append(NativeEndpoint(live, options.native, access, opened, limit))
    return found


def _arrays(live: LiveSite, options: Options, opened: Sequence[Listening]) -> list[Endpoint]:
    """Return the endpoints of arrays' vendors; they tell of the iSCSI target, where there is one."""
    found: list[Endpoint] = []
    who = options.user, options.password
    if (asked := options.wsapi) is not None:
        name = asked.array or next(iter(live.world.arrays))

        def portals() -> list[wsapi.Portal]:
            return [wsapi.Portal(host, target_name(name)) for host, _ in _portals(opened)]

        found.append(
            wsapi_endpoint(
                live,
                asked.at,
                *who,
                array=name,
                portals=portals,
                limit_seconds=options.limit_seconds,
            )
        )
    if (asked := options.pure) is not None:
        other = asked.array or next(iter(live.world.arrays))

        def ports() -> list[pure.Port]:
            return [pure.Port(where, target_name(other)) for _, where in _portals(opened)]

        found.append(
            pure_endpoint(
                live, asked.at, *who, array=other, ports=ports, limit_seconds=options.limit_seconds
            )
        )
    return found


def _portals(opened: Sequence[Listening]) -> list[tuple[str, str]]:
    """Return host, and host with port, of each iSCSI portal that listens."""
    urls = [urlsplit(each.url) for each in opened if each.name == "iscsi"]
    return [(url.hostname or "", url.netloc) for url in urls]
